"""
What is done by the web is recorded, as what is done by text commands.
"""

from __future__ import annotations

from twisted.logger import Logger

from txgear.protocol.textlines import for_line, text
from txgear.security.audit import DONE, Detail
from txgear.security.tokens import without_secrets
from txgear.server.operatorcommands import MOST_SHOWN
from txgear.web.request import WebRequest

log = Logger()


def record(request: WebRequest, act: str, **about: Detail) -> None:
    """
    Note in the log and in the audit log that something was done.

    @param act: one of L{txgear.broker.rights.ACTS}.
    @param about: what else there is to know, by the names that it has in the audit log, such as C{function},
        C{handle}, C{arguments} and C{answer}. Bytes are names. Never payloads, never tokens.
    """
    server, peer = request.server, request.peer
    server.audit.record(act, DONE, peer, **about, request=request.id)
    server.notices.acted(
        log,
        "command",
        peer,
        "{address} (web){whose}: {act}{about}",
        act=act,
        about="".join(f" {name}={_shown(value)}" for name, value in about.items() if value is not None),
    )


def _shown(value: Detail) -> str:
    if isinstance(value, bytes):
        value = text(value)
    cut = str(value)[:MOST_SHOWN].encode("utf-8", "backslashreplace")
    return for_line(text(without_secrets(cut))).decode("utf-8")
