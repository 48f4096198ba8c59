"""Tests of L{txgear.protocol.traces}."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.traces import MOST_MEMBERS, MOST_PARENT, MOST_STATE, Trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LATER = "01" + PARENT[2:]


class HeaderTests(SynchronousTestCase):
    def test_headers(self) -> None:
        parent = PARENT.encode()
        for states, state in (
            ([], ""),
            ([b"a=1"], "a=1"),
            ([b"a=1", b"b=2 , c=3"], "a=1,b=2,c=3"),
            ([b"", b"a=1"], "a=1"),
        ):
            self.assertEqual(Trace.from_headers([parent], states), Trace(PARENT, state))

    def test_what_is_malformed(self) -> None:
        """It is left out, and nothing is made of two that cannot both be meant."""
        parent = PARENT.encode()
        for parents in ([], [parent, parent], [b""], [b"\xff"], [parent.upper()], [parent + b"-"]):
            self.assertIsNone(Trace.from_headers(parents, [b"a=1"]), parents)
        for states in ([b"\xff"], [b"a=1", b"a=2"], [b"a=" + b"1" * MOST_STATE], [b"A=1"]):
            self.assertEqual(Trace.from_headers([parent], states), Trace(PARENT), states)


class TraceTests(SynchronousTestCase):
    def test_traceparent(self) -> None:
        for parent in (
            PARENT,
            PARENT[:-2] + "00",
            LATER,
            LATER + "-",
            LATER + "-what-follows",
            "cc" + PARENT[2:],
        ):
            self.assertEqual(Trace.checked(parent), Trace(parent, ""))

    def test_what_is_no_traceparent(self) -> None:
        for parent in (
            None,
            7,
            b"00",
            "",
            PARENT.upper(),
            PARENT + "\n",
            PARENT + "-01",
            PARENT[:-1],
            " " + PARENT,
            "ff" + PARENT[2:],
            LATER + "x",
            LATER + "-\x7f",
            LATER + "-" + "x" * MOST_PARENT,
            PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
            PARENT.replace("b7ad6b7169203331", "0" * 16),
            PARENT.replace("-", "_"),
        ):
            with self.assertRaisesRegex(ValueError, "^traceparent: "):
                Trace.checked(parent)

    def test_tracestate(self) -> None:
        for state, kept in (
            ("", ""),
            (" , ", ""),
            ("a=1", "a=1"),
            ("rojo=00f067aa0ba902b7 ,\tcongo=t61rcWkgMzE,", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            ("1tenant@sys=x y\"\\'~", "1tenant@sys=x y\"\\'~"),
            ("a_*/-0=!", "a_*/-0=!"),
            ("a" * 256 + "=" + "v" * 255, "a" * 256 + "=" + "v" * 255),
            ("1" + "a" * 240 + "@" + "b" * 14 + "=v", "1" + "a" * 240 + "@" + "b" * 14 + "=v"),
        ):
            self.assertEqual(Trace.checked(PARENT, state), (PARENT, kept))
        most = ",".join(f"k{number}=v" for number in range(MOST_MEMBERS))
        self.assertEqual(Trace.checked(PARENT, most).tracestate, most)

    def test_what_is_no_tracestate(self) -> None:
        for state in (None, b"a=1", ["a=1"], "x" * (MOST_STATE + 1)):
            with self.assertRaisesRegex(ValueError, "^tracestate: a text of 512 bytes"):
                Trace.checked(PARENT, state)
        for state in (
            "a",
            "a=",
            "=1",
            "A=1",
            "1=1",
            "a=1=2",
            "a=1,a=2",
            "a=ä",
            "a=\x7f",
            "a=1\n",
            "@b=1",
            "a@1=1",
            "a@b@c=1",
            "a" * 257 + "=1",
            "a" + "b" * 241 + "@c=1",
            "a@" + "b" * 15 + "=1",
            ",".join(f"k{number}=v" for number in range(MOST_MEMBERS + 1)),
        ):
            with self.assertRaisesRegex(ValueError, "^tracestate: KEY=VALUE"):
                Trace.checked(PARENT, state)


class JsonTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for trace in (Trace(PARENT), Trace(PARENT, "a=1")):
            self.assertEqual(Trace.from_json(trace.as_json()), trace)
            self.assertEqual(json.loads(trace.to_bytes()), trace.as_json())
        self.assertEqual(Trace(PARENT).as_json(), {"traceparent": PARENT})

    def test_what_is_none(self) -> None:
        for value in (
            None,
            PARENT,
            [PARENT],
            {},
            {"tracestate": "a=1"},
            {"traceparent": PARENT, "baggage": ""},
        ):
            with self.assertRaisesRegex(ValueError, "^an object with traceparent, and perhaps tracestate"):
                Trace.from_json(value)
        with self.assertRaisesRegex(ValueError, "^traceparent: "):
            Trace.from_json({"traceparent": None})
        with self.assertRaisesRegex(ValueError, "^tracestate: "):
            Trace.from_json({"traceparent": PARENT, "tracestate": None})
