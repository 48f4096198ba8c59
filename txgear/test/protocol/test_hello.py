"""Tests of L{txgear.protocol.hello}."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ArgumentTooLarge, InvalidArgument
from txgear.protocol.constants import MAX_CLIENT_ID, MAX_HELLO, MOST_CLAIMED
from txgear.protocol.hello import (
    MAX_GRACE,
    Hello,
    Welcome,
    is_key,
    offer,
    read_hello,
    read_offer,
    read_welcome,
)

KEY = "0123456789abcdef" * 2
OTHER = "f" * 32


def written(**members: Any) -> bytes:
    return json.dumps({"key": KEY, **members}).encode("utf-8")


class HelloTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        hello = Hello(
            KEY,
            "images-3",
            "vm",
            7,
            "txgear 0.1.0",
            OTHER,
            "images",
            1.5,
            {b"H:vm:7": 1, b"H:\xff:8": 2},
            frozenset((b"H:vm:7",)),
        )
        self.assertEqual(read_hello(hello.to_bytes()), hello)

    def test_a_key_is_enough(self) -> None:
        self.assertEqual(read_hello(written()), Hello(KEY))
        self.assertEqual(read_hello(Hello(KEY).to_bytes()), Hello(KEY))

    def test_what_is_not_known_is_passed_over(self) -> None:
        self.assertEqual(read_hello(written(colour="red", id="a")), Hello(KEY, "a"))

    def test_of_jobs_more_may_be_said(self) -> None:
        hello = read_hello(written(jobs=[["a", 1], ["b", 2, True], ["c", 3, False, "more"]]))
        self.assertEqual((hello.jobs, hello.parts), ({b"a": 1, b"b": 2, b"c": 3}, {b"b"}))

    def test_long_words_are_cut(self) -> None:
        hello = read_hello(written(id="é" * 500))
        self.assertEqual(hello.id, "é" * MAX_CLIENT_ID)

    def test_words_that_are_no_unicode(self) -> None:
        """JSON can write half a pair, which nobody could show."""
        hello = read_hello(written(id="a\ud800", jobs=[["\ud800", 1]]))
        self.assertEqual((hello.id, hello.jobs), ("a?", {b"?": 1}))

    def test_more_jobs_than_there_may_be(self) -> None:
        """Those that are first count, for both sides."""
        jobs = {b"H:%d" % number: 1 for number in range(MOST_CLAIMED + 5)}
        first = dict(list(jobs.items())[:MOST_CLAIMED])
        self.assertEqual(read_hello(Hello(KEY, jobs=jobs).to_bytes()).jobs, first)
        self.assertEqual(
            read_hello(written(jobs=[[handle.decode(), 1] for handle in jobs] + [[None]])).jobs, first
        )

    def test_as_many_jobs_fit(self) -> None:
        """Even those whose handles are all bytes that are escaped."""
        jobs = {b"\xff" * 44 + b":%018d" % number: 2**63 - 1 for number in range(MOST_CLAIMED)}
        hello = Hello(KEY, "é" * MAX_CLIENT_ID, jobs=jobs)
        self.assertLess(len(hello.to_bytes()), MAX_HELLO)
        self.assertEqual(read_hello(hello.to_bytes()), hello)

    def test_keys_are_not_shown(self) -> None:
        self.assertNotIn(KEY, repr(Hello(KEY)))
        self.assertNotIn(OTHER, repr(Hello(KEY, runtime=OTHER)))

    def test_keys(self) -> None:
        self.assertTrue(is_key(KEY))
        for word in ("", KEY.upper(), KEY[1:], KEY + "0", KEY[1:] + "\n", "g" * 32):
            self.assertFalse(is_key(word))

    def test_no_hello(self) -> None:
        for data, complaint in (
            (b"", "not JSON"),
            (b"\xff", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[]", "no JSON object"),
            (b"{}", "key: "),
            (json.dumps({"key": 1}).encode(), "key: "),
            (written(runtime=None), "runtime: "),
            (written(runtime="abc"), "runtime: "),
            (written(id=1), "id: a text"),
            (written(host=None), "host: a text"),
            (written(pid="7"), "pid: "),
            (written(pid=-1), "pid: "),
            (written(pid=True), "pid: "),
            (written(pid=2**63), "pid: "),
            (written(started="now"), "started: seconds"),
            (written(started=True), "started: seconds"),
            (written(started=-1), "started: seconds"),
            (written(started=float("nan")), "started: seconds"),
            (written(started=10**400), "started: seconds"),
            (written(jobs={}), "jobs: a list"),
            (written(jobs=["H:vm:7"]), "jobs: of each"),
            (written(jobs=[["H:vm:7"]]), "jobs: of each"),
            (written(jobs=[[7, 1]]), "jobs: of each"),
            (written(jobs=[["H:vm:7", "1"]]), "jobs: of each"),
            (written(jobs=[["H:vm:7", 1, "yes"]]), "jobs: of each"),
        ):
            with self.assertRaisesRegex(InvalidArgument, complaint) as caught:
                read_hello(data)
            self.assertNotIn(KEY, str(caught.exception))

    def test_too_long(self) -> None:
        with self.assertRaisesRegex(ArgumentTooLarge, f"over the limit of {MAX_HELLO}"):
            read_hello(written(id="x" * MAX_HELLO))


class WelcomeTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for offers in (False, True):
            welcome = Welcome(10.0, frozenset((b"H:vm:7", b"H:\xff:8")), offers)
            self.assertEqual(read_welcome(welcome.to_bytes()), welcome)

    def test_bytes_in_order(self) -> None:
        self.assertEqual(
            Welcome(10.0, frozenset((b"H:b:2", b"H:b:1"))).to_bytes(),
            b'{"grace":10.0,"held":["H:b:1","H:b:2"]}',
        )

    def test_nothing_said(self) -> None:
        self.assertEqual(read_welcome(b'{"more": 1}'), Welcome(0.0))

    def test_no_welcome(self) -> None:
        for data, complaint in (
            (b"no", "not JSON"),
            (b"7", "no JSON object"),
            (b'{"grace": "10"}', "grace: seconds"),
            (b'{"grace": %d}' % (MAX_GRACE + 1), "grace: seconds"),
            (b'{"held": 1}', "held: a list"),
            (b'{"held": [1]}', "held: a list"),
        ):
            with self.assertRaisesRegex(InvalidArgument, complaint):
                read_welcome(data)


class OfferTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        jobs = {b"H:vm:7": 1, b"H:\xff:8": 3}
        self.assertEqual(read_offer(offer(jobs)), jobs)

    def test_what_was_sent_of_is_left_out(self) -> None:
        self.assertEqual(read_offer(b'{"jobs":[["H:a:1",1,true],["H:a:2",1]],"more":1}'), {b"H:a:2": 1})
        self.assertEqual(read_offer(b"{}"), {})

    def test_more_jobs_than_there_may_be(self) -> None:
        jobs = {b"H:vm:%d" % number: 1 for number in range(MOST_CLAIMED + 1)}
        self.assertEqual(len(read_offer(offer(jobs))), MOST_CLAIMED)

    def test_no_offer(self) -> None:
        for data, complaint in ((b"[]", "no JSON object"), (b'{"jobs": 1}', "jobs: a list")):
            with self.assertRaisesRegex(InvalidArgument, complaint):
                read_offer(data)
