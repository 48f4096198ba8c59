"""
What is imported late, and before the service starts: whoever has become another user by then (C{--uid}) may
not be able to read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

ASKED: Final = "txgear.web.apisite"
"""
What a server without a web needs for the first connection that goes over to HTTP: 8 MB, and 0.2 s to import.
"""

LATE: Final = (
    ("web", "", "txgear.web.site"),
    ("otel", False, "txgear.web.metrics.otel"),
    ("statsd", None, "txgear.web.metrics.statsd"),
)
"""
Options, what turns each off, and what it alone needs. That is imported before the service starts: whoever has
become another user by then (C{--uid}) may not be able to read it.
"""


def import_late(options: Mapping[str, Any]) -> None:
    """
    Import what these options need; what is missing is told at the start.

    @param options: those of C{twistd txgear}, by long names.
    """
    for option, off, module in LATE:
        if options[option] != off:
            with suppress(ImportError):
                import_module(module)
