"""
The ports of a service: for jobs, and of the web. They are opened, shown, handed on, and closed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.logger import Logger, LogLevel

from txgear.daemon.ports import wanted_ports
from txgear.daemon.webport import WebPlace, url
from txgear.errors import ConfigurationError
from txgear.interfaces import IProtocolModule
from txgear.net import listeners
from txgear.net.ownports import OwnPorts, OwnSocket
from txgear.net.proxyheader import HeaderFactory, Trusted
from txgear.net.stream import shown_peer
from txgear.server.jobserver import JobServer
from txgear.server.setup import PortShown

OverTls = Callable[[IProtocolFactory], IProtocolFactory]
"""Makes a factory that speaks the same over the server's TLS."""


class OpenPorts:
    """
    Those of one start.

    @ivar jobs: the open ports for jobs.
    @ivar web: those of the web.
    @ivar urls: where the web is, for people.
    @ivar own: the sockets, where they may be handed on, or headers of proxies are read; C{None} otherwise,
        and when they are closed.
    """

    log = Logger()

    def __init__(self, reactor: Any, options: Mapping[str, Any]) -> None:
        """
        @param options: those of the service.
        """
        self._reactor = reactor
        self._options = options
        self.jobs: list[IListeningPort] = []
        self.web: list[IListeningPort] = []
        self.urls: list[str] = []
        self.own: OwnPorts | None = None
        self._sockets_for_jobs: list[OwnSocket] = []
        self._shown_jobs: list[PortShown] = []
        self._shown_web: list[PortShown] = []

    # They are opened

    def open_jobs(
        self,
        server: JobServer,
        modules: Sequence[IProtocolModule],
        over_tls: OverTls,
        inherited: Sequence[OwnSocket] | None,
    ) -> None:
        """
        Open those for jobs, before those of the web.

        @param modules: what is spoken.
        @param inherited: sockets that listen already; those that are asked for are used. C{None} if no port
            is to be handed on.
        @raise ConfigurationError: one cannot be opened.
        """
        trusted = Trusted(self._options["proxy-from"])
        server.headers_refused = 0 if trusted else None
        if trusted or inherited is not None:
            wrap = (lambda factory: self._behind_proxies(server, factory, trusted)) if trusted else None
            self.own = OwnPorts(self._reactor, wrap, inherited or ())
        factories = {id(module): module.factory(server, self._options) for module in modules}
        opened_for = set()
        for wanted in wanted_ports(modules, self._options):
            factory = factories[id(wanted.module)]
            if wanted.tls:
                factory = over_tls(factory)
            opened = self._listen(wanted.place, wanted.number, factory)
            if opened is not None:
                self.jobs.append(opened)
                where = listeners.shown_address(opened)
                self._shown_jobs.append(PortShown(wanted.module.name, where, wanted.tls))
                opened_for.add(id(wanted.module))
        for module in modules:
            if id(module) not in opened_for:
                raise ConfigurationError(
                    f"this machine has no loopback address for {module.name}; use --listen"
                )
        if self.own is not None:
            self._sockets_for_jobs = list(self.own.sockets)

    def open_web(self, place: WebPlace, factory: IProtocolFactory, over_tls: OverTls) -> None:
        """
        Open those of the web.

        @raise ConfigurationError: one cannot be opened.
        """
        if place.tls:
            factory = over_tls(factory)
        for each in place.places:
            opened = self._listen(each, 0, factory)
            assert opened is not None
            self.web.append(opened)
            self.urls.append(url(opened, place.tls))
            self._shown_web.append(PortShown("web", listeners.shown_address(opened), place.tls))

    def _listen(
        self, place: listeners.ListenAddress, number: int, factory: IProtocolFactory
    ) -> IListeningPort | None:
        return listeners.listen(self.own or self._reactor, place, number, self._options["backlog"], factory)

    def _behind_proxies(
        self, server: JobServer, factory: IProtocolFactory, trusted: Trusted
    ) -> IProtocolFactory:
        """A factory that reads the headers of proxies first."""

        def refused(proxy: IAddress, why: str) -> None:
            server.headers_refused = (server.headers_refused or 0) + 1
            text = "{peer}: {why}; connection closed"
            server.notices.complain(self.log, LogLevel.warn, text, peer=shown_peer(proxy), why=why)

        return HeaderFactory(factory, trusted, self._reactor, refused)

    # They are open

    @property
    def shown(self) -> list[PortShown]:
        """Those that are open."""
        return [*(self._shown_jobs if self.jobs else ()), *(self._shown_web if self.web else ())]

    @property
    def listening(self) -> list[str]:
        """Where those for jobs are, for people."""
        return [each.place + " (TLS)" * each.tls for each in self._shown_jobs]

    # They are closed

    def stop(self, but_web: bool = False) -> Deferred[Any]:
        """
        Listen no more. Sockets of our own stay, for the next server or for us.

        @param but_web: whether the web stays open: who drains a server wants to see what is left of it.
        @return: fires when no port listens any more.
        """
        ports, self.jobs = self.jobs, []
        if not but_web:
            ports += self.web
            self.web = []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])

    def close(self, but_web: bool, is_passed_on: bool) -> Deferred[Any]:
        """
        Listen no more, and have no socket of our own any more.

        @param but_web: as for L{stop}.
        @param is_passed_on: whether another server may have the sockets by now.
        @return: fires when that is done.
        """
        closed = self.stop(but_web)
        own = self.own
        if own is None:
            return closed
        if but_web:
            return closed.addCallback(lambda results: own.close(self._sockets_for_jobs))
        self.own = None
        return closed.addCallback(lambda results: own.leave() if is_passed_on else own.close())

    def leave(self) -> None:
        """The sockets are another server's now."""
        own, self.own = self.own, None
        if own is not None:
            own.leave()
