"""Tests of L{txgear.worker.hello}."""

from __future__ import annotations

import os
import re
from socket import gethostname

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear._version import __version__
from txgear.net.login import Login
from txgear.net.servers import server_list
from txgear.protocol.constants import EXTENSION_OPTION, OPTION_REQ, SET_CLIENT_ID, WORKER_GONE, WORKER_HELLO
from txgear.protocol.hello import Hello, read_hello
from txgear.protocol.packets import Decoder, request
from txgear.worker.hello import Identity, Introduction, checked_key, greeting, key_at

KEY = "0123456789abcdef" * 2


def said(identity: Identity, server: str = "server", jobs: dict[bytes, int] | None = None) -> Hello:
    """What an identity says, as a server reads it."""
    return read(identity.packet(server, jobs or {}))


def read(packet: bytes) -> Hello:
    """What a WORKER_HELLO says."""
    decoder = Decoder()
    decoder.extended = True
    ((kind, arguments),) = decoder.feed(packet)
    assert kind == WORKER_HELLO
    return read_hello(bytes(arguments[0]))


class KeyTests(SynchronousTestCase):
    def test_checked(self) -> None:
        self.assertEqual(KEY, checked_key("key", KEY))

    def test_no_key(self) -> None:
        """No error shows what was given."""
        for wrong in (KEY[1:], KEY + "0", KEY.upper(), KEY[1:] + "\n", "", "x" * 32):
            with self.subTest(wrong=wrong):
                error = self.assertRaises(ValueError, checked_key, "key", wrong)
                self.assertEqual("key is not 32 hexadecimal digits, in small letters", str(error))
        self.assertEqual(
            "runtime is bytes, not str", str(self.assertRaises(TypeError, checked_key, "runtime", b"0" * 32))
        )

    def test_another_one_at_each_server(self) -> None:
        one, two = key_at(KEY, "one:4730"), key_at(KEY, "two:4730")
        self.assertEqual(one, key_at(KEY, "one:4730"))
        self.assertEqual(3, len({KEY, one, two}))
        self.assertEqual([one, two], [checked_key("key", key) for key in (one, two)])
        self.assertNotEqual(one, key_at("f" * 32, "one:4730"))

    def test_none(self) -> None:
        self.assertEqual("", key_at("", "server"))


class IdentityTests(SynchronousTestCase):
    def test_all_of_it(self) -> None:
        runtime = "f" * 32
        identity = Identity(KEY, "images-3", "images", runtime, 1790000000.5)
        self.assertEqual(
            Hello(
                key=key_at(KEY, "server"),
                id="images-3",
                host=gethostname(),
                pid=os.getpid(),
                version=f"txgear {__version__}",
                runtime=key_at(runtime, "server"),
                group="images",
                started=1790000000.5,
                jobs={b"H:1": 1, b"\xff:2": 7},
            ),
            said(identity, "server", {b"H:1": 1, b"\xff:2": 7}),
        )

    def test_a_key_is_made(self) -> None:
        """It is the same as long as it lives, and nobody else's."""
        one, other = Identity("", "", "", "", 0.0), Identity("", "", "", "", 0.0)
        self.assertTrue(re.fullmatch("[0-9a-f]{32}", said(one).key))
        self.assertEqual(said(one).key, said(one).key)
        self.assertNotEqual(said(one).key, said(other).key)
        self.assertEqual("", said(one).runtime)

    def test_mistakes(self) -> None:
        for arguments, error in (
            (("x", "", "", ""), ValueError),
            (("", "", "", "x"), ValueError),
            (("", "", "two\nlines", ""), ValueError),
            (("", "", b"bytes", ""), TypeError),
            ((7, "", "", ""), TypeError),
        ):
            with self.subTest(arguments=arguments):
                self.assertRaises(error, Identity, *arguments, 0.0)

    def test_shown_nowhere(self) -> None:
        self.assertNotIn(KEY, repr(vars(Identity(KEY, "a", "", KEY, 0.0))))


class GreetingTests(SynchronousTestCase):
    def test_all_of_it(self) -> None:
        asked = [request(OPTION_REQ, EXTENSION_OPTION)]
        self.assertEqual([request(SET_CLIENT_ID, b"images-3"), *asked], greeting(b"images-3", None))
        self.assertEqual(asked, greeting(b"", None))

    def test_with_a_token(self) -> None:
        """Who logs in has the option by then."""
        self.assertEqual([request(SET_CLIENT_ID, b"images-3")], greeting(b"images-3", Login(b"txg_x")))
        self.assertEqual([], greeting(b"", Login(b"txg_x")))


class IntroductionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.servers = server_list(Clock(), ["one", "two", "one"], False)
        identity = Identity(KEY, "images-3", "images", "", 0.0)
        self.introduction = Introduction(self.servers, identity, b"images-3", None)

    def test_greeting(self) -> None:
        self.assertEqual(greeting(b"images-3", None), self.introduction.greeting())
        self.assertIsNone(self.introduction.login)

    def test_another_key_over_each_connection(self) -> None:
        """A server that is given twice takes the second connection for another worker."""
        names = [self.servers[0].name, self.servers[1].name, f"{self.servers[0].name} 2"]
        keys = [key_at(KEY, name) for name in names]
        said = [read(self.introduction.hello(server, {b"H:1": 2}, [b"H:1"])) for server in self.servers]
        self.assertEqual(keys, [hello.key for hello in said])
        self.assertEqual([({b"H:1": 2}, {b"H:1"})] * 3, [(hello.jobs, set(hello.parts)) for hello in said])
        self.assertEqual(
            [request(WORKER_GONE, key.encode("ascii"), b"it was stopped") for key in keys],
            [self.introduction.farewell(server, "it was stopped") for server in self.servers],
        )
