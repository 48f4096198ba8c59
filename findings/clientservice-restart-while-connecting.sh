#!/usr/bin/env bash
# Twisted's ClientService: started again while the attempt that stopService cancels still ends, it raises NoTransition.
#
# Seen with: Twisted 26.10.0, Automat 25.4.16 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: startService, stopService, startService, in whatever moment: the service connects again, as it does
#   when the endpoint's Deferred fails in the moment in which it is cancelled.
# Happens: an endpoint whose cancelled attempt ends a moment later (a coroutine that closes something first) ends it
#   in the state Restarting, and that has no transition for a failed connection. The exception is raised into the
#   Deferred of the attempt, where nobody sees it but the log; the service never connects again.
#
# Output:
#   ends at once: 2 attempts, no error
#   ends a moment later: 1 attempt, NoTransition
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 Automat==25.4.16 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import gc
import sys

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
class Endpoint:
    def __init__(self, clock, closing):
        self.clock = clock
        self.closing = closing
        self.attempts = 0

    def connect(self, factory):
        self.attempts += 1
        return Deferred.fromCoroutine(self.attempt())

    async def attempt(self):
        try:
            await Deferred()
        finally:
            if self.closing:
                await deferLater(self.clock, self.closing)


def restart(closing):
    """Attempts that are made, and the errors that are logged or raised."""
    errors = []

    def observer(event):
        if "log_failure" in event:
            errors.append(event["log_failure"].type.__name__)

    globalLogPublisher.addObserver(observer)
    clock = Clock()
    endpoint = Endpoint(clock, closing)
    service = ClientService(endpoint, Factory(), clock=clock)
    try:
        service.startService()
        service.stopService().addErrback(lambda failure: errors.append(failure.type.__name__))
        service.startService()
        for _ in range(60):
            clock.advance(1)
    except Exception as error:
        errors.append(type(error).__name__)
    attempts = endpoint.attempts
    # An error that nobody looked at is logged when its Deferred goes.
    del service, endpoint
    gc.collect()
    globalLogPublisher.removeObserver(observer)
    return attempts, sorted(set(errors))


found = {}
for name, closing in (("ends at once", 0), ("ends a moment later", 1)):
    attempts, errors = found[name] = restart(closing)
    print(f"{name}: {attempts} attempt{'s' * (attempts != 1)}, {', '.join(errors) or 'no error'}")
sys.exit(0 if found["ends at once"] == (2, []) and "NoTransition" in found["ends a moment later"][1] else 1)
PYTHON
