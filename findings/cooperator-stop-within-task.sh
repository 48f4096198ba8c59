#!/usr/bin/env bash
# Twisted's Cooperator: stop() that is called from within one of its own tasks raises ValueError when that task ends.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: to stop the cooperator ends its tasks: whenDone fails with SchedulerStopped, as it does when stop() is
#   called from elsewhere.
# Happens: the task that has called it is taken off the list while it runs. If it has nothing more to do, the
#   cooperator takes it off again, and the exception goes up into the scheduler's timed call.
#
# Output:
#   from elsewhere: SchedulerStopped
#   from within: ValueError: list.remove(x): x not in list
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys

from twisted.internet.task import Clock, Cooperator


def outcome(within):
    """What is raised into the timed call; otherwise what the task's Deferred has failed with."""
    clock = Clock()
    # One step of a task in each call.
    cooperator = Cooperator(lambda: lambda: True, lambda call: clock.callLater(1, call))
    failures = []

    def work():
        yield None
        if within:
            cooperator.stop()
            return
        yield None

    cooperator.cooperate(work()).whenDone().addErrback(failures.append)
    try:
        clock.advance(1)
        if not within:
            cooperator.stop()
        clock.advance(1)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return failures[0].type.__name__ if failures else "nothing"


outside, inside = outcome(within=False), outcome(within=True)
print(f"from elsewhere: {outside}")
print(f"from within: {inside}")
sys.exit(0 if outside == "SchedulerStopped" and inside == "ValueError: list.remove(x): x not in list" else 1)
PYTHON
