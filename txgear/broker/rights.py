"""
What a peer may do.

An act is a word. Those in L{OPERATOR_ACTS} are called like the text commands that do them, where there are
such. Most acts are for a function; those in L{SERVER_ACTS} are for none. Who decides is passed in with each
peer: see L{txgear.security.access}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from txgear.errors import AccessDenied
from txgear.protocol.constants import NOT_ALLOWED
from txgear.protocol.textlines import shown

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job, Peer

SUBMIT: Final = "submit"
"""To submit jobs of a function."""
WORK: Final = "work"
"""To work for a function: to be handed its jobs, and to say how they go."""
SEE: Final = "see"
"""To know of a function and of its jobs: their status, lists of them, and to join those of others."""
READ: Final = "read"
"""To read workloads and results of a function's jobs."""

CANCEL: Final = "cancel"
CORRECT: Final = "correct"
"""To give a job another workload."""
CREATE: Final = "create"
DROP: Final = "drop"
FORGET: Final = "forget"
MANAGE: Final = "manage"
"""To tell workers to pause, to go on or to stop, and to end their connections."""
MAXQUEUE: Final = "maxqueue"
MOVE: Final = "move"
"""To make a job of a function one of another: it is needed for both."""
PAUSE: Final = "pause"
PRIORITISE: Final = "prioritise"
"""To give a job another priority."""
PURGE: Final = "purge"
RELOAD: Final = "reload"
"""To have the server read its file again."""
REQUEUE: Final = "requeue"
RESUME: Final = "resume"
REVIEW: Final = "review"
"""To set dead jobs aside in a review, and to put them back."""
SHUTDOWN: Final = "shutdown"

AUDIT: Final = "audit"
"""To see what was recorded last of who did what, and who was refused what."""
HTTP: Final = "http"
"""To use HTTP at all."""
METRICS: Final = "metrics"
"""To read the metrics of the whole server, of all functions by name."""
PEERS: Final = "peers"
"""To see who else is connected."""
SETTINGS: Final = "settings"
"""To see how the server is set up: its options, policies and schedules."""

OPERATOR_ACTS: Final = frozenset(
    (
        CANCEL,
        CORRECT,
        CREATE,
        DROP,
        FORGET,
        MANAGE,
        MAXQUEUE,
        MOVE,
        PAUSE,
        PRIORITISE,
        PURGE,
        RELOAD,
        REQUEUE,
        RESUME,
        REVIEW,
        SHUTDOWN,
    )
)
"""What changes something that is not the peer's own."""

SERVER_ACTS: Final = frozenset((AUDIT, HTTP, MANAGE, METRICS, PEERS, RELOAD, SETTINGS, SHUTDOWN))
"""What is for no function."""

ACTS: Final = frozenset((SUBMIT, WORK, SEE, READ, *OPERATOR_ACTS, *SERVER_ACTS))
"""All acts."""


def may(peer: Peer, act: str, function: bytes = b"") -> bool:
    """Whether a peer may do something; see L{txgear.broker.model.Rights.may}."""
    return peer.rights is None or peer.rights.may(act, function)


def check(peer: Peer, act: str, function: bytes = b"") -> None:
    """
    @raise AccessDenied: the peer may not do it. The text says what was asked for, and not which rule said
        no.
    """
    if peer.rights is not None and not peer.rights.may(act, function):
        raise denied(act, function)


def check_join(peer: Peer | None, job: Job) -> None:
    """
    A peer has submitted what is a job of somebody already; C{None} for the server itself, which may.

    @raise AccessDenied: it is not on the peer's own account, and the peer may not know of it.
    """
    if peer is None or peer.rights is None:
        return
    if peer.tenant is None or job.tenant is not peer.tenant:
        check(peer, SEE, job.function.name)


def denied(act: str, function: bytes = b"") -> AccessDenied:
    """The error for an act that is not allowed."""
    what = f"{act} {shown(function).decode('utf-8')}" if function else act
    return AccessDenied(NOT_ALLOWED + what, act=act, name=function)


def sees(peer: Peer, job: Job | None) -> Job | None:
    """
    @return: the job, if the peer may know of it.
    """
    if job is None or peer.rights is None or peer.rights.may(SEE, job.function.name):
        return job
    return None


def seen_by(peer: Peer) -> Callable[[Job], bool] | None:
    """
    @return: tells which jobs a peer may know of; C{None} where it may of all.
    """
    return None if peer.rights is None else lambda job: knows(peer, job.function)


def knows(peer: Peer, function: Function) -> bool:
    """Whether a peer may know of a function."""
    return peer.rights is None or peer.rights.may(SEE, function.name)


def reads(peer: Peer, function: Function) -> bool:
    """Whether a peer may read what jobs of a function carry, and what their workers say."""
    return peer.rights is None or peer.rights.may(READ, function.name)


def meets(peer: Peer, other: Peer) -> bool:
    """Whether a peer may know that another one is connected. Of its own identity's it may in any case."""
    if peer.rights is None or other is peer or (peer.tenant is not None and other.tenant is peer.tenant):
        return True
    return peer.rights.may(PEERS)


def allowed(peer: Peer, act: str, names: Iterable[bytes]) -> list[bytes]:
    """
    What a word may mean where it can be read as several names: only functions for which a peer may do
    the act. So the answer does not tell which others there are.

    @param names: functions' names, the likeliest first; at least one.
    @return: those of them for which the peer may do it.
    @raise AccessDenied: there are none.
    """
    if peer.rights is None:
        return list(names)
    first, *others = names
    found = [name for name in (first, *others) if peer.rights.may(act, name)]
    if not found:
        raise denied(act, first)
    return found
