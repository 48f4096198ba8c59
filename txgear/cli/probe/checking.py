"""
Looks at servers, and has workers answer, for C{txgear check}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.words import number
from txgear.cli.base.api import ROOT, path_of
from txgear.cli.base.output import printable, write_json
from txgear.cli.base.statuses import DENIED, UNREACHABLE, CommandError
from txgear.cli.probe.judging import (
    CRITICAL,
    FIGURES,
    MOST_FUNCTIONS,
    NAMES,
    OK,
    RECENT,
    RECENT_TIMES,
    TIMED,
    UNKNOWN,
    WARNING,
    Problem,
    Rules,
    missing,
    of_server,
    shown,
    sums,
    value_of,
    worst,
)
from txgear.cli.probe.plugin import Overdue, line_of, one_line
from txgear.cli.probe.ranges import figure
from txgear.quantities import second_words

if TYPE_CHECKING:
    from txgear.cli.base.api import Api

PAGE: Final = 200
"""Functions that are asked for in one go, as many as the server gives."""
SAID_AT_ONCE: Final = 3
"""Problems in the first line, which is all that many programs show."""
MOST_LINES: Final = 100
"""Lines below the first."""
MOST_ANSWER: Final = 64 * 1024
"""Bytes of a worker's answer that are looked at."""


@dataclass
class Wanted:
    """
    What is to be looked at.

    @ivar functions: patterns of functions; none for all.
    @ivar excluded: patterns of those that are left out.
    @ivar required: names of those that must be there.
    @ivar rules: what holds for them.
    """

    functions: Sequence[str]
    excluded: Sequence[str]
    required: Sequence[str]
    rules: Rules

    def takes(self, name: str) -> bool:
        """Whether a function is looked at."""
        if any(fnmatchcase(name, pattern) for pattern in self.excluded):
            return False
        patterns = (*self.functions, *self.required) if self.functions else ()
        return not patterns or any(name == each or fnmatchcase(name, each) for each in patterns)

    def named(self) -> list[str]:
        """Those that are called by their names and not by patterns."""
        return [each for each in self.functions if not set(each) & set("*?[")]

    def ask(self, api: Api) -> list[dict[str, Any]]:
        """Those that a server has."""
        query: dict[str, Any] = {"limit": PAGE}
        if self.rules.figures & {*RECENT, *RECENT_TIMES}:
            query["figures"] = True
        # A name with a bracket would be a pattern to the server.
        if len(self.functions) == 1 and not self.required and "[" not in self.functions[0]:
            query["function"] = self.functions[0]
        rows = api.rows(f"{ROOT}/functions", "functions", query)
        return [row for row in rows if self.takes(row["function"])]


@dataclass(frozen=True)
class Job:
    """
    A job that a worker has to answer.

    @ivar function: of which function.
    @ivar text: its workload.
    @ivar expected: what is to stand in the answer; C{None} for anything.
    @ivar unique: its unique: two that are there at the same time are one.
    @ivar background: whether it is enough that the server takes it.
    """

    function: str
    text: str
    expected: str | None
    unique: str
    background: bool

    def send(self, api: Api, seconds: float) -> tuple[int, str, str]:
        """
        Submit it, and wait.

        @param seconds: for which a worker may take to answer. Then nobody waits for the job any more, and the
            server gives it up.
        @return: the status, a text, and the figures that the worker has answered itself.
        @raise CommandError: the server does not take it.
        """
        path = path_of("functions", self.function, "jobs")
        query = {"unique": self.unique, "priority": "high", "background": self.background}
        workload = self.text.encode("utf-8", "surrogateescape")
        try:
            answer = b""
            for piece in api.open(path, query, seconds, "POST", workload).pieces():
                answer = (answer + piece)[:MOST_ANSWER]
        except CommandError as error:
            if error.code != "job_failed":
                raise
            exception = error.details.get("exception") or {}
            why = exception.get("text") or exception.get("base64")
            return CRITICAL, f"{self.function} failed{f': {told(why)}' if why else ''}", ""
        if self.background:
            return OK, f"a job of {self.function} is taken", ""
        return self.judged(answer.decode("utf-8", "backslashreplace"))

    def judged(self, answer: str) -> tuple[int, str, str]:
        """What an answer says; see L{send}."""
        said = f"{self.function} answers: {told(answer)}"
        if self.expected is not None:
            if self.expected in answer:
                return OK, said, ""
            return CRITICAL, f"{said} (expected: {told(self.expected)})", ""
        # So do the workers of mod_gearman: their status, a colon, and a plugin's own line.
        if answer[:1] in ("0", "1", "2", "3") and answer[1:2] == ":":
            line = (answer[2:].splitlines() or [""])[0]
            text, _, figures = line.partition("|")
            return int(answer[0]), text.strip(), printable(figures.strip()).replace("|", "_")
        return OK, said, ""


def told(text: str) -> str:
    """What a worker says, in the one line that a monitoring system shows: its lines with a blank between."""
    return " ".join(text.split()) or "nothing"


def readiness(api: Api) -> dict[str, Any]:
    """What a server says of itself as a whole, which takes no rights."""
    try:
        found: dict[str, Any] = api.get("/ready")
    except CommandError as error:
        # Where anything is not well the answer is 503, with the same members.
        if "store" not in error.details:
            raise
        found = dict(error.details)
    return found


def reason(api: Api) -> str:
    """Why a server's store is away; empty for who may not see that."""
    try:
        return str(api.get(f"{ROOT}/server")["store"]["why"] or "")
    except CommandError as error:
        if error.status != DENIED:
            raise
        return ""


@dataclass
class Report:
    """
    What has been found.

    @ivar problems: what is wrong.
    @ivar said: what is said where all is well.
    @ivar figures: for programs that draw.
    @ivar lines: of each function.
    """

    problems: list[Problem] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def add(self, prefix: str, problems: Sequence[Problem]) -> None:
        """More that is wrong, at the server of this prefix."""
        self.problems += [problem._replace(text=f"{prefix}{problem.text}") for problem in problems]

    def look(self, api: Api, wanted: Wanted, prefix: str) -> None:
        """
        Look at a server.

        @param prefix: what stands before all that is said of it.
        """
        ready = readiness(api)
        functions = wanted.ask(api)
        self.add(prefix, list(of_server(ready, "" if ready["store"] == "ok" else reason(api))))
        self.add(prefix, list(missing(wanted.required, functions, CRITICAL)))
        self.add(prefix, list(missing(wanted.named(), functions, WARNING)))
        for function in functions:
            self.add(prefix, list(wanted.rules.problems(function)))
        found = sums(functions)
        label = prefix.replace(": ", " ")
        for name, value in found.items():
            self.figures.append(figure(f"{label}{name}", value, "s" if name in TIMED else ""))
        if len(functions) <= MOST_FUNCTIONS:
            for function in functions:
                self.figures += wanted.rules.figures_of(function, label)
        workers, count = number(int(found["workers"]), "worker"), number(len(functions), "function")
        self.said.append(f"{prefix}{found['queued']} queued, {found['running']} running, {workers}, {count}")
        for function in functions:
            facts = [
                f"{each} {shown(each, known)}"
                for each in FIGURES
                if (known := value_of(function, each)) is not None
            ]
            self.lines.append(f"{prefix}{function['function']}: {', '.join(facts)}")

    def probe(self, api: Api, job: Job, seconds: float, prefix: str) -> None:
        """Have a worker answer."""
        status, text, figures = job.send(api, seconds)
        if status == OK:
            self.said.append(f"{prefix}{text}")
        else:
            self.add(prefix, [Problem(status, text)])
        if figures:
            self.figures.append(figures)

    def write(self, as_json: bool, verbose: bool) -> int:
        """
        Tell it.

        @return: the exit status.
        """
        status = worst(self.problems)
        problems = sorted(self.problems, key=lambda each: (each.status != CRITICAL, -each.status))
        texts = [each.text for each in problems[:SAID_AT_ONCE]]
        if len(problems) > SAID_AT_ONCE:
            texts.append(f"and {len(problems) - SAID_AT_ONCE} more")
        text = "; ".join(texts or self.said)
        if as_json:
            found = [{"state": NAMES[each.status], "text": each.text} for each in problems]
            write_json(
                {
                    "status": status,
                    "state": NAMES[status],
                    "text": text,
                    "problems": found,
                    "figures": self.figures,
                }
            )
            return status
        print(line_of(status, text) + (f" | {' '.join(self.figures)}" if self.figures else ""))
        lines = [f"{NAMES[each.status]}: {each.text}" for each in problems] if len(problems) > 1 else []
        if verbose:
            lines += self.lines
        for line in lines[:MOST_LINES]:
            print(one_line(line))
        if len(lines) > MOST_LINES:
            print(f"and {number(len(lines) - MOST_LINES, 'more line')}")
        return status


def checked(
    apis: Sequence[Api], wanted: Wanted, job: Job | None, seconds: float, left: Callable[[], float]
) -> Report:
    """
    Look at servers, and never longer than may be.

    @param seconds: for all of it.
    @param left: how many of these are left.
    """
    report = Report()
    prefix = ""
    try:
        for api in apis:
            prefix = f"{api.place.name}: " if len(apis) > 1 else ""
            try:
                report.look(api, wanted, prefix)
                if job is not None:
                    report.probe(api, job, left(), prefix)
            except CommandError as error:
                report.add("", [Problem(CRITICAL if error.status == UNREACHABLE else UNKNOWN, error.text)])
    except Overdue:
        what = f"no worker of {job.function} has answered" if job and report.said else "it has not answered"
        report.add(prefix, [Problem(CRITICAL, f"{what} within {second_words(seconds)}")])
    return report
