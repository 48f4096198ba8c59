"""
What GearmanManager was told to do, as a file of the runtime.

Each number is worked out as its own code does it (C{GearmanManager.php}, revision 77f0a36), also where that
is not what its documentation says. Its functions are PHP: here each job is a run of a program.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from textwrap import wrap
from typing import Final, NamedTuple

from txgear.errors import ConfigurationError
from txgear.quantities import MOST_SECONDS
from txgear.runtime.config import MOST_PROCESSES
from txgear.runtime.ini import Section, read_ini
from txgear.worker.functions import LONGEST_TIMEOUT

GLOBAL: Final = "GearmanManager"
"""The section that is for all functions."""
SCRIPT: Final = "gearman-job.php"
"""What each job is given to; the documentation has it."""

LIFETIME: Final = 3600
LIFETIME_SPLAY: Final = 600
STOP_SECONDS: Final = 60
"""What holds in GearmanManager where its file says nothing."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]")
MOST_NAME: Final = 48
"""Characters of a function's name that are taken for that of its group."""
_DIGITS: Final = re.compile(r"\s*([+-]?\d{1,9})")

_BY_HAND: Final = {
    "user": "the runtime does not change its user: say User={0} in its systemd unit, or start it as {0}",
    "pid_file": "of the process: twistd --pidfile={0}, or nothing at all with systemd",
    "log_file": "the log goes to the standard output, for systemd; or: twistd --logfile={0}",
    "daemon": "of the process: systemd, or twistd without -n",
    "verbose": 'of the log; each job has a line in it with log_jobs = "all"',
    "worker_initial_spawn_splay": "nothing to do: processes do not wait for each other to start",
}
"""What is no matter of the file, by its key, with what is to be done in place of it."""

_AT_THE_TOP: Final = (
    f"TODO functions: they are PHP, so each job is a run of a program here. {SCRIPT} takes their files as"
    ' they are; it stands in the documentation under "Coming from GearmanManager". Write its whole path in'
    " the commands.",
    "TODO processes: one process can run several commands at once, and takes less memory than several: with"
    " concurrency = 10, processes = 1 is as much as processes = 10.",
    "max_age and splay are max_worker_lifetime and worker_restart_splay: each process is renewed at an age"
    " between these. The programs are new for each job anyway. GearmanManager kills a process that is past"
    " one and a half times its life; hard_time bounds a job.",
)
_OF_TIMEOUTS: Final = (
    "timeout is in seconds, as it is meant there; the library that is used there sends it as milliseconds."
)
_OF_FOLDERS: Final = (
    "TODO worker_dir: {} is not here, so only functions are known that the file names. Write the others"
    " yourself, or do this again where GearmanManager runs."
)
_OF_UPDATES: Final = (
    "auto_update: nothing to do for commands, as each job runs the code that is there. For functions in"
    " Python: watch = true."
)

_GLOBAL_KEYS: Final = frozenset(
    {
        *_BY_HAND,
        *(
            "auto_update",
            "count",
            "dedicated_count",
            "exclude",
            "graceful_shutdown_wait_time",
            "host",
            "include",
        ),
        *(
            "max_runs_per_worker",
            "max_worker_lifetime",
            "prefix",
            "timeout",
            "worker_dir",
            "worker_restart_splay",
        ),
    }
)
_FUNCTION_KEYS: Final = frozenset({"count", "dedicated_count", "dedicated_only", "priority", "timeout"})


class PhpFunction(NamedTuple):
    """
    A function that GearmanManager would have.

    @ivar name: at the servers.
    @ivar file: where its code is.
    @ivar shared: whether the processes for all functions do it.
    @ivar dedicated: how many processes do nothing else.
    @ivar timeout: seconds that a job may take; 0 for no bound.
    @ivar notes: what of its section has no equal.
    """

    name: str
    file: str
    shared: bool
    dedicated: int
    timeout: int
    notes: tuple[str, ...]


def import_file(path: Path) -> str:
    """
    Translate a file of GearmanManager.

    The folders with its functions are looked into, if they are there. Relative ones begin where the command
    runs, as they do there.

    @return: the text of a file of the runtime, with comments for what has no equal.
    @raise ConfigurationError: it is no such file, or cannot be read.
    """
    if path.suffix == ".php":
        raise ConfigurationError(
            f"{path}: it is PHP, which only PHP can run: write what it sets as an ini file,"
            f" as GearmanManager shows it with -Z -c {path.name}"
        )
    try:
        ini = read_ini(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: it is not in UTF-8, from byte {error.start} on") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return Translation(path.name, ini).text()


class Translation:
    """
    One file of GearmanManager's, translated.
    """

    def __init__(self, name: str, ini: Mapping[str, Section]) -> None:
        """
        @param name: what the file is called.
        @param ini: what stands in it.
        @raise ConfigurationError: GearmanManager would not start with it, or have no function.
        """
        self._name = name
        self._ini = ini
        self._general = ini.get(GLOBAL, {})
        self._notes: list[str] = []
        self._all = max(self._number(self._general, "count"), 0)
        self._folders = _parts(self._general.get("worker_dir", ["./workers"]))
        self._read_folders = [Path(folder) for folder in self._folders if Path(folder).is_dir()]
        self._functions = list(self._all_functions())
        if not self._functions:
            raise ConfigurationError(
                f"{name}: no function is known of it: no .php is in {', '.join(self._folders)},"
                " and none is named in the file"
            )

    # What there is

    def _all_functions(self) -> Iterator[PhpFunction]:
        general = self._general
        included = [] if general.get("include") == ["*"] else _parts(general.get("include", []))
        excluded = _parts(general.get("exclude", []))
        for key in ("include", "exclude"):
            if any(re.search(r"\s,|,\s", value) for value in general.get(key, [])):
                self._notes.append(
                    f"{key}: GearmanManager takes the blanks beside commas for parts of names, and finds none"
                    " of these; here they are left out"
                )
        files = self._files()
        named = dict.fromkeys([*included, *self._sections()], "")
        if len(self._read_folders) == len(self._folders):
            named = {}
        for name, file in {**named, **files}.items():
            if (not included or name in included) and name not in excluded:
                yield self._function(name, file or f"{self._folders[0].rstrip('/')}/{name}.php")

    def _files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for folder in self._read_folders:
            for file in sorted(folder.glob("*.php")):
                place = str(file.resolve())
                if place.isprintable() and file.name.isprintable():
                    found[file.stem] = place
                else:
                    self._notes.append(f"{place}: its name is no text; write it yourself")
        return found

    def _sections(self) -> list[str]:
        return [name for name in self._ini if name and name.lower() != GLOBAL.lower()]

    def _function(self, name: str, file: str) -> PhpFunction:
        own = self._ini.get(name, {}) if name in self._sections() else {}
        everyone = self._all
        only = own.get("dedicated_only", [""])[-1] not in ("", "0")
        dedicated = self._number(own, "dedicated_count")
        if only:
            if not dedicated:
                raise ConfigurationError(
                    f"{self._name}: [{name}] has dedicated_only without a dedicated_count,"
                    " with which GearmanManager does not start"
                )
        else:
            least = max(everyone, 1, self._number(own, "count"))
            dedicated = dedicated or self._number(self._general, "dedicated_count")
            dedicated = max(least, everyone + dedicated if dedicated else least) - everyone
        timeout = self._number(own if "timeout" in own else self._general, "timeout")
        notes = []
        if (priority := own.get("priority", [""])[-1]) not in ("", "0"):
            notes.append(
                f"priority = {priority}: no equal. Functions of one process take turns here; a function that"
                " must not wait for others has a group of its own"
            )
        notes.extend(_unknown(own, _FUNCTION_KEYS))
        return PhpFunction(
            name, file, not only and everyone > 0, max(dedicated, 0), max(timeout, 0), tuple(notes)
        )

    def _number(self, section: Section, key: str) -> int:
        """A number as PHP's C{(int)} makes one of a text: what it begins with, or 0."""
        found = _DIGITS.match(section.get(key, [""])[-1])
        return int(found[1]) if found else 0

    # What is written

    def text(self) -> str:
        """The file of the runtime."""
        return "\n".join([*self._head(), *self._groups()]) + "\n"

    def _head(self) -> Iterator[str]:
        yield f"# Translated from GearmanManager's {_line(self._name)}. What begins with TODO needs a hand."
        for words in _AT_THE_TOP:
            yield from _comment(words)
        if any(function.timeout for function in self._functions):
            yield from _comment(_OF_TIMEOUTS)
        general = self._general
        if GLOBAL not in self._ini:
            yield from _comment(f"TODO: there is no section [{GLOBAL}] in it, so its defaults hold.")
        if self._ini.get(""):
            yield from _comment(
                f"TODO {', '.join(self._ini[''])}: these stand before the first section, where GearmanManager"
                " does not look."
            )
        for folder in self._folders:
            if not Path(folder).is_dir():
                yield from _comment(_OF_FOLDERS.format(folder))
        known = {function.name for function in self._functions}
        for name in self._sections():
            if name not in known:
                yield from _comment(
                    f"TODO [{name}]: there is no such function; GearmanManager passes over it."
                )
        for key, words in _BY_HAND.items():
            if value := general.get(key, [""])[-1]:
                yield from _comment(f"TODO {key} = {value}: {words.format(value)}.")
        if general.get("auto_update", [""])[-1] not in ("", "0"):
            yield from _comment(_OF_UPDATES)
        if prefix := general.get("prefix", [""])[-1]:
            yield from _comment(
                f"prefix = {prefix}: it is in the commands, before the names of functions in PHP."
            )
        for note in [*self._notes, *_unknown(general, _GLOBAL_KEYS)]:
            yield from _comment(f"TODO {note}.")
        yield ""
        yield f"servers = {_toml(_parts(general.get('host', ['127.0.0.1'])) or ['127.0.0.1'])}"
        stop = general.get("graceful_shutdown_wait_time")
        seconds = (
            STOP_SECONDS if stop is None else max(self._number(general, "graceful_shutdown_wait_time"), 0)
        )
        yield f"stop_timeout = {_seconds(seconds)}"

    def _groups(self) -> Iterator[str]:
        names: set[str] = set()
        shared = [function for function in self._functions if function.shared]
        if shared:
            yield from self._group(
                _group_name("all", names), self._all, "all functions but those with dedicated_only", shared
            )
        for function in self._functions:
            if function.dedicated:
                name = _group_name(function.name, names)
                yield from self._group(name, function.dedicated, "this function alone", [function])

    def _group(self, name: str, processes: int, what: str, functions: list[PhpFunction]) -> Iterator[str]:
        general = self._general
        yield ""
        yield f"# {processes} for {what}."
        yield f"[group.{_key(name)}]"
        if processes > MOST_PROCESSES:
            yield f"# TODO: {MOST_PROCESSES} are the most here; with concurrency each does several jobs."
        yield f"processes = {min(processes, MOST_PROCESSES)}"
        lifetime = self._positive(general, "max_worker_lifetime", LIFETIME)
        splay = self._positive(general, "worker_restart_splay", LIFETIME_SPLAY)
        yield f"max_age = {_seconds(lifetime + splay)}"
        yield f"splay = {splay / (lifetime + splay):.4f}"
        if (runs := self._number(general, "max_runs_per_worker")) > 0:
            yield f"max_jobs = {runs}"
        for function in functions:
            yield ""
            for note in function.notes:
                yield from _comment(f"TODO {note}.")
            yield f"[group.{_key(name)}.function.{_key(function.name)}]"
            called = general.get("prefix", [""])[-1] + function.name
            yield f"command = {_toml(['php', SCRIPT, function.file, called])}"
            if function.timeout:
                yield f"timeout = {_seconds(min(function.timeout, LONGEST_TIMEOUT))}"

    def _positive(self, section: Section, key: str, default: int) -> int:
        """A number, or the default where it is not over 0, as GearmanManager has it."""
        number = self._number(section, key)
        return number if number > 0 else default


def _parts(values: Iterable[str]) -> list[str]:
    """What commas separate, without blanks around it."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _group_name(wanted: str, taken: set[str]) -> str:
    """
    A name for a group, as near to the one that is wanted as names of groups allow.

    @param taken: those that there are; the new one is added.
    """
    name = _NO_NAME.sub("-", wanted)[:MOST_NAME].strip("-._") or "group"
    found = next(
        each for each in chain([name], (f"{name}-{number}" for number in count(2))) if each not in taken
    )
    taken.add(found)
    return found


def _unknown(section: Section, known: frozenset[str]) -> list[str]:
    return [f"{_line(key)}: GearmanManager has no such setting" for key in section if key not in known]


def _comment(words: str) -> Iterator[str]:
    """Words as lines of comments."""
    return (f"# {line}" for line in wrap(_line(words), 108, break_long_words=False, break_on_hyphens=False))


def _line(words: str) -> str:
    """Words without anything that would end their line, or is no text at all."""
    return "".join(sign if sign.isprintable() else "?" for sign in words)


def _toml(value: str | list[str]) -> str:
    """A text, or several, as TOML has them."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON escapes all that TOML wants escaped but this.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    """The name of a table."""
    return name if _BARE.fullmatch(name) else _toml(name)


def _seconds(number: int) -> str:
    return f'"{min(number, int(MOST_SECONDS))} s"'
