"""
All errors that txgear raises on purpose, in one tree.

L{ServerError} and its subclasses stand for ERROR packets, with a class for each
code of the protocol. The server raises what it is going to send, and the client
raises what it was sent. The codes are the strings that libgearman maps back to
its own numbers.
"""

from __future__ import annotations

from typing import ClassVar, Final


class TxgearError(Exception):
    """The root of the tree: C{except TxgearError} catches everything that this package raises."""


class ConfigurationError(TxgearError):
    """The server cannot start as it was asked to; the text is one line for the operator."""


class PolicyError(TxgearError):
    """
    A setting of a policy makes no sense.

    @ivar key: the name of the setting, with those of the tables that it stands in before it, parted by
        dots; empty where it is the value itself.
    @ivar problem: what is wrong with it, in words.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key = key
        self.problem = problem

    def within(self, table: str) -> PolicyError:
        """The same mistake, as it is called outside of a table."""
        return PolicyError(f"{table}.{self.key}" if self.key else table, self.problem)


class StoreError(TxgearError):
    """
    The store could not do what it was asked to. The text is one line for the operator, and may be in the
    database's or the driver's own words.

    @ivar told: what clients are told of it: a sentence of ours, which names no place.
    """

    told = "The store cannot be used at present"


class StoreRefused(StoreError):
    """
    The store works, but does not keep what it was given: a row is too large, or the disk is full.
    Nothing of the batch is kept.
    """

    told = "The store does not keep this job: the log of the server says why"


class ValueTooLarge(StoreRefused):
    """
    A workload or a result is larger than the store takes. The text is ours: how large it is, and how large it
    may be, of which whoever has made it is told.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.told = text


class StoreUnavailable(StoreError):
    """
    The store did not answer, or the connection to it was lost. What it was asked to
    do may or may not have been done. It has to be opened again.
    """

    told = "The store takes no jobs at present: the server tries it again"


class StoreUnusable(StoreError, ConfigurationError):
    """
    The store cannot be used: another server has it, it is read-only or corrupt, a
    newer version wrote it, or there is no such database.
    """


class StoreTaken(StoreUnusable):
    """
    Another server has opened the store while the connection to it was lost. What this
    server knows of the jobs in it is not true any more.
    """


class ProtocolError(TxgearError):
    """The peer sent bytes that are not Gearman's protocol; nothing after them can be decoded."""


class PacketTooLarge(ProtocolError):
    """
    The header of a packet declares a body over the limit.

    @ivar declared: bytes of the body, by the header.
    @ivar limit: bytes that are taken at the most.
    """

    def __init__(self, declared: int, limit: int) -> None:
        super().__init__(f"a packet of {declared} bytes is over the limit of {limit}")
        self.declared = declared
        self.limit = limit


class ServerError(TxgearError):
    """
    The content of an ERROR packet.

    @ivar code: the name of a return code of libgearman's, without C{GEARMAN_}.
    @ivar text: what went wrong, in words.
    """

    default_code: ClassVar[str] = ""

    def __init__(self, text: str, code: str = "") -> None:
        self.code = code or self.default_code
        self.text = text
        super().__init__(f"{self.code}: {text}")


class InvalidMagic(ServerError):
    """A packet with the magic of responses was sent to the server."""

    default_code = "INVALID_MAGIC"


class InvalidCommand(ServerError):
    """The type of the packet is one that only a server may send."""

    default_code = "INVALID_COMMAND"


class InvalidPacket(ServerError):
    """The body of the packet lacks arguments."""

    default_code = "INVALID_PACKET"


class InvalidArgument(ServerError):
    """An argument makes no sense, such as minute 60."""

    default_code = "INVALID_ARGUMENT"


class ArgumentTooLarge(ServerError):
    """A unique, reducer, function or number is longer or larger than the protocol allows."""

    default_code = "ARGUMENT_TOO_LARGE"


QUEUE_FULL: Final = "queue_full"
"""The function has as many jobs, or bytes of them, as it may have."""
TOO_FAST: Final = "too_fast"
"""The identity submits faster than its quota allows."""
QUOTA_FULL: Final = "quota_full"
"""The identity has as many jobs, or bytes of them, as its quota allows."""
DRAINING: Final = "draining"
"""The server takes no new jobs any more."""
STORE_UNAVAILABLE: Final = "store_unavailable"
"""The store does not answer at present."""
STORE_REFUSED: Final = "store_refused"
"""The store answers, and does not keep this job: it is too large, or the disk is full."""
TOO_MANY_FUNCTIONS: Final = "too_many_functions"
"""There are as many functions as there may be, or as one connection may have."""
TOO_MANY_WAIT: Final = "too_many_wait"
"""A connection waits for as many jobs as it may, or a job has as many who wait."""


class QueueError(ServerError):
    """
    The job was not queued: its function's queue is full, the store refused it, or the server drains.

    @ivar why: which of these it is: a word, the same for each text. It is empty where it is not known: it
        does not stand in a packet.
    """

    default_code = "QUEUE_ERROR"
    store_code: ClassVar[str] = "STORE_UNAVAILABLE"
    """The code where the store does not answer, for peers that have other servers to ask."""

    def __init__(self, text: str, code: str = "", why: str = "") -> None:
        super().__init__(text, code)
        self.why = why


class JobNotFound(ServerError):
    """The job that the packet names does not exist, or is not the peer's own."""

    default_code = "JOB_NOT_FOUND"


class AccessDenied(ServerError):
    """
    An access rule, or the lack of one, says no.

    @ivar act: what was asked for: one of L{txgear.broker.rights.ACTS}, or C{login}.
    @ivar name: the function's name that it was asked for; empty where it is for none. With C{login} the ID of
        the token, if it was one.
    """

    default_code = "ACCESS_DENIED"

    def __init__(self, text: str, code: str = "", act: str = "", name: bytes = b"") -> None:
        super().__init__(text, code)
        self.act = act
        self.name = name


class UnknownOption(ServerError):
    """OPTION_REQ named an option that this server does not have."""

    default_code = "UNKNOWN_OPTION"


_BY_CODE: dict[str, type[ServerError]] = {
    kind.default_code: kind
    for kind in (
        AccessDenied,
        InvalidMagic,
        InvalidCommand,
        InvalidPacket,
        InvalidArgument,
        ArgumentTooLarge,
        QueueError,
        JobNotFound,
        UnknownOption,
    )
}
_BY_CODE[QueueError.store_code] = QueueError


def server_error(code: bytes, text: bytes) -> ServerError:
    """
    The exception for an ERROR packet.

    A code without a class of its own becomes a plain L{ServerError}, which has that
    code.
    """
    name = code.decode("utf-8", "replace")
    return _BY_CODE.get(name, ServerError)(text.decode("utf-8", "replace"), name)


class NotConnected(TxgearError):
    """No server could be reached, or the connection was lost before the answer came."""


class MissingAbility(TxgearError):
    """
    The server cannot do what was asked for: it is not one of this project's, or an older one.

    @ivar ability: what it lacks, in words.
    """

    def __init__(self, server: str, ability: str, why: str) -> None:
        super().__init__(f"{server} knows nothing of {ability}: {why}")
        self.ability = ability


class ResultUnavailable(TxgearError):
    """
    The server does not tell what became of a job: its store does not answer, too many requests wait,
    the result does not fit a packet, or the access rules do not let this client read it. The text says which.
    """


class JobError(TxgearError):
    """
    A submitted job did not end with a result.

    @ivar handle: the job's handle; C{None} if the server had not answered yet.
    """

    def __init__(self, text: str, handle: bytes | None) -> None:
        super().__init__(text)
        self.handle = handle


class JobFailed(JobError):
    """The worker sent WORK_FAIL, or the server gave the job up."""


class JobRaised(JobFailed):
    """
    The worker sent WORK_EXCEPTION.

    @ivar data: the data of that packet; C{str()} shows it as text.
    """

    def __init__(self, data: bytes, handle: bytes | None) -> None:
        super().__init__(data.decode("utf-8", "replace") or "an exception without a text", handle)
        self.data = data


class JobLost(JobError):
    """The connection was lost while the job was under way; the job may or may not have run."""


class JobTimeout(JobError):
    """The caller's timeout passed; the job goes on at the server."""
