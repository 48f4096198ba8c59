"""Peers that speak this server's own requests."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.model import Job
from txgear.broker.states import RUNNING
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    CAN_DO,
    GET_RESULT,
    GRAB_JOB_OPTIONS,
    JOB_CREATED,
    OPTION_REQ,
    OPTION_RES,
    RESULT,
    SUBMIT_JOB_OPTIONS,
)
from txgear.protocol.packets import request, response
from txgear.test.support.clock import START
from txgear.test.support.server import FakePeer, ServerFixture

ONE, TWO = b"H:test:1", b"H:test:2"
GRANTED = response(OPTION_RES, b"txgear-1")
CREATED = response(JOB_CREATED, ONE)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def asked(
    handle: bytes = ONE,
    *,
    token: bytes = b"t",
    function: bytes = b"",
    unique: bytes = b"",
    wait: bytes = b"0",
) -> bytes:
    """A question for what became of a job."""
    return request(GET_RESULT, token, handle, function, unique, wait)


def told(
    outcome: bytes, size: bytes = b"0", brought: bytes = b"", *, handle: bytes = ONE, token: bytes = b"t"
) -> bytes:
    """The answer."""
    return response(RESULT, token, handle, outcome, size, brought)


class ExtensionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self, policies: dict[str, dict[str, Any]] | None = None, **choices: object) -> None:
        """A server of its own, with a client and a worker that both may speak all of it."""
        self.fixture = ServerFixture(**choices)
        self.set_policies(policies or {})
        self.client = self.extended()
        self.worker = self.extended()

    def set_policies(self, policies: dict[str, dict[str, Any]]) -> None:
        rules = [(pattern, CLASSIC.with_settings(settings)) for pattern, settings in policies.items()]
        self.broker.operations.set_policies(Policies(rules), START)

    @property
    def broker(self) -> Broker:
        return self.fixture.server.broker

    def extended(self) -> FakePeer:
        """A peer that has asked for the extension."""
        line = self.fixture.connect()
        self.assertEqual(line.ask(request(OPTION_REQ, b"txgear-1")), GRANTED)
        return line

    def job(self, handle: bytes = ONE) -> Job:
        job = self.broker.table.by_handle(handle)
        assert job is not None
        return job

    def submit(self, options: object, workload: bytes = b"w", unique: bytes = b"") -> bytes:
        packed = options if isinstance(options, bytes) else json.dumps(options).encode()
        return self.client.ask(request(SUBMIT_JOB_OPTIONS, b"f", unique, packed, workload))

    def run_job(self, options: object = b"", unique: bytes = b"") -> None:
        """A background job that the worker has."""
        self.assertEqual(self.submit(options, unique=unique), CREATED)
        self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB_OPTIONS))
        self.assertEqual(self.job().state, RUNNING)
