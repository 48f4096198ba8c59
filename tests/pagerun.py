"""
A page of the docs as somebody follows it: its files are saved, its commands typed into terminals, and what
they print is what the page shows.

What the page does not say in words stands in comments before a block, which readers do not see:

`% run`: its commands are typed.
`% terminal: NAME`: its command goes on in a terminal of its own; what stands between ellipses is waited for.
`% stop: NAME`: Ctrl-C in that terminal.
`% start: NAME COMMAND`: that goes on in a terminal of its own, and is no matter of the page.
`% type: COMMAND`: that is typed, and what it prints does not matter.
`% learn: NUMBER`: the number is another each time, as handles are. What is printed in its place is typed in
its place later on.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from processes import PATIENCE
from terminals import Terminal

BLOCK: Final = re.compile(
    r"(?P<marks>(?:^% .*\n)*)^```[a-z]+\n(?P<text>[\s\S]*?)^```$|(?P<alone>^% .*$)", re.M
)
SAVED: Final = re.compile(r"[Ss]ave (?:this|it) as `([^`]+)`")
PROMPT: Final = "page$"
DONE: Final = re.compile(r"(.*)done (\d+)")
LOOKS: Final = frozenset(("status", "job", "jobs", "dead", "kept", "workers", "tasks", "diagnose", "info"))
"""Commands that only look: they are typed again until they show what the page shows, for a while."""
HANDLE: Final = re.compile(r"H:[\w.-]+:\d+")
SECONDS: Final = 180.0
"""What a command may take: one installs something."""
AROUND: Final = '"{}[],:'
"""What JSON has around a value: that is compared as it is."""
VARIES: Final = re.compile(r"\d{4}-\d\d-\d\dT\S+|\d+\.\d+\w*|\d+(?:ms|s|m|h|d|%)\w*")
"""Times, ages and rates are others each time; whole numbers are as the page has them."""


class Step(NamedTuple):
    """
    @ivar kind: C{save}, C{run}, C{terminal}, C{stop}, C{start}, C{type} or C{learn}.
    @ivar name: of a file, or of a terminal; or what is typed, or learned.
    @ivar text: what is in the file, or is typed, with what is printed.
    """

    kind: str
    name: str
    text: str


def steps(page: str) -> Iterator[Step]:
    """What a reader of the page does."""
    end = 0
    for match in BLOCK.finditer(page):
        before, end = page[end : match.start()], match.end()
        marks = [line.removeprefix("% ") for line in (match["marks"] or match["alone"] or "").splitlines()]
        if saved := SAVED.findall(before):
            yield Step("save", saved[-1], match["text"])
        for mark in marks:
            kind, _, name = mark.partition(": ")
            yield Step(kind, name, match["text"] or "")


class Reader:
    """
    Somebody who follows a page.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], changes: Mapping[str, str]) -> None:
        """
        @param changes: what is to be read instead of a text of the page, such as another port.
        """
        self._env = dict(env)
        self._changes = changes
        # What is another each time: by what the page has, what was printed in its place.
        self._learned: dict[str, str] = {}
        self._to_learn = HANDLE.pattern
        self._terminals: dict[str, Terminal] = {}
        self._place = folder
        self._shell = self._open()

    def follow(self, page: str) -> None:
        """Do what it says, to its end."""
        for step in steps(page):
            _DOES[step.kind](self, step)

    def close(self) -> None:
        """End what runs in terminals, the last first, and close them: a server outlives its terminal."""
        for name in reversed(list(self._terminals)):
            self._stop(Step("stop", name, ""))
        self._shell.child.close(force=True)

    def _open(self) -> Terminal:
        # Wide, and high enough for the longest answer.
        words = [shutil.which("bash") or "bash", "--norc", "--noprofile", "-i"]
        terminal = Terminal(words, 200, 100, env={"PS1": f"{PROMPT} ", **self._env})
        terminal.shows(PROMPT)
        terminal.child.sendline(f"cd {self._place}")
        return terminal

    def _read(self, text: str) -> str:
        for ours, theirs in self._changes.items():
            text = text.replace(ours, theirs)
        return re.sub(self._to_learn, lambda match: self._learned.get(match[0], match[0]), text)

    def _save(self, step: Step) -> None:
        (self._place / step.name).write_text(self._read(step.text))

    def _start_hidden(self, step: Step) -> None:
        name, _, command = step.name.partition(" ")
        terminal = self._terminals[name] = self._open()
        terminal.child.sendline(self._read(command))

    def _start(self, step: Step) -> None:
        terminal = self._terminals[step.name] = self._open()
        if (self._place / "env").exists():
            terminal.child.sendline(". env/bin/activate")
        [command] = re.findall(r"^\$ (.*)$", step.text, re.M)
        terminal.child.sendline(self._read(command))
        for text in re.findall(r"^… (.*) …$", step.text, re.M):
            terminal.shows(text)

    def _stop(self, step: Step) -> None:
        terminal = self._terminals.pop(step.name)

        def ended() -> bool:
            # A worker ends with what it has in hand, and a second time without.
            terminal.press("\x03")
            terminal.listen(0.5)
            return terminal.last_line.endswith(PROMPT)

        terminal.until(ended, f"the end of {step.name}")
        terminal.child.close(force=True)

    def _type_hidden(self, step: Step) -> None:
        self._type(step.name, [])

    def _learn(self, step: Step) -> None:
        self._to_learn += rf"|\b{step.name}\b"

    def _run(self, step: Step) -> None:
        if not step.text.startswith("$ "):
            for line in step.text.splitlines():
                self._type(line, [])
            return
        for part in ("\n" + step.text).split("\n$ ")[1:]:
            command, *expected = part.rstrip("\n").split("\n")
            self._type(command, expected)

    def _type(self, command: str, expected: list[str]) -> None:
        """Type a command of the page, and compare what it prints."""
        words = command.split()
        looks = len(words) > 1 and words[0] == "txgear" and words[1] in LOOKS
        end = time.monotonic() + PATIENCE
        while True:
            status, printed = self._printed(self._read(command))
            wrong = self._missing(expected, printed)
            if not wrong:
                break
            said = "\n".join([f"$ {command}", *printed, "", wrong])
            assert looks, said
            assert time.monotonic() < end, said
        # Of some commands the status says what they found, and the page shows that.
        assert status == 0 or expected, (command, status, printed)
        self._place = Path(self._printed("pwd")[1][0])

    def _printed(self, command: str) -> tuple[int, list[str]]:
        """The exit status of a command, and the lines that it prints."""
        shell = self._shell
        shell.clear()
        shell.child.sendline(f"{command}; echo done $?")
        # The first line has what was typed.
        shell.until(lambda: any(map(DONE.fullmatch, shell.lines[1:])), f"the end of {command}", SECONDS)
        lines = shell.lines
        at = max(index for index, line in enumerate(lines) if DONE.fullmatch(line))
        rest, status = DONE.fullmatch(lines[at]).groups()  # type: ignore[union-attr]
        return int(status), [*lines[1:at], *([rest] if rest else [])]

    def _missing(self, expected: list[str], printed: list[str]) -> str:
        """What of the page is not there, in its order; empty if all is."""
        left = printed
        for line in filter(str.strip, expected):
            pattern = re.compile(r"\s+".join(map(self._pattern, line.split())))
            found = next((index for index, each in enumerate(left) if pattern.fullmatch(each.strip())), None)
            if found is None:
                return f"there is no line such as {line!r}"
            for ours, theirs in zip(line.split(), left[found].split(), strict=False):
                ours, theirs = ours.strip(AROUND), theirs.strip(AROUND)
                if re.fullmatch(self._to_learn, ours):
                    self._learned[ours] = theirs
            left = left[found + 1 :]
        return ""

    def _pattern(self, word: str) -> str:
        """What may stand in the place of a word of the page."""
        core = word.strip(AROUND)
        if core and core != word:
            before, _, after = word.partition(core)
            return re.escape(before) + self._pattern(core) + re.escape(after)
        if word not in self._learned and re.fullmatch(self._to_learn, word):
            return r"\d+" if word.isdecimal() else HANDLE.pattern
        return r"[\w.:%-]+" if VARIES.fullmatch(word) else re.escape(self._read(word))


_DOES: Final = {
    "save": Reader._save,
    "run": Reader._run,
    "terminal": Reader._start,
    "stop": Reader._stop,
    "start": Reader._start_hidden,
    "type": Reader._type_hidden,
    "learn": Reader._learn,
}
