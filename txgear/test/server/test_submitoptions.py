"""Tests of L{txgear.server.submitoptions}."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ArgumentTooLarge, InvalidArgument
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.server.submitoptions import SubmitOptions, read_options
from txgear.test.support.extension import PARENT

DEEP = b"[" * 8000


class ReadOptionsTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        for text in (b"", b"{}", b" {}\n"):
            self.assertEqual(read_options(text), SubmitOptions(NORMAL, True, 0.0, 0.0, {}))

    def test_all(self) -> None:
        text = b'{"priority":"high","background":false,"delay":"1.5h","retries":3,"unique_for":"1d"}'
        self.assertEqual(
            read_options(text), SubmitOptions(HIGH, False, 0.0, 5400.0, {"retries": 3, "unique_for": "1d"})
        )
        self.assertEqual(read_options(b'{"at":1.5,"priority":"low"}'), SubmitOptions(LOW, True, 1.5, 0.0, {}))

    def test_what_is_no_json(self) -> None:
        for text in (b"{", b"\xff{}", b"{} {}", b'{"at":NaN}', b'{"at":-Infinity}', DEEP, b"{}\0"):
            with self.assertRaisesRegex(InvalidArgument, "The options are not JSON: "):
                read_options(text)
        with self.assertRaisesRegex(InvalidArgument, "The options are not JSON: "):
            read_options(b'{"at":' + b"9" * 5000 + b"}")

    def test_what_is_no_object(self) -> None:
        for text in (b"[]", b"5", b"null", b'"high"'):
            with self.assertRaisesRegex(InvalidArgument, "The options are no JSON object$"):
                read_options(text)

    def test_mistakes_are_named(self) -> None:
        mistakes: dict[str, list[Any]] = {
            "priority": ["urgent", 1, None, ["high"], {}],
            "background": ["true", 0, None],
            "at": ["now", -1, True, None, 1e300, 10**400, 253402300800, [1]],
            "delay": ["soon", -1, True, None, 1e300, 10**400, "400000d"],
            "trace": [
                None,
                PARENT,
                {},
                {"traceparent": 1},
                {"traceparent": PARENT, "tracestate": "=", "x": 1},
            ],
        }
        for key, values in mistakes.items():
            for value in values:
                with self.assertRaisesRegex(InvalidArgument, f"INVALID_ARGUMENT: {key}: "):
                    read_options(json.dumps({key: value}).encode())
        with self.assertRaisesRegex(InvalidArgument, "delay: .* not both"):
            read_options(b'{"at":1,"delay":1}')

    def test_too_large(self) -> None:
        fits = b" " * 8190 + b"{}"
        self.assertEqual(read_options(fits), SubmitOptions(NORMAL, True, 0.0, 0.0, {}))
        with self.assertRaisesRegex(ArgumentTooLarge, "Options of 8193 bytes are over the limit of 8192"):
            read_options(fits + b" ")
