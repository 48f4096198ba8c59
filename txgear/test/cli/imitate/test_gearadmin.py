"""
Tests for L{txgear.cli.imitate.gearadmin}.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.gearadmin import HELP, KNOWN, LISTS, OPERATIONS, carry_out, is_whole, show


class WholeTests(SynchronousTestCase):
    def test_lines(self) -> None:
        for answer in (b"OK\r\n", b"OK 7\n", b"ERR x\r\n"):
            for is_list in (False, True):
                self.assertTrue(is_whole(answer, is_list))
                self.assertFalse(is_whole(answer[:-1], is_list))

    def test_lists(self) -> None:
        """A point in a line of its own is the end, and no other."""
        for answer in (b".\n", b"a\t1\n.\n"):
            self.assertTrue(is_whole(answer, True))
        for answer in (b"", b"a\t1\n", b"a.\n", b"."):
            self.assertFalse(is_whole(answer, True))


class ShowTests(SynchronousTestCase):
    def shown(self, answer: bytes) -> tuple[bool, list[bytes], list[bytes]]:
        out: list[bytes] = []
        err: list[bytes] = []
        return show(answer, out.append, err.append), out, err

    def test_answers(self) -> None:
        self.assertEqual(self.shown(b"OK\r\n"), (True, [b"OK\n"], []))
        self.assertEqual(self.shown(b"OK 1.1\n"), (True, [b"1.1\n"], []))
        self.assertEqual(self.shown(b"OK "), (True, [b"OK\n"], []))
        self.assertEqual(self.shown(b"a\t1\n.\n"), (True, [b"a\t1\n.\n"], []))
        self.assertEqual(self.shown(b"ERR CODE text\r\n"), (False, [], [b"Error: CODE text\r\n"]))


class CarryOutTests(SynchronousTestCase):
    def said(self, *words: str) -> tuple[int, bytes, bytes]:
        out, err = [b""], [b""]
        status = carry_out(words, {}, out.append, err.append)
        return status, b"".join(out), b"".join(err)

    def test_without_a_server(self) -> None:
        self.assertEqual(self.said("--help", "--status"), (0, HELP, b""))
        self.assertEqual(self.said(), (1, b"No option execution operation given.\n\n" + HELP, b""))
        wrong = b"gearadmin : unrecognised option '-x'\n\n"
        self.assertEqual(self.said("-x", "--help"), (1, wrong + HELP, b""))

    def test_no_files(self) -> None:
        """TLS needs them before anything is asked."""
        status, _, err = self.said("-S", "--status")
        self.assertEqual((status, err[:27]), (1, b"Error: Error loading CA fil"))

    def test_tables(self) -> None:
        """The help, the options and the operations are of one piece."""
        helped = set(re.findall(rb"--([-a-z]+)", HELP))
        self.assertEqual(helped, {known.name.encode() for known in KNOWN})
        self.assertEqual(set(OPERATIONS), {known.name for known in KNOWN} - {"help", "host", "port", "ssl"})
        for known in KNOWN:
            if known.name in OPERATIONS:
                self.assertEqual(OPERATIONS[known.name].endswith(" "), known.takes)
        self.assertTrue(set(OPERATIONS) > LISTS)
