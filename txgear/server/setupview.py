"""
What can be seen of how the server is set up: its options with their sources, the operator's file, who may do
what, its certificate, its ports and what it is made of.

All of it is plain, as in L{txgear.broker.operators.inspection}.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Collection, Iterator
from datetime import timezone
from functools import cache
from platform import python_version
from typing import Any, Final

import twisted
from OpenSSL import SSL

from txgear._version import __version__
from txgear.broker.model import Function, Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import ACTS, OPERATOR_ACTS, PEERS, knows, may
from txgear.broker.words import number
from txgear.policies import Retention
from txgear.protocol.textlines import text
from txgear.quantities import rate_text
from txgear.security.access import NOBODY, Identity, Rule
from txgear.server.jobserver import JobServer

WARN_DAYS: Final = 14
"""Days before its end at which a certificate is warned of."""
DAY: Final = 86400.0


def options(server: JobServer) -> list[dict[str, str]]:
    """The options in force, each with C{name}, C{value}, C{about}, C{source} and C{place}, all in words."""
    found = [option._asdict() for option in server.setup.options]
    for option in found:
        if option["name"] == "store-timeout" and server.journal is not None:
            # Of a database that stands still for longer where all is well, it is longer than what was said.
            option["value"] = f"{server.journal.patience:g} s"
    return found


def config(server: JobServer) -> dict[str, Any] | None:
    """
    The operator's file: its C{path}; C{read}, when what is in force was read, and C{by} whom; its C{summary}
    and C{warnings}; and C{error} and C{error_at}, why and when it could not be read again. C{None} without
    one.
    """
    read = server.setup.config
    if read is None:
        return None
    return {
        "path": read.path,
        "read": moment(read.at),
        "by": read.by,
        "summary": read.summary,
        "warnings": list(read.warnings),
        "error": read.error or None,
        "error_at": moment(read.error_at) if read.error else None,
    }


def ports(server: JobServer) -> list[dict[str, Any]]:
    """The ports that are open: what is spoken there (C{speaks}), C{place}, and whether over C{tls}."""
    return [port._asdict() for port in server.setup.ports()]


def certificate(server: JobServer) -> dict[str, Any] | None:
    """
    The certificate of the ports with TLS: its C{names}, C{path}, the time C{until} which it is valid, how
    many C{days} that is from now on, below 0 where it has expired, and what is asked of C{clients}, if
    anything. C{None} without TLS.
    """
    if server.tls is None:
        return None
    loaded, files = server.tls.loaded, server.tls.files
    until = loaded.until.astimezone(timezone.utc).timestamp()
    return {
        "names": loaded.names,
        "path": files.cert,
        "until": moment(until),
        "days": int((until - server.wall_clock()) // DAY),
        "clients": files.client,
    }


@cache
def versions() -> dict[str, str]:
    """What the server is made of, each with its version."""
    return {
        "txgear": __version__,
        "Python": f"{python_version()} ({sys.implementation.name})",
        "Twisted": twisted.__version__,
        "OpenSSL": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace"),
        "SQLite": sqlite3.sqlite_version,
    }


# What operators have set while it runs


def steered(peer: Peer, functions: Collection[Function]) -> Iterator[dict[str, Any]]:
    """
    Those of the functions for which an operator has set something: C{function}, whether it is C{paused}, and
    its C{maxqueue} for each priority, or C{None}.
    """
    for function in functions:
        if (function.paused or function.max_queued is not None) and knows(peer, function):
            yield {
                "function": text(function.name),
                "paused": function.paused,
                "maxqueue": function.max_queued,
            }


# Who may do what


def ceiling(server: JobServer) -> Retention:
    """The bounds of what jobs may ask to be kept by settings of their own."""
    return server.broker.functions.policies.ceiling


def identities(server: JobServer, peer: Peer) -> list[dict[str, Any]]:
    """
    Who is known: C{name}, and in words C{by} what, and the C{quota}. Digests are shown to nobody. Who may not
    see others is shown itself.
    """
    own = None if peer.tenant is None else peer.tenant.name
    return [
        {"name": identity.name, "by": _known_by(identity), "quota": _quota(identity)}
        for identity in server.guard.access.identities.values()
        if may(peer, PEERS) or identity.name == own
    ]


def _known_by(identity: Identity) -> list[str]:
    found = []
    if identity.tokens:
        found.append(
            f"{number(len(identity.tokens), 'token')}: {', '.join(each.id for each in identity.tokens)}"
        )
    if identity.certificates:
        found.append(f"certificates of {', '.join(identity.certificates)}")
    if identity.addresses:
        found.append(f"addresses {', '.join(map(str, identity.addresses))}")
    return found


def _quota(identity: Identity) -> list[str]:
    quota = identity.quota
    found = [
        f"{bound:,} {what}"
        for bound, what in (
            (quota.connections, "connections"),
            (quota.queued, "jobs that have not ended"),
            (quota.running, "running jobs"),
            (quota.bytes, "bytes of workloads"),
        )
        if bound
    ]
    if quota.submits is not None:
        found.append(f"{rate_text(quota.submits.interval)} submits, {quota.submits.burst} at once")
    return found


def rules(server: JobServer, peer: Peer) -> list[dict[str, Any]]:
    """
    The access rules in force, in the order of the file: whether one allows (C{allow}), C{who}, the C{acts}
    and C{functions} in words, and its C{line} in the file. Who may not see others is shown those that are for
    itself.
    """
    own = NOBODY if peer.tenant is None else peer.tenant.name
    return [
        {
            "allow": rule.allow,
            "who": ", ".join(rule.identities),
            "acts": _acts(rule),
            "functions": None if rule.functions is None else ", ".join(rule.functions),
            "line": rule.line,
        }
        for rule in server.guard.access.rules
        if may(peer, PEERS) or rule.is_for(own)
    ]


def _acts(rule: Rule) -> str:
    if rule.acts >= ACTS:
        return "everything"
    acts = set(rule.acts)
    found = []
    if acts >= OPERATOR_ACTS:
        acts -= OPERATOR_ACTS
        found.append("steer")
    return ", ".join([*found, *sorted(acts)])
