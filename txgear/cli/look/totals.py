"""
The last row of a list: what all of its rows come to, whether or not they are shown.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from txgear.cli.base.output import is_terminal

ADD: Final = operator.add


@dataclass(frozen=True)
class Total:
    """
    What such a row has.

    @ivar ways: by the name of a member, what is made of two of its values.
    @ivar column: the name of the column that says of how many rows they are, and
    @ivar what: what one of these is called.
    @ivar always: whether it is there where nobody sees a table, too.
    """

    ways: Mapping[str, Callable[[Any, Any], Any]]
    column: str
    what: str
    always: bool = False

    def is_wanted(self, as_json: bool) -> bool:
        """
        Whether it is there.

        @param as_json: whether each row is a line of JSON.
        """
        return self.always or (is_terminal() and not as_json)


class Sums:
    """What the rows that have come by have come to."""

    def __init__(self, total: Total) -> None:
        self._total = total
        self._rows = 0
        self._found: dict[str, Any] = {}

    def counting(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The same rows."""
        for row in rows:
            self._rows += 1
            for name, way in self._total.ways.items():
                if (value := row.get(name)) is not None:
                    had = self._found.get(name)
                    # Of what is so or not, how many are.
                    one = int(value) if isinstance(value, bool) else value
                    self._found[name] = one if had is None else way(had, one)
            yield row

    def row(self) -> dict[str, Any] | None:
        """All of them as one; C{None} where there were none, and nobody wants to know that."""
        total, rows = self._total, self._rows
        if not rows and not total.always:
            return None
        return {total.column: f"{rows} {total.what}{'s' * (rows != 1)}", **self._found}
