"""
What some tests need beside the package: hypothesis, and the drivers of databases. The tests are
installed with the package, and those that lack something are skipped and say what.

Test modules import hypothesis from here, and nothing of it themselves.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

Tested = TypeVar("Tested", bound=Callable[..., Any])


def reason(*packages: str) -> str:
    """Why to skip what needs these, or nothing if they are all here."""
    missing = [name for name in packages if find_spec(name) is None]
    verb = "is" if len(missing) == 1 else "are"
    return f"{' and '.join(missing)} {verb} not installed: pip install 'txgear[test]'" if missing else ""


def needs(*packages: str) -> Callable[[Tested], Tested]:
    """For a test, or a class of tests: skip it where one of these packages is not installed."""

    def mark(tested: Tested) -> Tested:
        if why := reason(*packages):
            tested.skip = why  # type: ignore[attr-defined]
        return tested

    return mark


if TYPE_CHECKING or not reason("hypothesis"):
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import (
        RuleBasedStateMachine,
        initialize,
        invariant,
        rule,
        run_state_machine_as_test,
    )
else:

    class _Anything:
        """What strategies are made of and with, where nothing is ever drawn from them."""

        def __getattr__(self, name: str) -> _Anything:
            return self

        def __call__(self, *arguments: Any, **named: Any) -> _Anything:
            return self

        def __or__(self, other: Any) -> _Anything:
            return self

    class RuleBasedStateMachine:
        """There is nothing that would run one."""

    def given(*strategies: Any, **named: Any) -> Callable[[Any], Any]:
        """The test itself would want arguments."""

        def mark(tested: Any) -> Any:
            def skipped(self: Any) -> None:
                raise AssertionError("this is skipped")

            skipped.skip = reason("hypothesis")
            return skipped

        return mark

    def settings(*arguments: Any, **named: Any) -> Callable[[Any], Any]:
        """They matter to nobody."""
        return lambda tested: tested

    def run_state_machine_as_test(machine: Any, *, settings: Any = None) -> None:
        """Skip the test that runs one."""
        raise unittest.SkipTest(reason("hypothesis"))

    initialize = rule = invariant = settings
    HealthCheck = Phase = st = _Anything()

__all__ = [
    "PROPERTY",
    "HealthCheck",
    "RuleBasedStateMachine",
    "given",
    "initialize",
    "invariant",
    "needs",
    "rule",
    "run_machine",
    "settings",
    "st",
]

PROPERTY: Final = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
"""How hypothesis is run: the same examples each time, and nothing left behind."""


def run_machine(
    machine: type[RuleBasedStateMachine], examples: int = 60, steps: int = 80, *, shrink: bool = True
) -> None:
    """
    Run a machine as L{PROPERTY} says.

    @param steps: in each example, at the most.
    @param shrink: whether an example that fails is made as short as it can be, which may take minutes.
    """
    chosen = settings(PROPERTY, max_examples=examples, stateful_step_count=steps)
    if not shrink:
        chosen = settings(chosen, phases=[Phase.generate])
    run_state_machine_as_test(machine, settings=chosen)
