"""Each subcommand of `txgear`: its help, how long it takes to start, and what it says to mistakes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import click
import pytest

from processes import PATIENCE, free_port, run, txgear
from startup import assert_one_line
from txgear.cli import COMMANDS, Imitation, main, root

#: Seconds of CPU that a command may take until it does something, its Python and all imports included.
QUICK: Final = 0.3

#: Columns of a terminal.
WIDE: Final = 80

#: Commands with exit statuses of their own, which their own tests look at.
OWN_STATUSES: Final = {"check", "ping"}

#: Commands that hold many jobs at once with Twisted, which takes its time, once they have read their words.
WITH_TWISTED: Final = {"bench", "submit", "work"}

#: Commands that wait for a server that does not answer, as they are to go on when it is back.
PATIENT: Final = {"work"}

#: What a command is to be given, where nothing that its arguments say would do.
WORDS: Final[dict[str, list[str]]] = {
    "maxqueue": ["mail.send", "--bound", "1"],
    "review": ["H:vm:1", "--into", "odd"],
    "top": ["--once"],
}

pytestmark = pytest.mark.txgear_only


class Found(NamedTuple):
    """A subcommand, or one of a subcommand's own."""

    words: tuple[str, ...]
    command: click.Command

    @property
    def name(self) -> str:
        return " ".join(self.words)


def found_in(words: tuple[str, ...], command: click.Command) -> Iterator[Found]:
    yield Found(words, command)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from found_in((*words, name), inner)


@cache
def everything() -> list[Found]:
    """All of them, but for those that imitate another program."""
    context = click.Context(root)
    commands = [(name, root.get_command(context, name)) for name in COMMANDS]
    return [
        found
        for name, command in commands
        if command is not None and not isinstance(command, Imitation)
        for found in found_in((name,), command)
    ]


def asks(found: Found) -> bool:
    """Whether it asks a server."""
    return any(param.name == "server" and isinstance(param, click.Option) for param in found.command.params)


ALL: Final = everything()
ASKING: Final = [each for each in ALL if asks(each) and each.words[0] not in OWN_STATUSES | PATIENT]


def name(found: Found) -> str:
    return found.name


def cpu(words: list[str]) -> tuple[float, int, str]:
    """Seconds of CPU of a run, its exit status, and what it said to standard error."""
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, process.returncode, said


def assert_quick(words: list[str]) -> tuple[int, str]:
    """It takes little CPU; the best of three runs, where the first is slow. Its status, and what it said."""
    for _ in range(3):
        seconds, status, said = cpu(words)
        if seconds < QUICK:
            return status, said
    raise AssertionError(f"{words[1:]} took {seconds:.2f} s of CPU")


@pytest.mark.parametrize("entry", COMMANDS)
def test_it_starts_soon(entry: str) -> None:
    status, said = assert_quick([*txgear(), entry, "--help"])
    # Others' programs end as they do.
    assert (status, said) == (0, "") or entry not in {each.words[0] for each in ALL}


@pytest.mark.parametrize("found", ALL, ids=name)
def test_help(found: Found, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what the command is for and has an example, and no line is wider than a terminal."""
    monkeypatch.setenv("COLUMNS", str(WIDE))
    assert main([*found.words, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: txgear {found.name} ")
    assert [line for line in said.splitlines() if len(line) > WIDE] == []
    assert found.command.help, "its docstring"
    assert re.search(rf"Examples?:\s+(?:\S.*\s)?txgear {found.words[0]}\b", said), said
    assert re.search(r"^  (-\w, )?--help ", said, re.MULTILINE)


@pytest.mark.parametrize("found", ALL, ids=name)
def test_an_unknown_option(found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    """It is one line, and the status of a command line that makes no sense."""
    status = 3 if found.words[0] == "check" else 2
    assert main([*found.words, "--no-such-option"]) == status
    said = capsys.readouterr()
    [line] = (said.out if status == 3 else said.err).splitlines()
    assert "--no-such-option" in line
    if status == 2:
        assert line.startswith(f"txgear {found.words[0]}")


@pytest.mark.parametrize("found", ALL, ids=name)
def test_what_is_no_number(found: Found) -> None:
    """C{nan} is within any range, for click."""
    for param in found.command.params:
        if isinstance(param.type, click.types.FloatParamType):
            with pytest.raises(click.UsageError, match="nan"):
                param.type("nan", param)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("stauts", "No such command 'stauts'. Did you mean status or task? (see txgear --help)"),
        ("zzzzzz", "No such command 'zzzzzz'. (see txgear --help)"),
    ],
)
def test_an_unknown_command(word: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is mistyped is known all the same."""
    assert main([word]) == 2
    assert capsys.readouterr().err == f"txgear: {says}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "--server gear.example status",
            "txgear: No such option '--server'. "
            "A command's options stand after it: txgear status --server ... (see txgear --help)",
        ),
        ("--nonsense", "txgear: No such option '--nonsense'. (see txgear --help)"),
        (
            "result H:vm:1 --timeout soon",
            "txgear result: Invalid value for '--timeout': 'soon' is no number. (see txgear result --help)",
        ),
        (
            "task one",
            "txgear task: Invalid value for 'NUMBER': 'one' is no whole number. (see txgear task --help)",
        ),
    ],
)
def test_a_slip(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was meant is said as well, in words that nobody has to know click for."""
    assert main(words.split()) == 2
    assert capsys.readouterr().err == f"{says}\n"


def words_for(found: Found) -> list[str]:
    """Words that make sense to it, as far as they can be known."""
    if found.name in WORDS:
        return WORDS[found.name]
    words = []
    for param in found.command.params:
        if isinstance(param, click.Option) and param.name == "yes":
            words.append(param.opts[0])
        if not param.required and isinstance(param, click.Option):
            continue
        if isinstance(param.type, click.Choice):
            value = str(param.type.choices[0])
        elif isinstance(param.type, (click.types.IntParamType, click.types.FloatParamType)):
            value = "1"
        else:
            value = "H:vm:1"
        words += [value] if isinstance(param, click.Argument) else [param.opts[0], value]
    return words


@pytest.mark.parametrize("found", ASKING, ids=name)
def test_no_server(found: Found) -> None:
    """One line that names the server, its own status, and still little CPU: nothing large is imported."""
    server = f"127.0.0.1:{free_port()}"
    words = [*txgear(), *found.words, *words_for(found), "--server", server]
    if found.words[0] in WITH_TWISTED:
        _, status, said = cpu(words)
    else:
        status, said = assert_quick(words)
    assert status == 3, said
    [line] = said.splitlines()
    assert line.startswith(f"txgear {found.words[0]}"), line
    assert server in line
    assert "refused" in line


def test_the_module() -> None:
    """`python -m txgear` is the command, with its status."""
    done = run([sys.executable, "-m", "txgear", "--version"])
    assert (done.returncode, done.stdout) == (0, run([*txgear(), "--version"]).stdout)
    assert_one_line(run([sys.executable, "-m", "txgear", "no-such-command"]), "no-such-command")


def test_a_list_of_all_at_the_start() -> None:
    """It names each, and nothing of what they need is imported for that."""
    done = run([*txgear()])
    assert done.returncode == 0
    shown = re.findall(r"^  ([a-z-]+)  +\S", done.stdout.decode(), re.MULTILINE)
    assert [each for each in COMMANDS if each not in shown] == []


def test_the_page_lists_all() -> None:
    """Its statuses are those that the commands have; the list itself is made from the commands."""
    page = (Path(__file__).parent.parent / "docs" / "cli" / "index.md").read_text()
    assert "```{commandlist}" in page
    from txgear.cli.base import statuses

    numbers = {value for key, value in vars(statuses).items() if key.isupper() and isinstance(value, int)}
    assert {int(each) for each in re.findall(r"^\| (\d+) \| ", page, re.MULTILINE)} == numbers


def test_whoever_reads_may_go() -> None:
    """`head` ends the help of a command quietly."""
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    assert reader.stdin is not None
    reader.wait(PATIENCE)
    with subprocess.Popen([*txgear(), "--help"], stdout=reader.stdin, stderr=subprocess.PIPE) as process:
        reader.stdin.close()
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (1, b"")
