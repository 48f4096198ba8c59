"""Tests of L{txgear.daemon.service}: the web."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs, formatEvent

from txgear.daemon.late import ASKED
from txgear.daemon.options import Options
from txgear.daemon.service import ServerService
from txgear.errors import ConfigurationError
from txgear.test.daemon.test_service import ServiceTestCase
from txgear.test.support.journal import ThreadedReactor
from txgear.web.channel import WebChannel, WebFactory

RULES = """
[[identity]]
name = "ops"
addresses = ["unix"]
[[access]]
identities = ["ops"]
allow = ["all"]
"""


class ListeningReactor(ThreadedReactor):
    """A reactor whose ports tell where they are; some ports are taken."""

    def __init__(self, taken: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.taken = taken
        self.closed: list[int] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "the reason"))
        opened: Any = super().listenTCP(port, factory, backlog, interface)
        opened.getHost = lambda: IPv4Address("TCP", interface, port)
        opened.stopListening = lambda: self.closed.append(port)
        return opened


class Refusing(MetaPathFinder):
    """Finds that the web cannot be imported, as where another user may not read it."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == ASKED:
            raise ImportError(f"{fullname} cannot be imported", name=fullname)


class WebTests(ServiceTestCase):
    def setUp(self) -> None:
        self.reactor = ListeningReactor()

    def open_web(self, *words: str) -> list[tuple[int, str]]:
        """Start a service, and say where its web is."""
        with capturedLogs() as events:
            self.web_service = self.started("--listen=127.0.0.1", *words)
        self.lines = [formatEvent(event) for event in events]
        servers = self.reactor.tcpServers
        return [(port, at) for port, factory, _, at in servers if isinstance(factory, WebFactory)]

    def started_by_default(self) -> tuple[ServerService, list[str]]:
        """Start a service without a word of its web."""
        service = self.service("--listen=127.0.0.1")
        service._options["web"] = Options()["web"]
        with capturedLogs() as events:
            service.startService()
        self.addCleanup(service.server.stop)
        self.addCleanup(service.scheduler.stop)
        return service, [formatEvent(event) for event in events]

    def config(self, text: str) -> str:
        path: str = self.mktemp()
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_off(self) -> None:
        self.assertEqual(self.open_web("--web="), [])
        self.assertIsNone(self.web_service.web)
        self.assertNotIn("web", self.lines[-1])

    def switched(self, service: ServerService) -> Any:
        assert service.server.web_channel is not None
        return service.server.web_channel()

    def test_off_and_asked_for_over_a_connection(self) -> None:
        """It is imported by a thread, and made once."""
        self.open_web("--web=")
        service = self.web_service
        others = {name: sys.modules.pop(name) for name in list(sys.modules) if name == ASKED}
        try:
            waits = [self.switched(service), self.switched(service)]
            self.assertIsNone(service.web)
            self.reactor.deliver()
        finally:
            sys.modules.update(others)
        for wait in waits:
            self.successResultOf(wait)
        first, second = self.switched(service), self.switched(service)
        self.assertIsInstance(first, WebChannel)
        self.assertTrue(first.stays)
        assert service.web is not None
        self.assertEqual([first.web, second.web], [service.web] * 2)
        self.assertTrue(service.web.history._running)
        self.successResultOf(service.stopService())
        self.assertFalse(service.web.history._running)

    def test_off_and_cannot_be_imported(self) -> None:
        self.open_web("--web=")
        service = self.web_service
        others = {name: sys.modules.pop(name) for name in list(sys.modules) if name == ASKED}
        sys.meta_path.insert(0, Refusing())
        try:
            waits = self.switched(service)
            self.reactor.deliver()
        finally:
            del sys.meta_path[0]
            sys.modules.update(others)
        self.successResultOf(waits)
        self.assertIsNone(service.server.web_channel)
        self.assertIn("cannot be imported", self.flushLoggedErrors(ImportError)[0].getErrorMessage())

    def test_default(self) -> None:
        """It is there without a word, and the log says where."""
        service, lines = self.started_by_default()
        self.assertEqual([each[0] for each in self.reactor.tcpServers], [4730, 4780])
        self.assertTrue(lines[-1].endswith(", web at http://127.0.0.1:4780/"))
        assert service.web is not None
        self.assertFalse(service.web.everywhere)

    def test_default_is_taken(self) -> None:
        """One line, and the server goes on."""
        self.reactor = ListeningReactor((4780,))
        service, lines = self.started_by_default()
        self.assertEqual(
            [line for line in lines if "web" in line],
            [
                "no web: cannot listen on tcp:4780:interface=127.0.0.1: the reason; --web names another"
                " place for it"
            ],
        )
        self.assertIsNone(service.web)

    def test_named_is_taken(self) -> None:
        """What somebody has asked for is there, or the server is not."""
        self.reactor = ListeningReactor((81,))
        service = self.service("--listen=127.0.0.1", "--web=127.0.0.1:81")
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(str(error), "--web 127.0.0.1:81: cannot listen on 127.0.0.1 port 81: the reason")
        self.assertEqual(self.reactor.closed, [4730])
        self.flushLoggedErrors()

    def test_everywhere_without_rules(self) -> None:
        for words in ((), (f"--config={self.config('')}",)):
            service = self.service("--listen=127.0.0.1", "--web=0.0.0.0:81", *words)
            error = self.assertRaises(ConfigurationError, service.startService)
            self.assertIn("--web 0.0.0.0:81: other machines reach it, and there are no", str(error))
        self.assertEqual(sorted(self.reactor.closed), [81, 81, 4730, 4730])

    def test_everywhere_with_rules(self) -> None:
        path = self.config(RULES)
        self.assertEqual(self.open_web("--web=0.0.0.0:81", f"--config={path}"), [(81, "0.0.0.0")])
        web = self.web_service.web
        assert web is not None
        self.assertTrue(web.everywhere)

    def test_several_addresses(self) -> None:
        """All of a name are opened; one that is not of this machine alone counts for all."""
        found = self.open_web("--web=localhost:81")
        self.assertIn((81, "127.0.0.1"), found)

    def test_draining(self) -> None:
        """Who drains wants to see what is left; and what is left is not for jobs."""
        self.open_web("--web=127.0.0.1:81")
        service = self.web_service
        self.assertTrue(service.server.listens())
        self.successResultOf(service.drain())
        self.assertEqual(self.reactor.closed, [4730])
        self.assertFalse(service.server.listens())
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.closed, [4730, 81])

    def test_options(self) -> None:
        """Names and origins are the web's."""
        self.open_web("--web=127.0.0.1:81", "--web-host=a.example", "--web-origin=http://b.example")
        web = self.web_service.web
        assert web is not None
        self.assertEqual(web.options.hosts, ("a.example",))
        self.assertEqual(web.options.origins, ("http://b.example",))
