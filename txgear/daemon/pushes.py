"""
To whom metrics are sent, as the options say: C{--otel} and C{--statsd}.

Each needs an extra, which is imported only then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from txgear.errors import ConfigurationError
from txgear.journal.thread import StoreThread
from txgear.server.jobserver import JobServer

if TYPE_CHECKING:
    from txgear.web.metrics.push import Push


class Pushes:
    """All of them of one server: none, in most."""

    def __init__(self) -> None:
        self._pushes: list[Push] = []
        self._ends: list[Callable[[], None]] = []

    def prepare(self, server: JobServer, reactor: Any, options: Mapping[str, Any]) -> None:
        """
        Make those that are asked for; L{start} follows.

        @param options: those of the service.
        @raise ConfigurationError: an option makes no sense, or its extra is not installed.
        """
        if options["otel"]:
            self._add_otel(server, reactor)
        if options["statsd"] is not None:
            self._add_statsd(server, reactor, options["statsd"])

    def _add_otel(self, server: JobServer, reactor: Any) -> None:
        try:
            from txgear.web.metrics.otel import Otel
        except ImportError as error:
            raise _missing("otel", error) from error
        from txgear.web.metrics.push import Push

        otel = Otel(server.wall_clock())
        thread = StoreThread(reactor, "txgear otel")
        self._ends.append(otel.close)
        self._ends.append(thread.stop)
        self._pushes.append(Push(server, reactor, thread, otel.seconds, otel.where, otel.send))

    def _add_statsd(self, server: JobServer, reactor: Any, place: str) -> None:
        try:
            from txgear.web.metrics.statsd import SECONDS, Statsd
        except ImportError as error:
            raise _missing("statsd", error) from error
        from txgear.web.metrics.push import Push

        statsd = Statsd(place)
        thread = StoreThread(reactor, "txgear statsd")

        def end() -> None:
            # In the thread that uses it.
            _ = thread(statsd.close)
            thread.stop()

        self._ends.append(end)
        self._pushes.append(Push(server, reactor, thread, SECONDS, statsd.where, statsd.send))

    def start(self) -> None:
        """Begin to send."""
        for push in self._pushes:
            push.start()

    def stop(self) -> None:
        """Send no more, and wait for nothing."""
        for push in self._pushes:
            push.stop()
        for end in self._ends:
            end()
        self._pushes.clear()
        self._ends.clear()


def _missing(extra: str, error: ImportError) -> ConfigurationError:
    return ConfigurationError(f"--{extra}: {error}; it comes with pip install 'txgear[{extra}]'")
