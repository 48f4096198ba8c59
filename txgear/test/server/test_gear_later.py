"""Tests of L{txgear.server.gear}: jobs for a time, and reducers."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent

from txgear.broker.states import DELAYED
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_UNIQ,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    JOB_CREATED,
    NO_JOB,
    NORMAL,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_SCHED,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
)
from txgear.protocol.packets import request, response
from txgear.test.server.test_gear import ONE, ServerTestCase
from txgear.test.support.clock import START
from txgear.test.support.net import error


class LaterTests(ServerTestCase):
    def epoch(self, when: bytes) -> bytes:
        return self.client.ask(request(SUBMIT_JOB_EPOCH, b"f", b"", when, b"w"))

    def sched(self, *fields: bytes) -> bytes:
        return self.client.ask(request(SUBMIT_JOB_SCHED, b"f", b"u", *fields, b"w"))

    def test_epoch(self) -> None:
        self.assertEqual(self.epoch(b"%d" % (START + 10)), response(JOB_CREATED, ONE))
        job = self.job()
        self.assertEqual((job.state, job.background, job.priority), (DELAYED, True, NORMAL))
        self.worker.ask(request(CAN_DO, b"f"))
        self.assertEqual(self.worker.ask(request(GRAB_JOB)), response(NO_JOB))
        self.fixture.clock.advance(10)
        self.assertEqual(self.worker.ask(request(GRAB_JOB)), response(JOB_ASSIGN, ONE, b"f", b"w"))

    def test_an_epoch_that_is_none_or_over_is_now(self) -> None:
        self.worker.ask(request(CAN_DO, b"f"))
        for number, when in enumerate((b"", b"soon", b"0", b"-5", b"%d" % START, b"-%d" % 2**63), 1):
            handle = b"H:test:%d" % number
            self.assertEqual(self.epoch(when), response(JOB_CREATED, handle))
            self.assertEqual(self.worker.ask(request(GRAB_JOB)), response(JOB_ASSIGN, handle, b"f", b"w"))

    def test_an_epoch_out_of_range_is_refused(self) -> None:
        self.assertEqual(self.epoch(b"%d" % (2**63 - 1)), response(JOB_CREATED, ONE))
        for when in (b"%d" % 2**63, b"-%d" % (2**63 + 1), b"9" * 1000):
            self.assertEqual(self.epoch(when), error(b"ARGUMENT_TOO_LARGE", b"The time is out of range"))

    def test_sched(self) -> None:
        self.assertEqual(self.sched(b"", b"", b"", b"", b""), response(JOB_CREATED, ONE))
        job = self.job()
        # The clock stands at 16 minutes and 40 seconds.
        begins = self.fixture.server.broker.lifecycle.begins(job)
        self.assertEqual((job.state, begins, job.unique), (DELAYED, 1020.0, b"u"))
        self.assertTrue(job.background)

    def test_sched_for_a_date_that_is_another_day_of_the_week(self) -> None:
        """
        27 November 1970 is a Friday, 4 here and 5 where the week begins with Sunday: for a
        Saturday it is a year later. The log says so.
        """
        for fields, said in (
            ((b"0", b"12", b"27", b"11", b"4"), 0),
            ((b"0", b"12", b"27", b"", b"5"), 0),
            ((b"0", b"12", b"29", b"2", b""), 0),
            ((b"0", b"12", b"27", b"11", b"5"), 1),
            ((b"0", b"12", b"27", b"11", b"5"), 0),
        ):
            with capturedLogs() as events:
                self.client.ask(request(SUBMIT_JOB_SCHED, b"f g", b"", *fields, b"w"))
            self.assertEqual(len(events), said, fields)
            for event in events:
                self.assertEqual(
                    formatEvent(event),
                    "192.0.2.1 1 submits a job of f g for a date that has its day of the week only on"
                    " 1971-11-27. If that is not meant: 0 is Monday",
                )

    def test_sched_that_makes_no_sense(self) -> None:
        for fields, text in (
            ((b"60", b"", b"", b"", b""), b"The minute is a number from 0 to 59, or empty for any"),
            ((b"", b"", b"", b"", b"x"), b"The day of the week is a number from 0 to 6, or empty for any"),
            (
                (b"", b"", b"31", b"2", b""),
                b"No day matches the day of the month, the month and the day of the week",
            ),
        ):
            self.assertEqual(self.sched(*fields), error(b"INVALID_ARGUMENT", text))


class ReduceTests(ServerTestCase):
    def test_with_four_arguments_and_with_three(self) -> None:
        for kind, background in ((SUBMIT_REDUCE_JOB, False), (SUBMIT_REDUCE_JOB_BACKGROUND, True)):
            for rest in ((b"", b"work\0load"), (b"work\0load",)):
                self.begin()
                answer = self.client.ask(request(kind, b"f", b"u", b"r", *rest))
                self.assertEqual(answer, response(JOB_CREATED, ONE))
                job = self.job()
                self.assertEqual(
                    (job.reducer, job.workload, job.background), (b"r", b"work\0load", background)
                )

    def test_a_reducer_that_is_too_long(self) -> None:
        answer = self.client.ask(request(SUBMIT_REDUCE_JOB, b"f", b"u", b"r" * 65, b"", b"w"))
        self.assertEqual(answer, error(b"ARGUMENT_TOO_LARGE", b"Unique value too large"))

    def test_the_reducer_goes_to_workers_that_grab_all(self) -> None:
        for grab, expected in (
            (GRAB_JOB, response(JOB_ASSIGN, ONE, b"f", b"w")),
            (GRAB_JOB_UNIQ, response(JOB_ASSIGN_UNIQ, ONE, b"f", b"u", b"w")),
            (GRAB_JOB_ALL, response(JOB_ASSIGN_ALL, ONE, b"f", b"u", b"r", b"w")),
        ):
            self.begin()
            self.client.ask(request(SUBMIT_REDUCE_JOB, b"f", b"u", b"r", b"", b"w"))
            self.assertEqual(self.worker.ask(request(CAN_DO, b"f"), request(grab)), expected)
