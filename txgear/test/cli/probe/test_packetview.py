"""
Tests for L{txgear.cli.probe.packetview}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.probe.packetview import KEPT, SHOWN, PacketView
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    GRAB_JOB_UNIQ,
    JOB_ASSIGN_UNIQ,
    LOGGED_IN,
    LOGIN,
    REQUEST_MAGIC,
    RESPONSE_MAGIC,
    SET_CLIENT_ID,
    STATUS_RES,
    SUBMIT_JOB,
    WORK_BEAT,
    WORK_COMPLETE,
    WORKER_GONE,
    WORKER_HELLO,
)
from txgear.protocol.packets import request, response


class PacketViewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.view = PacketView(REQUEST_MAGIC)

    def lines(self, *chunks: bytes, magic: bytes = REQUEST_MAGIC) -> list[str]:
        """What a side that sends this, and ends, is shown as."""
        view = PacketView(magic)
        return [line for chunk in chunks for line in view.feed(chunk)] + list(view.end())

    def test_packets_by_name(self) -> None:
        """The name, the arguments as words, the data in quotes; empty ones can be seen."""
        self.assertEqual(
            self.lines(
                request(CAN_DO, b"reverse")
                + request(GRAB_JOB_UNIQ)
                + request(SUBMIT_JOB, b"reverse", b"", b"Hello World!")
                + request(WORK_COMPLETE, b"H:desk:1", b"")
                + request(ECHO_REQ, b"\0")
            ),
            [
                "CAN_DO reverse",
                "GRAB_JOB_UNIQ",
                'SUBMIT_JOB reverse "" "Hello World!"',
                'WORK_COMPLETE H:desk:1 ""',
                'ECHO_REQ "\\x00"',
            ],
        )

    def test_the_other_side(self) -> None:
        packets = response(JOB_ASSIGN_UNIQ, b"H:desk:1", b"f", b"u", b"w") + response(
            STATUS_RES, b"H:desk:1", b"1", b"0", b"", b""
        )
        self.assertEqual(
            self.lines(packets, magic=RESPONSE_MAGIC),
            ['JOB_ASSIGN_UNIQ H:desk:1 f u "w"', 'STATUS_RES H:desk:1 1 0 "" ""'],
        )

    def test_our_own_packets(self) -> None:
        """They are known from the first on: who has asked for them is not looked at."""
        self.assertEqual(self.lines(request(WORK_BEAT, b"H:desk:1")), ["WORK_BEAT H:desk:1"])

    def test_nothing_can_forge_a_line(self) -> None:
        """Spaces in names, line ends and what is no UTF-8 are escaped, as the server's own lists have it."""
        self.assertEqual(
            self.lines(request(SUBMIT_JOB, b"a b\n", "ü".encode(), b"1\n2 \xff")),
            ['SUBMIT_JOB a\\x20b\\x0a ü "1\\x0a2 \\xff"'],
        )

    def test_text(self) -> None:
        """Lines of text are shown without their ends, with the tabs that part columns."""
        self.assertEqual(
            self.lines(b"status\r\n\nreverse\t0\t0\t1\n.\n"),
            ["text: status", "text: ", "text: reverse\t0\t0\t1", "text: ."],
        )

    def test_byte_by_byte(self) -> None:
        """However the bytes are cut, the lines are the same."""
        stream = request(CAN_DO, b"reverse") + b"status\n" + request(SUBMIT_JOB, b"f", b"", b"w" * 300)
        whole = self.lines(stream)
        self.assertEqual(self.lines(*(bytes([byte]) for byte in stream)), whole)
        for cut in range(len(stream)):
            self.assertEqual(self.lines(stream[:cut], stream[cut:]), whole)

    def test_long_arguments_are_cut_and_long_data_is_a_size(self) -> None:
        name, line = b"n" * 300, b"l" * 300
        self.assertEqual(
            self.lines(
                request(SUBMIT_JOB, name, name, b"d" * (SHOWN + 1)) + request(CAN_DO, name) + line + b"\n"
            ),
            [
                f"SUBMIT_JOB {'n' * SHOWN}...(300 bytes) {'n' * SHOWN}...(300 bytes) ({SHOWN + 1} bytes)",
                f"CAN_DO {'n' * SHOWN}...(300 bytes)",
                f"text: {'l' * SHOWN}... (301 bytes)",
            ],
        )
        self.assertEqual(self.lines(request(ECHO_REQ, b"d" * SHOWN)), [f'ECHO_REQ "{"d" * SHOWN}"'])

    def test_only_the_beginning_of_a_large_one_is_kept(self) -> None:
        """What was not kept is counted; the next packet is found behind it."""
        large = 10 * 1024 * 1024
        stream = request(SUBMIT_JOB, b"f", b"u", b"d" * large) + request(CAN_DO, b"x" * large) + b"y" * large
        stream += b"\n" + request(GRAB_JOB_UNIQ)
        found: list[str] = []
        for at in range(0, len(stream), 65536):
            found += self.view.feed(stream[at : at + 65536])
            self.assertLessEqual(len(self.view._kept), KEPT)
        self.assertEqual(
            found,
            [
                f"SUBMIT_JOB f u ({large:,} bytes)",
                f"CAN_DO {'x' * SHOWN}...({large:,} bytes)",
                f"text: {'y' * SHOWN}... ({large + 1:,} bytes)",
                "GRAB_JOB_UNIQ",
            ],
        )

    def test_what_no_server_takes_is_shown_too(self) -> None:
        """An unknown type, too few arguments, a body too many, the magic of the other direction."""
        self.assertEqual(
            self.lines(
                request(99, b"what") + request(SUBMIT_JOB, b"f") + request(GRAB_JOB_UNIQ, b"x"),
                response(CAN_DO, b"f") + request(GRAB_JOB_UNIQ),
            ),
            [
                "[unknown type 99] (4 bytes)",
                "SUBMIT_JOB [lacks arguments] f",
                "GRAB_JOB_UNIQ [a body of 1 byte, where there is to be none]",
                "CAN_DO f [with the magic of the other direction]",
                "GRAB_JOB_UNIQ",
            ],
        )

    def test_after_what_is_no_packet_there_are_only_bytes(self) -> None:
        self.assertEqual(
            self.lines(b"status\n\0XYZ12345678rest", request(GRAB_JOB_UNIQ), b"z" * (KEPT + SHOWN)),
            [
                "text: status",
                "12 bytes that begin no packet: \\x00XYZ12345678",
                "4 bytes: rest",
                "12 bytes: \\x00REQ\\x00\\x00\\x00\\x1e\\x00\\x00\\x00\\x00",
                f"{KEPT + SHOWN:,} bytes: {'z' * SHOWN}... ({KEPT + SHOWN:,} bytes)",
            ],
        )

    def test_what_has_not_come_whole(self) -> None:
        """At the end, half a header, half a body and half a line are told as such; nothing is, otherwise."""
        packet = request(SUBMIT_JOB, b"f", b"", b"w" * 100)
        self.assertEqual(self.lines(packet[:5]), ["5 bytes of a header of 12: \\x00REQ\\x00"])
        self.assertEqual(self.lines(packet[:40]), ["SUBMIT_JOB [40 of 115 bytes]"])
        self.assertEqual(self.lines(request(99, b"what")[:13]), ["[unknown type 99] [13 of 16 bytes]"])
        self.assertEqual(self.lines(b"stat"), ["text: stat [no end of line]"])
        self.assertEqual(self.lines(packet)[1:], [])

    def test_tokens_are_cut(self) -> None:
        """Of one that has the form of a token the ID is left; of what somebody took for one nothing."""
        token = b"txg_abcd1234_" + b"S" * 43
        self.assertEqual(
            self.lines(
                request(LOGIN, token)
                + request(LOGIN, token + b"S")
                + request(LOGIN, b"S" * 8)
                + request(LOGIN, b"")
                + request(SET_CLIENT_ID, b"token=" + token + b";reporter")
                + request(SET_CLIENT_ID, b"token=SSS;reporter")
                + request(SET_CLIENT_ID, b"reporter"),
                b"authorization: Bearer " + token + b"\r\nWorkers " + token + b"\r\n",
                request(ECHO_REQ, token) + request(CAN_DO, b"x" * 95 + token),
            ),
            [
                "LOGIN txg_abcd1234_...",
                "LOGIN ...",
                "LOGIN ...",
                'LOGIN ""',
                "SET_CLIENT_ID token=txg_abcd1234_...;reporter",
                "SET_CLIENT_ID token=...;reporter",
                "SET_CLIENT_ID reporter",
                "text: authorization:...",
                "text: Workers txg_abcd1234_...",
                'ECHO_REQ "txg_abcd1234_..."',
                "CAN_DO " + "x" * 95 + "txg_a...(151 bytes)",
            ],
        )
        self.assertEqual(self.lines(response(LOGGED_IN, b"web"), magic=RESPONSE_MAGIC), ["LOGGED_IN web"])

    def test_keys_of_workers_are_cut(self) -> None:
        key = b"0123456789abcdef" * 2
        hello = request(WORKER_HELLO, b'{"key":"' + key + b'","id":"a"}')
        long = request(WORKER_HELLO, b'{"key":"' + key + b'","id":"' + b"a" * 100 + b'"}')
        self.assertEqual(
            self.lines(
                hello
                + long
                + request(WORKER_GONE, key, b"killed")
                + request(WORKER_GONE, key.upper() + b"0", b"killed")
                + request(WORKER_GONE, key)
            ),
            [
                'WORKER_HELLO "{"key":"...","id":"a"}"',
                "WORKER_HELLO (150 bytes)",
                'WORKER_GONE ... "killed"',
                'WORKER_GONE ... "killed"',
                'WORKER_GONE ... ""',
            ],
        )

    def test_the_end_is_told_once(self) -> None:
        self.assertEqual(list(self.view.feed(b"stat")), [])
        self.assertEqual(len(list(self.view.end())), 1)
        self.assertEqual(list(self.view.end()), [])
