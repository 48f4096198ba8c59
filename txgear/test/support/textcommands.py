"""Operators who give text commands, to a server with jobs of all kinds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB,
    HEADER_SIZE,
    SET_CLIENT_ID,
    SUBMIT_JOB_BG,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
)
from txgear.protocol.packets import request
from txgear.test.support.clock import START
from txgear.test.support.server import ServerFixture

OK = b"OK\r\n"
EMPTY = b".\n"
UNKNOWN_JOB = b"ERR UNKNOWN_JOB\r\n"
UNKNOWN_FUNCTION = b"ERR UNKNOWN_FUNCTION There+is+no+such+function\r\n"
PAST = b"1970-01-01T00:16:40.000Z"
"""L{START} as a moment."""
INCOMPLETE = b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+%s\r\n"


class AdminTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.operator = self.fixture.connect()

    @property
    def peer(self) -> Peer:
        """The operator, as the broker knows it."""
        return self.operator.protocol.peer

    def check(self, *exchanges: tuple[bytes, bytes]) -> None:
        """Each line is answered so, whatever its line end."""
        for line, answer in exchanges:
            self.assertEqual(self.operator.ask(line + b"\n"), answer, line)

    def submit(self, function: bytes, unique: bytes = b"", kind: int = SUBMIT_JOB_BG) -> bytes:
        """A job of somebody's; its handle."""
        answer = self.fixture.connect().ask(request(kind, function, unique, b""))
        return answer[HEADER_SIZE:]


class OwnTestCase(AdminTestCase):
    """
    The commands that the reference does not have.

    @ivar worker: can do C{f} and C{a b}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.connect()
        self.worker.tell(request(SET_CLIENT_ID, b"me"), request(CAN_DO, b"f"), request(CAN_DO, b"a b"))

    def set_policies(self, *rules: tuple[str, dict[str, object]]) -> None:
        policies = Policies([(pattern, CLASSIC.with_settings(settings)) for pattern, settings in rules])
        self.fixture.server.broker.operations.set_policies(policies, START)

    def kill_one(self, function: bytes = b"f", workload: bytes = b"", said: bytes = b"no") -> bytes:
        """A job dies in its second attempt; its handle."""
        self.set_policies(("*", {"retries": 1, "backoff": 0}))
        number = self.fixture.server.broker.table.next_number
        self.fixture.connect().tell(request(SUBMIT_JOB_BG, function, b"", workload))
        handle = b"H:test:%d" % number
        for _ in range(2):
            self.worker.tell(request(GRAB_JOB), request(WORK_EXCEPTION, handle, said))
        self.worker.heard()
        return handle

    def do_one(self, data: bytes, result: bytes, **settings: object) -> bytes:
        """A job is done, under a policy that keeps results; its handle."""
        self.set_policies(("*", {"results": "1h", **settings}))
        number = self.fixture.server.broker.table.next_number
        self.submit(b"f", b"u")
        handle = b"H:test:%d" % number
        self.worker.tell(request(GRAB_JOB), request(WORK_DATA, handle, data))
        self.worker.tell(request(WORK_COMPLETE, handle, result))
        return handle

    def rows(self, line: bytes) -> dict[bytes, bytes]:
        """A list answer of keys and values; the last of each key."""
        answer = self.operator.ask(line + b"\n")
        self.assertTrue(answer.endswith(b"\n.\n"), answer)
        return {key: rest for key, _, rest in (row.partition(b"\t") for row in answer[:-3].split(b"\n"))}
