"""
Memory of dicts that were large: Python gives none of it back while there is anything in them, until as much
has come again as ever was there.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Any, Final

SPARSE: Final = 240
"""
Bytes that a dict takes for each of its keys, from which on it has far more room than it needs: one that has
just grown takes half of that.
"""


def trim(table: dict[Any, Any]) -> None:
    """
    Have a dict take no memory for what was there, where little is left of much. It may be asked for often.
    """
    if not table:
        table.clear()
    elif getsizeof(table) > SPARSE * (len(table) + 1):
        left = table.copy()
        table.clear()
        table.update(left)
