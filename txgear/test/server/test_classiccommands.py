"""Tests of L{txgear.server.classiccommands}, byte for byte."""

from __future__ import annotations

from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB,
    SET_CLIENT_ID,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW_BG,
)
from txgear.protocol.packets import request
from txgear.test.support.textcommands import (
    EMPTY,
    AdminTestCase,
)


class ListTests(AdminTestCase):
    def test_nothing(self) -> None:
        self.check(
            (b"status", EMPTY),
            (b"prioritystatus", EMPTY),
            (b"show jobs", EMPTY),
            (b"show unique jobs", EMPTY),
            (b"workers", b"1 192.0.2.1 - :\n" + EMPTY),
        )

    def test_status_counts_all_jobs_those_that_run_and_workers(self) -> None:
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"g"), request(CAN_DO, b"f"))
        for _ in range(3):
            self.submit(b"f")
        worker.tell(request(GRAB_JOB))
        self.submit(b"x y")
        self.fixture.connect().tell(request(SUBMIT_JOB_EPOCH, b"f", b"", b"99999", b""))
        self.check(
            (b"status", b"g\t0\t0\t1\nf\t4\t1\t1\nx y\t1\t0\t0\n" + EMPTY),
            (b"status of everything", b"g\t0\t0\t1\nf\t4\t1\t1\nx y\t1\t0\t0\n" + EMPTY),
        )

    def test_prioritystatus_counts_what_is_queued(self) -> None:
        for kind in (SUBMIT_JOB_LOW_BG, SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_BG):
            self.submit(b"f", kind=kind)
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.check((b"prioritystatus", b"f\t1\t1\t1\t1\n" + EMPTY))

    def test_workers_shows_every_connection_and_the_newest_first(self) -> None:
        worker = self.fixture.connect("2001:db8::1")
        worker.tell(request(SET_CLIENT_ID, b"me"), request(CAN_DO, b"f"), request(CAN_DO, b"g"))
        self.check((b"workers", b"2 2001:db8::1 me : g f\n1 192.0.2.1 - :\n" + EMPTY))
        worker.tell(request(CAN_DO, b"f"))
        worker.tell(request(SET_CLIENT_ID, b""))
        self.check((b"workers", b"2 2001:db8::1 - : f g\n1 192.0.2.1 - :\n" + EMPTY))
        worker.leave()
        self.check((b"workers", b"1 192.0.2.1 - :\n" + EMPTY))

    def test_names_cannot_forge_lines(self) -> None:
        worker = self.fixture.connect()
        worker.tell(request(SET_CLIENT_ID, b"a b\n9 evil"), request(CAN_DO, b"f\n.\n\t"))
        self.submit(b"f\n.\n\t", b"u\n.")
        shown = b"f\\x0a.\\x0a\\x09"
        peers = [b"3 192.0.2.1 - :", b"2 192.0.2.1 a\\x20b\\x0a9\\x20evil : " + shown, b"1 192.0.2.1 - :"]
        self.check(
            (b"workers", b"\n".join(peers) + b"\n" + EMPTY),
            (b"status", shown + b"\t1\t0\t1\n" + EMPTY),
            (b"prioritystatus", shown + b"\t0\t1\t0\t1\n" + EMPTY),
            (b"show unique jobs", b"u\\x0a.\n" + EMPTY),
        )

    def test_names_are_one_to_one(self) -> None:
        names = {
            b"look\talike": b"look\\x09alike",
            b"look\\x09alike": b"look\\x5cx09alike",
            b"App\\Jobs\\Mail": b"App\\Jobs\\Mail",
            b"caf\xe9": b"caf\\xe9",
            b"caf\xc3\xa9": b"caf\xc3\xa9",
            b"a b": b"a b",
        }
        for name in names:
            self.submit(name, name)
        listed = b"".join(name + b"\n" for name in names.values()) + EMPTY
        self.check(
            (b"show unique jobs", listed),
            (b"status", listed.replace(b"\n", b"\t1\t0\t0\n", 6)),
        )

    def test_a_row_is_not_the_end_of_the_list(self) -> None:
        for unique in (b"first", b".", b"..", b". ", b"last."):
            self.submit(b"f", unique)
        self.check((b"show unique jobs", b"first\n\\x2e\n..\n. \nlast.\n" + EMPTY))

    def test_a_function_with_a_blank_is_one_function_of_a_worker(self) -> None:
        self.operator.tell(request(CAN_DO, b"send mail"), request(CAN_DO, b"g"))
        self.check((b"workers", b"1 192.0.2.1 - : g send\\x20mail\n" + EMPTY))

    def test_show(self) -> None:
        self.submit(b"f", b"u")
        client = self.fixture.connect()
        client.tell(request(SUBMIT_JOB, b"f", b"", b""))
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB))
        worker.leave()
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB), request(GRAB_JOB))
        client.leave()
        jobs = b"H:test:1\t1\t0\t1\nH:test:2\t0\t1\t0\n" + EMPTY
        uniques = b"u\n\n" + EMPTY
        unknown = b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"
        self.check(
            (b"show jobs", jobs),
            (b"SHOW Jobs", jobs),
            (b"show unique jobs", uniques),
            (b"Show Unique JOBS", uniques),
            (b"show", b"ERR UNKNOWN_COMMAND Unknown+server+commandshow\r\n"),
            *((b"show " + rest, unknown) for rest in (b"", b"unique", b"job", b"unique job", b"jobs all")),
        )
