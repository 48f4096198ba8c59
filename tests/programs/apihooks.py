"""
Hooks of schemathesis: nobody waits an hour for a result in a test. What is no number stays as it is.
"""

from __future__ import annotations

from typing import Any

import schemathesis

LONGEST = 0.05
"""Seconds that a request may wait."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Called with each request before it is sent."""
    try:
        if 3600 >= float(case.query["wait"]) > LONGEST:
            case.query["wait"] = str(LONGEST)
    except (KeyError, TypeError, ValueError):
        return
