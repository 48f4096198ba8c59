"""
Every error that txgear raises on purpose, in one tree.

L{ServerError} and its subclasses are what an ERROR packet says: a class for
each code of the protocol, the code as a class attribute, so that the server
raises what it will send and the client raises what it was sent. The code
strings are those that libgearman maps back to its own numbers.
"""

from __future__ import annotations

from typing import ClassVar


class TxgearError(Exception):
    """The root: C{except TxgearError} catches all that this package raises."""


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
    """The store could not do what it was asked to; the text is one line, for the operator and for clients."""


class StoreRefused(StoreError):
    """
    The store works, but will not keep what it was given: a row is too large, or the disk is full.
    Nothing of the batch is kept.
    """


class StoreUnavailable(StoreError):
    """
    The store did not answer, or its connection went. What it was asked to do
    may have been done or not; it has to be opened again.
    """


class StoreUnusable(StoreError, ConfigurationError):
    """
    There is no working with this store: another server has it, it is read-only
    or corrupt, a newer version wrote it, or there is no such place.
    """


class StoreTaken(StoreUnusable):
    """
    Another server has had the store while the connection was lost: what this
    one knows of the jobs in it is not true any more.
    """


class ProtocolError(TxgearError):
    """What the peer sent is not Gearman; nothing after it can be understood."""


class PacketTooLarge(ProtocolError):
    """
    The peer declared a packet over the limit.

    @ivar declared: bytes that the header promised.
    @ivar limit: bytes that are taken at the most.
    """

    def __init__(self, declared: int, limit: int) -> None:
        super().__init__(f"a packet of {declared} bytes is over the limit of {limit}")
        self.declared = declared
        self.limit = limit


class ServerError(TxgearError):
    """
    An ERROR packet.

    @ivar code: the name of a C{GEARMAN_} return code, without that prefix.
    @ivar text: what went wrong, in words.
    """

    default_code: ClassVar[str] = ""

    def __init__(self, text: str, code: str = "") -> None:
        self.code = code or self.default_code
        self.text = text
        super().__init__(f"{self.code}: {text}")


class InvalidMagic(ServerError):
    """A packet of the server's direction was sent to the server."""

    default_code = "INVALID_MAGIC"


class InvalidCommand(ServerError):
    """A packet type that no peer may send to a server."""

    default_code = "INVALID_COMMAND"


class InvalidPacket(ServerError):
    """A packet whose body lacks arguments."""

    default_code = "INVALID_PACKET"


class InvalidArgument(ServerError):
    """An argument that makes no sense, such as minute 60."""

    default_code = "INVALID_ARGUMENT"


class ArgumentTooLarge(ServerError):
    """A unique, reducer, function or number that is longer or larger than the protocol takes."""

    default_code = "ARGUMENT_TOO_LARGE"


class QueueError(ServerError):
    """The job was not queued: its function's queue is full, the store refused it, or the server drains."""

    default_code = "QUEUE_ERROR"


class JobNotFound(ServerError):
    """The peer spoke of a job that does not exist, or that is not its own."""

    default_code = "JOB_NOT_FOUND"


class UnknownOption(ServerError):
    """OPTION_REQ named an option that this server does not have."""

    default_code = "UNKNOWN_OPTION"


_BY_CODE: dict[str, type[ServerError]] = {
    kind.default_code: kind
    for kind in (
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


def server_error(code: bytes, text: bytes) -> ServerError:
    """
    Turn what an ERROR packet carried into the exception of that code.

    A code that has no class of its own becomes a plain L{ServerError}, which
    keeps it.
    """
    name = code.decode("utf-8", "replace")
    return _BY_CODE.get(name, ServerError)(text.decode("utf-8", "replace"), name)


class NotConnected(TxgearError):
    """No server could be reached, or the connection went before the answer came."""


class MissingAbility(TxgearError):
    """
    The server is not one of this project's, or an older one: it cannot do what was asked for.

    @ivar ability: what it lacks, in words.
    """

    def __init__(self, server: str, ability: str, why: str) -> None:
        super().__init__(f"{server} knows nothing of {ability}: {why}")
        self.ability = ability


class ResultUnavailable(TxgearError):
    """
    The server cannot tell at present what became of a job: its store does not answer, too
    many questions wait, or the result does not fit a packet. The text says which.
    """


class JobError(TxgearError):
    """
    A submitted job did not end with a result.

    @ivar handle: the handle that the server gave the job, or C{None} when it
        had not answered yet.
    """

    def __init__(self, text: str, handle: bytes | None) -> None:
        super().__init__(text)
        self.handle = handle


class JobFailed(JobError):
    """The worker said WORK_FAIL, or the server gave the job up."""


class JobRaised(JobFailed):
    """
    The worker said WORK_EXCEPTION.

    @ivar data: the bytes that the worker sent with it; C{str()} shows them as text.
    """

    def __init__(self, data: bytes, handle: bytes | None) -> None:
        super().__init__(data.decode("utf-8", "replace") or "an exception without a text", handle)
        self.data = data


class JobLost(JobError):
    """The connection went down while the job was under way; it may or may not have run."""


class JobTimeout(JobError):
    """The caller's deadline passed; the job goes on at the server."""
