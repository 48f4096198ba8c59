"""
What operators do to the server as a whole: have it read its file again, drain, and end.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from txgear.broker.rights import RELOAD, SHUTDOWN, check
from txgear.server import operatorcommands, setupview
from txgear.web.acts import record
from txgear.web.answers import Answer, Problem
from txgear.web.api.models import ROOT
from txgear.web.api.server import OperatorsFile
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web


class Reloaded(Struct, frozen=True, kw_only=True):
    """
    What is in force now.

    @ivar config: the operator's file; C{null} where there is none.
    """

    config: OperatorsFile | None


class Ending(Struct, frozen=True, kw_only=True):
    """
    The server is about to end.

    @ivar graceful: whether it drains first: it waits for jobs that run, and for those that clients wait for.
    @ivar running: jobs that are at workers now.
    """

    graceful: bool
    running: int


def end(request: WebRequest, graceful: bool) -> None:
    """
    End the server, and record who wanted that.

    @param graceful: whether it is to drain first.
    @raise AccessDenied: the peer may not do that.
    @raise Problem: it is not set that the server may be ended so.
    """
    check_end(request)
    # Before it ends, and with it the audit log.
    record(request, SHUTDOWN, arguments="graceful" if graceful else None, answer="OK")
    operatorcommands.shut_down(request.server, request.peer, graceful)


def check_end(request: WebRequest) -> None:
    """
    @raise AccessDenied: the peer may not end the server.
    @raise Problem: nobody may, by whatever comes over a connection.
    """
    check(request.peer, SHUTDOWN)
    if not request.server.settings.allow_shutdown:
        raise Problem(409, "not_switched_on", "The server was not started with --allow-shutdown")


class ServerActs:
    """What is done."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def reload(self, request: WebRequest) -> Answer:
        """Read the file again."""
        server = self._server
        check(request.peer, RELOAD)
        server.hang_up(request.peer)
        config = setupview.config(server)
        if config is not None and config["error"] is not None:
            raise Problem(409, "invalid_config", f"{config['error']}; the settings stay as they were")
        return Answer({"config": config})

    def drain(self, request: WebRequest) -> Answer:
        """Take no new jobs, and end when the work is done."""
        return self._end(request, True)

    def shutdown(self, request: WebRequest) -> Answer:
        """End now."""
        return self._end(request, False)

    def _end(self, request: WebRequest, graceful: bool) -> Answer:
        running = self._server.broker.dispatcher.running
        end(request, graceful)
        return Answer({"graceful": graceful, "running": running}, 202)


_NEEDS: Final = "Takes the right `shutdown`, and a server that was started with `--allow-shutdown`."
_ENDS: Final[dict[str, Any]] = {"answers": {202: Ending}, "problems": (401, 403, 409)}


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = ServerActs(web)
    return [
        Route(
            "POST",
            f"{ROOT}/server/reload",
            of.reload,
            Operation(
                "reload_server",
                "Have the server read its file again",
                "server",
                "The file of policies, schedules, identities and access rules, and those of TLS; and it goes"
                " on in new log files: what SIGHUP does. Where the file has a mistake, nothing changes. Takes"
                " the right `reload`.",
                answers={200: Reloaded},
                problems=(401, 403, 409),
            ),
        ),
        Route(
            "POST",
            f"{ROOT}/server/drain",
            of.drain,
            Operation(
                "drain_server",
                "Have the server drain, and then end",
                "server",
                "It takes no new jobs and hands out no new background jobs; it ends once no job runs, and"
                f" none is left that a client waits for. {_NEEDS}",
                **_ENDS,
            ),
        ),
        Route(
            "POST",
            f"{ROOT}/server/shutdown",
            of.shutdown,
            Operation(
                "shutdown_server",
                "Have the server end now",
                "server",
                "Jobs that run are given to other workers after its next start, if they are stored."
                f" {_NEEDS}",
                **_ENDS,
            ),
        ),
    ]
