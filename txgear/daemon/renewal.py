"""
The files of TLS: what the options say of them, and how new ones are taken up while the server runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.daemon.ports import tls_port
from txgear.daemon.webport import has_tls
from txgear.errors import ConfigurationError
from txgear.interfaces import IProtocolModule, ITlsProtocolModule
from txgear.security.tls import ServerTLS
from txgear.security.tlsfiles import TlsFiles

LOOK_SECONDS: Final = 30.0
"""Seconds between two looks at the files, so that new ones are in force within a minute."""


def files_of(modules: Sequence[IProtocolModule], options: Mapping[str, Any]) -> TlsFiles | None:
    """
    The files that the options name; C{None} where no port has TLS.

    @raise ConfigurationError: the options make no sense together.
    """
    wanting = "tls-listen" if options["tls-listen"] else None
    for module in modules:
        if ITlsProtocolModule.providedBy(module) and tls_port(module, options) is not None:
            wanting = wanting or module.tls_port_option
    if has_tls(options):
        wanting = wanting or "web"
    cert, key, ca, client = (options[f"tls-{name}"] for name in ("cert", "key", "ca", "client"))
    if wanting is None:
        for name in ("cert", "key", "ca", "client"):
            if options[f"tls-{name}"] is not None:
                raise ConfigurationError(
                    f"--tls-{name}: there is no port with TLS; --tls-listen HOST:PORT makes one"
                )
        return None
    for name, value in (("cert", cert), ("key", key)):
        if value is None:
            raise ConfigurationError(f"--{wanting}: --tls-{name} is wanted as well")
    if client is not None and ca is None:
        raise ConfigurationError(f"--tls-client {client}: whose certificates are good? --tls-ca is wanted")
    if ca is not None and client is None:
        raise ConfigurationError("--tls-ca: clients are asked for no certificate without --tls-client")
    return TlsFiles(cert, key, ca, client)


class Renewal:
    """
    Takes up the files of TLS when they have changed, or when it is told to.

    A pair that does not belong together may be half-written: it is tried again at the next change.

    @ivar tls: the TLS of the server's ports.
    """

    log = Logger()

    def __init__(self, files: TlsFiles, clock: IReactorTime, wall_clock: Callable[[], float]) -> None:
        """
        Read the files.

        @param wall_clock: tells the seconds since the epoch.
        @raise ConfigurationError: one cannot be used.
        """
        self._clock = clock
        self._wall_clock = wall_clock
        self._timer: IDelayedCall | None = None
        # Before they are read: what changes meanwhile is seen at the next look.
        self._seen = _state_of(files)
        self.tls = ServerTLS(files)

    def start(self) -> None:
        """Log what is in force, and look at the files from now on."""
        self._say("TLS: the certificate of {names}, valid until {until}")
        if self.tls.loaded.expired(self._wall_clock()):
            self.log.error(
                "--tls-cert: the certificate in {path} has expired; peers that look at it do not connect",
                path=self.tls.files.cert,
            )
        self._look_later()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def renew(self) -> None:
        """Read the files. If one cannot be used the log says so, and what was read before stays in force."""
        self._seen = _state_of(self.tls.files)
        try:
            self.tls.renew(self._wall_clock())
        except ConfigurationError as error:
            self.log.error("{error}; TLS stays as it was", error=error)
        else:
            self._say("TLS: read again: the certificate of {names}, valid until {until}")

    def _say(self, text: str) -> None:
        loaded = self.tls.loaded
        self.log.info(text, names=loaded.names, until=loaded.shown_until)

    def _look_later(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if _state_of(self.tls.files) != self._seen:
            self.renew()
        self._look_later()


def _state_of(files: TlsFiles) -> list[tuple[int, ...]]:
    """What changes when one of the files does: where a link leads to, when it was written, its size."""
    found: list[tuple[int, ...]] = []
    for path in files.paths:
        try:
            info = os.stat(path)
        except OSError as error:
            found.append((error.errno or 0,))
        else:
            found.append((info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size))
    return found
