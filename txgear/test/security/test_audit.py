"""Tests of L{txgear.security.audit}."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.rights import RELOAD
from txgear.broker.tenants import Tenant
from txgear.errors import ConfigurationError
from txgear.security.audit import (
    DONE,
    LOGIN,
    MINUTE,
    MOST_IN_FULL,
    MOST_KEPT,
    MOST_KINDS,
    MOST_SHOWN,
    REFUSED,
    Audit,
    AuditLog,
)
from txgear.security.tokens import new_token


class AuditTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.clock = Clock()
        self.audit = self.opened()

    def opened(self) -> AuditLog:
        """An audit log in that file, at a quarter past five."""
        audit = AuditLog(str(self.path), self.clock, lambda: 1796015700.0 + self.clock.seconds())
        self.addCleanup(audit.stop)
        return audit

    def lines(self, path: Path | None = None) -> list[dict[str, Any]]:
        """What stands in the file."""
        text = (path or self.path).read_text("ascii")
        self.assertTrue(text.endswith("\n") or not text)
        return [json.loads(line) for line in text.splitlines()]


class LineTests(AuditTestCase):
    """What a line has."""

    def test_an_act(self) -> None:
        peer = Peer(17, "192.0.2.1")
        peer.client_id, peer.tenant = b"nagios", Tenant("ops")
        self.clock.advance(0.0625)
        self.audit.record("purge", DONE, peer, function=b"mail.send", answer=b"OK 311")
        self.assertEqual(
            self.path.read_text(),
            '{"time":"2026-11-30T05:15:00.062Z","act":"purge","outcome":"done","identity":"ops",'
            '"address":"192.0.2.1","descriptor":17,"client_id":"nagios","function":"mail.send",'
            '"answer":"OK 311"}\n',
        )

    def test_of_nobody(self) -> None:
        self.audit.record("pause", REFUSED, Peer(3, "::1"), function=b"f", arguments=None)
        (line,) = self.lines()
        self.assertEqual(
            line,
            {
                "time": "2026-11-30T05:15:00.000Z",
                "act": "pause",
                "outcome": "refused",
                "identity": None,
                "address": "::1",
                "descriptor": 3,
                "client_id": "-",
                "function": "f",
            },
        )

    def test_by_no_connection(self) -> None:
        self.audit.record(RELOAD, DONE, by="signal")
        (line,) = self.lines()
        self.assertEqual(line["by"], "signal")
        for name in ("identity", "address", "descriptor", "client_id"):
            self.assertIsNone(line[name])

    def test_names_are_shown_as_in_lists(self) -> None:
        """They forge no lines, and a terminal is told nothing by them."""
        peer = Peer(3, "192.0.2.1")
        peer.client_id = b'"\n\x1b[2J\xff\\x0a\xe2\x80\xae'
        self.audit.record(
            "purge", DONE, peer, function="caf\u00e9 1\udcff".encode("utf-8", "surrogateescape")
        )
        (line,) = self.lines()
        self.assertEqual(line["client_id"], '"\\x0a\\x1b[2J\\xff\\x5cx0a\u202e')
        self.assertEqual(line["function"], "caf\u00e9 1\\xff")
        self.assertTrue(self.path.read_bytes()[:-1].isascii())
        self.assertNotIn(b"\x1b", self.path.read_bytes())

    def test_long_names_are_cut(self) -> None:
        self.audit.record("purge", DONE, None, function=b"f" * 8191)
        (line,) = self.lines()
        self.assertEqual(line["function"], "f" * MOST_SHOWN + "...")

    def test_no_token(self) -> None:
        """Whoever puts one where it does not belong finds its ID there only."""
        token = new_token().encode("ascii")
        peer = Peer(3, "192.0.2.1")
        peer.client_id = b"Token=" + token
        self.audit.record(LOGIN, REFUSED, peer, function=token[:40], how="token")
        self.assertNotIn(token[13:33], self.path.read_bytes())
        (line,) = self.lines()
        self.assertEqual(line["client_id"], f"Token={token[:13].decode()}...")


class MemoryTests(SynchronousTestCase):
    """Without a file."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.audit = Audit(self.clock, lambda: 1796015700.0 + self.clock.seconds())

    def record(self, *functions: bytes) -> None:
        for function in functions:
            self.audit.record("purge", DONE, Peer(3, "192.0.2.1"), function=function)

    def named(self, after: int = 0, limit: int = MOST_KEPT) -> tuple[list[Any], int | None]:
        """The functions of the last lines, and what follows."""
        lines, following = self.audit.last(after, limit)
        return [line["function"] for line in lines], following

    def test_a_line(self) -> None:
        self.record(b"a\nb")
        self.audit.reopen()
        self.assertEqual(
            self.audit.last(0, 1),
            (
                [
                    {
                        "number": 1,
                        "time": "2026-11-30T05:15:00.000Z",
                        "act": "purge",
                        "outcome": "done",
                        "identity": None,
                        "address": "192.0.2.1",
                        "descriptor": 3,
                        "client_id": "-",
                        "function": "a\\x0ab",
                    }
                ],
                None,
            ),
        )

    def test_pages(self) -> None:
        self.assertEqual(self.named(), ([], None))
        self.record(b"a", b"b", b"c")
        self.assertEqual(self.named(limit=2), (["c", "b"], 2))
        self.record(b"d")
        self.assertEqual(self.named(after=2, limit=2), (["a"], None))
        self.assertEqual(self.named(limit=4), (["d", "c", "b", "a"], None))
        self.assertEqual(self.named(after=1), ([], None))

    def test_the_first_ones_go(self) -> None:
        self.record(*(b"%d" % number for number in range(MOST_KEPT + 5)))
        names, following = self.named(limit=MOST_KEPT)
        self.assertEqual((names[0], names[-1], following), ("1004", "5", None))

    def test_refusals_are_counted_here_as_well(self) -> None:
        for _ in range(MOST_IN_FULL + 7):
            self.audit.record(LOGIN, REFUSED, Peer(3, "192.0.2.1"))
        self.assertEqual(len(self.audit.last(0, MOST_KEPT)[0]), MOST_IN_FULL)
        self.clock.advance(MINUTE)
        (newest,), _ = self.audit.last(0, 1)
        self.assertEqual((newest["more"], newest["act"]), (7, LOGIN))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end(self) -> None:
        for _ in range(MOST_IN_FULL + 1):
            self.audit.record(LOGIN, REFUSED, Peer(3, "192.0.2.1"))
        for _ in range(2):
            self.audit.stop()
            self.record(b"late")
        lines, _ = self.audit.last(0, MOST_KEPT)
        self.assertEqual([line["more"] for line in lines if "more" in line], [1])
        self.assertNotIn("late", [line.get("function") for line in lines])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FloodTests(AuditTestCase):
    """Refusals are counted, from some on."""

    def refuse(self, count: int, address: str | None = "192.0.2.1", act: str = LOGIN) -> None:
        peer = None if address is None else Peer(3, address)
        for _ in range(count):
            self.audit.record(act, REFUSED, peer)

    def fresh(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """The lines that come until that time has passed."""
        before = len(self.lines())
        self.clock.advance(seconds)
        return self.lines()[before:]

    def test_the_first_in_full_and_the_others_counted(self) -> None:
        self.refuse(MOST_IN_FULL + 1000)
        self.assertEqual(len(self.lines()), MOST_IN_FULL)
        self.assertEqual(self.fresh(MINUTE - 1), [])
        self.assertEqual(
            self.fresh(1),
            [
                {
                    "time": "2026-11-30T05:16:00.000Z",
                    "act": "login",
                    "outcome": "refused",
                    "address": "192.0.2.1",
                    "more": 1000,
                }
            ],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_next_minute_is_new(self) -> None:
        self.refuse(MOST_IN_FULL + 1)
        self.clock.advance(MINUTE)
        self.refuse(MOST_IN_FULL)
        self.assertEqual(len(self.lines()), 2 * MOST_IN_FULL + 1)
        self.assertEqual(self.fresh(MINUTE), [])

    def test_each_kind_and_address_for_itself(self) -> None:
        self.refuse(MOST_IN_FULL)
        self.refuse(1, act="purge")
        self.refuse(1, "192.0.2.2")
        self.refuse(1, None, act=RELOAD)
        self.assertEqual(len(self.lines()), MOST_IN_FULL + 3)

    def test_a_network_of_one_machine_is_one(self) -> None:
        for number in range(MOST_IN_FULL + 5):
            self.refuse(1, f"2001:db8::{number:x}")
        (line,) = self.fresh(MINUTE)
        self.assertEqual((line["address"], line["more"]), ("2001:db8::/64", 5))

    def test_from_a_great_many_addresses(self) -> None:
        """Nothing of it is uncounted, and the file is not filled."""
        for number in range(10 * MOST_KINDS):
            self.refuse(2, f"192.0.{number >> 8}.{number & 255}")
        self.assertEqual(len(self.lines()), 2 * MOST_KINDS + MOST_IN_FULL)
        (line,) = self.fresh(MINUTE)
        self.assertIsNone(line["address"])
        self.assertEqual(line["more"], 20 * MOST_KINDS - 2 * MOST_KINDS - MOST_IN_FULL)

    def test_what_was_done_stands_there_in_full(self) -> None:
        peer = Peer(3, "192.0.2.1")
        for _ in range(5 * MOST_IN_FULL):
            self.audit.record("create", DONE, peer, function=b"f")
        self.assertEqual(len(self.lines()), 5 * MOST_IN_FULL)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_logins_are_counted_too(self) -> None:
        """Some programs log in for each job."""
        for _ in range(MOST_IN_FULL + 7):
            self.audit.record(LOGIN, DONE, Peer(3, "192.0.2.1"), how="token")
        self.assertEqual([line["more"] for line in self.fresh(MINUTE)], [7])

    def test_what_is_left_is_told_at_the_end(self) -> None:
        self.refuse(MOST_IN_FULL + 3)
        self.audit.stop()
        self.assertEqual(self.lines()[-1]["more"], 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_comes_after_the_end(self) -> None:
        self.audit.stop()
        self.audit.stop()
        self.refuse(1)
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FileTests(AuditTestCase):
    """The file itself."""

    def test_a_new_one_is_for_its_owner(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        self.path.unlink()
        self.opened()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_an_old_one_is_appended_to_and_keeps_its_mode(self) -> None:
        self.path.chmod(0o640)
        self.audit.record("purge", DONE)
        self.opened().record("pause", DONE)
        self.audit.record("resume", DONE)
        self.assertEqual([line["act"] for line in self.lines()], ["purge", "pause", "resume"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)

    def test_moved_away(self) -> None:
        """Until it is told so, it goes on in the one that was moved."""
        moved = self.path.with_suffix(".1")
        self.audit.record("purge", DONE)
        self.path.rename(moved)
        self.audit.record("pause", DONE)
        self.audit.reopen()
        self.audit.record("resume", DONE)
        self.assertEqual([line["act"] for line in self.lines(moved)], ["purge", "pause"])
        self.assertEqual([line["act"] for line in self.lines()], ["resume"])

    def test_reopening_leaves_no_descriptor(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            self.audit.reopen()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.audit.stop()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)

    def test_it_cannot_be_reopened(self) -> None:
        moved = self.path.with_suffix(".1")
        self.path.rename(moved)
        self.path.mkdir()
        error = self.assertRaises(ConfigurationError, self.audit.reopen)
        self.assertEqual(str(error), f"cannot write the audit log {self.path}: it is no file")
        self.audit.record("purge", DONE)
        self.assertEqual([line["act"] for line in self.lines(moved)], ["purge"])

    def test_it_cannot_be_opened(self) -> None:
        self.path = Path("/nowhere/at/all")
        error = self.assertRaises(ConfigurationError, self.opened)
        self.assertEqual(str(error), "cannot write the audit log /nowhere/at/all: No such file or directory")

    def test_what_is_no_file(self) -> None:
        """A pipe whose reader is slow, or is not there, would have the server wait."""
        before = len(os.listdir("/proc/self/fd"))
        pipe = Path(self.mktemp()).absolute()
        os.mkfifo(pipe)
        link = Path(self.mktemp()).absolute()
        link.symlink_to(pipe)
        read = Path(self.mktemp()).absolute()
        os.mkfifo(read)
        self.addCleanup(os.close, os.open(read, os.O_RDONLY | os.O_NONBLOCK))
        before += 1
        for self.path in (pipe, link, read, Path("/dev/null"), Path.cwd()):
            error = self.assertRaises(ConfigurationError, self.opened)
            self.assertEqual(str(error), f"cannot write the audit log {self.path}: it is no file")
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class FullDiskTests(AuditTestCase):
    """The file takes no more."""

    room: int | None = None

    def opened(self) -> AuditLog:
        audit = AuditLog(str(self.path), self.clock, self.clock.seconds, self.write)
        self.addCleanup(audit.stop)
        return audit

    def write(self, file: int, text: bytes) -> int:
        """Write as a disk does that has this room."""
        if self.room is None:
            return os.write(file, text)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(file, text[: self.room])
        self.room -= written
        return written

    def record(self, *acts: str, room: int | None = None) -> list[str | None]:
        """
        Record these.

        @param room: bytes that the disk has left.
        @return: what the log says meanwhile.
        """
        self.room = room
        with capturedLogs() as events:
            for act in acts:
                self.audit.record(act, DONE)
        return [formatEvent(event) for event in events]

    def test_one_line_in_the_log(self) -> None:
        self.record("create")
        size = self.path.stat().st_size
        self.assertEqual(
            self.record("drop", "pause", "resume", room=0),
            [f"cannot write the audit log {self.path}: No space left on device; what it lacks is counted"],
        )
        self.assertEqual(self.path.stat().st_size, size)

    def test_what_was_lost_is_counted(self) -> None:
        self.record("create")
        self.record("drop", "pause", "resume", room=0)
        self.assertEqual(
            self.record("purge", "forget"),
            [f"the audit log {self.path} is written again; it lacks 3 lines"],
        )
        create, lost, purge, forget = self.lines()
        self.assertEqual([line["act"] for line in (create, purge, forget)], ["create", "purge", "forget"])
        self.assertEqual((lost["act"], lost["outcome"], lost["more"]), ("lost", "done", 3))

    def test_room_for_the_count_only(self) -> None:
        """What was told of is not told again."""
        self.record("create", room=0)
        self.record(
            "drop", room=len('{"time":"1970-01-01T00:00:00.000Z","act":"lost","outcome":"done","more":1}\n')
        )
        self.record("purge")
        self.assertEqual([line.get("more") for line in self.lines()], [1, 1, None])

    def test_a_torn_line_spoils_no_other(self) -> None:
        self.record("create")
        said = self.record("drop", room=20)
        self.assertEqual(len(said), 1)
        self.record("purge")
        texts = self.path.read_text().splitlines()
        self.assertEqual(len(texts[1]), 20)
        texts.pop(1)
        self.assertEqual([json.loads(text)["act"] for text in texts], ["create", "lost", "purge"])

    def test_a_new_file_has_no_torn_line(self) -> None:
        self.record("create")
        self.record("drop", room=20)
        self.path.rename(self.path.with_suffix(".1"))
        self.audit.reopen()
        self.record("purge")
        self.assertEqual([line["act"] for line in self.lines()], ["lost", "purge"])
