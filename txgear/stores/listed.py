"""
Many values as one parameter of a statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Values:
    """
    Values for the C{(%s)} of an C{IN}.

    @ivar values: of any types that the driver knows; at least one.
    """

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values


class Selected(Values):
    """
    Values for the C{(%s)} of a C{FROM}: a table of one column, C{value}.
    """

    __slots__ = ()


class Rows:
    """
    Rows for the C{%s} that comes after a C{VALUES}.

    @ivar rows: at least one, each with as many values.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self.rows = rows
