"""
The web of a service: at ports of its own from the start, or made for the first connection that goes over to
HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.records import SIGNED_OUT, SIGNING_KEY, StoredValue
from txgear.daemon.late import ASKED, Import
from txgear.daemon.openports import OpenPorts, OverTls
from txgear.daemon.webport import hosts, is_local, origins, web_place
from txgear.errors import ConfigurationError
from txgear.server.jobserver import JobServer

if TYPE_CHECKING:
    from txgear.web.web import Web


class Hosting:
    """
    One service's.

    @ivar web: C{None} where it is off, and no connection has gone over to HTTP.
    """

    log = Logger()

    def __init__(self, reactor: Any, options: Mapping[str, Any]) -> None:
        """
        @param options: those of the service.
        """
        self.web: Web | None = None
        self._options = options
        self._import = Import(reactor, ASKED, self._not_imported)
        # What is remembered, where there is no web yet.
        self._values: list[StoredValue] = []

    def attach(self, server: JobServer) -> None:
        """Be this server's, which is about to start."""
        self._server = server
        server.hear = self._hear
        server.web_channel = self._switched

    def open(self, ports: OpenPorts, over_tls: OverTls, has_rules: bool) -> None:
        """
        Open the ports of the web.

        @param has_rules: whether it is known who may come from other machines.
        @raise ConfigurationError: they cannot be opened where the operator wants them, or other machines
            reach them without rules.
        """
        self.web = None
        place = web_place(self._options)
        if place is None:
            return
        web = self._make_web()
        try:
            ports.open_web(place, web.factory(place.names), over_tls)
        except ConfigurationError as error:
            if not place.optional:
                raise ConfigurationError(f"--web {self._options['web']}: {error}") from error
            self.log.warn("no web: {error}; --web names another place for it", error=error)
            return
        web.everywhere = not (place.optional or all(map(is_local, ports.web)))
        if web.everywhere and not has_rules:
            raise ConfigurationError(
                f"--web {self._options['web']}: other machines reach it, and there are no access rules: write"
                " some into the file of --config (docs/access.md), or name an address of this machine only,"
                " such as 127.0.0.1:4780"
            )
        self.web = web

    def _make_web(self) -> Web:
        from txgear.web.site import make_web
        from txgear.web.web import WebOptions

        return make_web(self._server, WebOptions(hosts(self._options), origins(self._options)))

    def start(self, values: Iterable[StoredValue]) -> None:
        """
        The server has started.

        @param values: what the store remembers.
        """
        if self.web is not None:
            self._begin(self.web, values)
        else:
            self._values = [value for value in values if value.kind in (SIGNING_KEY, SIGNED_OUT)]

    def _begin(self, web: Web, values: Iterable[StoredValue]) -> None:
        web.sessions.restore(values)
        web.start()

    def stop(self) -> None:
        """The server ends."""
        self._server.web_channel = None
        if self.web is not None:
            self.web.stop()

    def _switched(self) -> Protocol | Deferred[None]:
        """
        The protocol of a connection that goes on with HTTP. Without a web, the first one has it made: others
        are served while it is imported.
        """
        if self.web is not None:
            return self.web.switched()
        if not self._import.done:
            return self._import.wait()
        from txgear.web.apisite import make_api

        self.web = make_api(self._server)
        journal = self._server.journal
        shared = None if journal is None else journal.shared
        self._begin(self.web, self._values if shared is None else shared.in_force.values())
        return self.web.switched()

    def _not_imported(self, failure: Failure) -> None:
        """No connection can go over to HTTP any more."""
        self.log.failure("no connection can go over to HTTP: the web cannot be imported", failure)
        self._server.web_channel = None

    def _hear(self, value: StoredValue) -> None:
        """Another server has kept this in our store; who has no web yet will find it there."""
        if self.web is not None:
            self.web.sessions.hear(value)
