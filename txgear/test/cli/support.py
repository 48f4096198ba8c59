"""
What tests of commands need: fake servers, and what was written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

from txgear.cli.base.api import Api, Event
from txgear.cli.base.options import Servers
from txgear.cli.base.places import Place


class Terminal(StringIO):
    """A stream that people see."""

    def isatty(self) -> bool:
        """As in L{StringIO}."""
        return True


class Written:
    """
    What was written.

    @ivar out: to standard output.
    @ivar err: to standard error.
    """

    out = ""
    err = ""


@contextmanager
def writing(terminal: bool = False) -> Iterator[Written]:
    """
    Take down what is written meanwhile.

    @param terminal: whether it goes to a terminal, of 80 columns; its colours are left out.
    """
    found, columns = Written(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    out, err = Terminal() if terminal else StringIO(), StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield found
    finally:
        found.out, found.err = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()), err.getvalue()
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns


@contextmanager
def writing_bytes(terminal: bool = False) -> Iterator[BytesIO]:
    """The same for bytes."""
    raw = BytesIO()
    out = TextIOWrapper(raw, "utf-8")
    if terminal:
        out.isatty = lambda: True  # type: ignore[method-assign]
    with redirect_stdout(out):
        yield raw
    out.detach()


class FakeApi(Api):
    """A server that is not asked over any connection."""

    def __init__(
        self,
        name: str = "here:4730",
        answers: Mapping[str, Any] | Callable[[str], Any] = (lambda path: None),
        streams: list[list[Event | Exception]] | None = None,
    ) -> None:
        """
        @param answers: what is at a path, or makes that; an exception is raised.
        @param streams: the events of each time that they are asked for.
        """
        host, _, port = name.partition(":")
        super().__init__(Place(name, host, int(port)))
        self._answers = answers
        self._streams = streams or []
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.closed = 0

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """As in L{Api}."""
        self.asked.append((path, dict(query or {})))
        found = self._answers(path) if callable(self._answers) else self._answers[path]
        if isinstance(found, Exception):
            raise found
        return found

    def events(self, query: Mapping[str, Any] | None = None) -> Iterator[Event]:
        """As in L{Api}."""
        self.asked.append(("/events", dict(query or {})))
        for each in self._streams.pop(0):
            if isinstance(each, Exception):
                raise each
            yield each

    def close(self) -> None:
        """As in L{Api}."""
        self.closed += 1


class FakeServers(Servers):
    """Servers that are these."""

    def __init__(self, *apis: FakeApi) -> None:
        super().__init__(tuple(api.place.name for api in apis), None, None, 10.0)
        object.__setattr__(self, "_apis", list(apis))

    def apis(self) -> list[Api]:
        """As in L{Servers}."""
        found: list[Api] = getattr(self, "_apis")  # noqa: B009
        return list(found)
