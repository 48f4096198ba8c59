"""
What a runtime is told to do: the tables of its file, as types.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from txgear.worker.functions import LONGEST_TIMEOUT

DURATION: Final = "duration"
SIZE: Final = "size"

Seconds = Annotated[float, Meta(ge=0, extra={"words": DURATION})]
"""A time; in a file it may have a unit."""
Span = Annotated[float, Meta(gt=0, extra={"words": DURATION})]
"""The same, of something that takes time."""
Timeout = Annotated[float, Meta(ge=0.001, le=LONGEST_TIMEOUT, extra={"words": DURATION})]
"""What servers take for a time that a job may take."""
Bytes = Annotated[int, Meta(gt=0, extra={"words": SIZE})]
"""Memory; in a file it may have a unit."""
Count = Annotated[int, Meta(ge=1)]
"""How many of something there are, where none makes no sense."""

MOST_PROCESSES: Final = 1000
"""Processes of a group at the most: each takes some 30 MB, and a place in the supervisor's rounds."""
MOST_CONCURRENCY: Final = 1000
"""Jobs that a process does at once at the most: each may have a thread."""

Processes = Annotated[int, Meta(ge=0, le=MOST_PROCESSES)]
Concurrency = Annotated[int, Meta(ge=1, le=MOST_CONCURRENCY)]


class FunctionTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    A function that is no Python: C{[group.NAME.function.FUNCTION]}. One of C{command} and C{url} is there.

    @ivar command: the program and its arguments; the workload is its standard input.
    @ivar url: where each job is POSTed to.
    @ivar headers: headers of each request.
    @ivar retry_later: seconds after which a job is tried again where the answer says "later", and not when.
    @ivar timeout: seconds that a job may take at the server's clock; C{None} for no bound.
    """

    command: tuple[str, ...] = ()
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    retry_later: Seconds = 60.0
    timeout: Timeout | None = None


class GroupTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Processes that are alike: C{[group.NAME]}.

    Bounds are C{None} where there is none. Times are in seconds, memory in bytes, once the file is read.

    @ivar modules: where functions are looked for; the runtime's own where the file says nothing.
    @ivar functions: the names, with C{*} and C{?}, of those that are worked on; by default all.
    @ivar function: those that are no Python.
    @ivar hooks: who is told of jobs: C{module} or C{module:name}; likewise.
    @ivar processes: how many there are; C{None} where C{min} and C{max} say so.
    @ivar min: how many there are at the least.
    @ivar max: how many there are at the most.
    @ivar grow_after: the age of the oldest waiting job from which one process more is started.
    @ivar shrink_after: for how long there was nothing to wait for before an idle process is taken away.
    @ivar concurrency: how many jobs each process does at once.
    @ivar start: C{spawn} for a new interpreter, C{fork} for a copy of one that has imported the modules.
    @ivar max_jobs: jobs after which a process is renewed.
    @ivar max_age: age at which it is.
    @ivar max_idle: for how long it may have had nothing to do.
    @ivar splay: the part of these, from 0 to 1, by which they are shortened at random, so that not all
        processes are renewed at once.
    @ivar soft_memory: with more than this it finishes its jobs, and is renewed.
    @ivar hard_memory: with more than this it is killed.
    @ivar soft_time: after so long a job is told to end.
    @ivar hard_time: after so long the process of a job is killed, with all that it has started.
    @ivar start_timeout: for how long it may take to get ready.
    @ivar environment: variables that are added.
    @ivar nice: by how much the processes are nicer than the supervisor.
    """

    modules: tuple[str, ...] = ()
    functions: tuple[str, ...] = ("*",)
    function: dict[str, FunctionTable] = field(default_factory=dict)
    hooks: tuple[str, ...] = ()
    processes: Processes | None = None
    min: Processes | None = None
    max: Processes | None = None
    grow_after: Seconds = 5.0
    shrink_after: Seconds = 60.0
    concurrency: Concurrency = 1
    start: Literal["spawn", "fork"] = "spawn"
    max_jobs: Count | None = None
    max_age: Span | None = None
    max_idle: Span | None = None
    splay: Annotated[float, Meta(ge=0, le=1)] = 0.1
    soft_memory: Bytes | None = None
    hard_memory: Bytes | None = None
    soft_time: Span | None = None
    hard_time: Span | None = None
    start_timeout: Span = 60.0
    environment: dict[str, str] = field(default_factory=dict)
    nice: Annotated[int, Meta(ge=-20, le=19)] = 0


class RuntimeTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The whole file.

    @ivar servers: the job servers, as C{Worker} takes them; all processes work at all of them.
    @ivar token_file: a file with the token that logs in.
    @ivar tls: whether servers are spoken to with TLS; C{ca_file}, C{cert_file} and C{key_file} say how.
    @ivar name: what the processes are called at the servers: this, the group, and a number.
    @ivar modules: where functions are looked for, in groups that say nothing else.
    @ivar hooks: who is told of jobs, in groups that say nothing else.
    @ivar path: folders where modules are looked for first; the one of the file by default.
    @ivar log: how lines of the log look.
    @ivar log_jobs: which jobs have a line there when they end.
    @ivar health: where it is told whether this is alive and ready: C{HOST:PORT}, or the path of a socket.
    @ivar stop_timeout: for how long jobs may go on when it stops.
    @ivar watch: whether changed code is loaded by itself.
    @ivar group: the groups, by their names.
    """

    servers: tuple[str, ...] = ("127.0.0.1:4730",)
    token_file: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    name: str = ""
    modules: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    path: tuple[str, ...] = (".",)
    log: Literal["text", "json"] = "text"
    log_jobs: Literal["all", "failed"] = "failed"
    health: str = ""
    stop_timeout: Seconds = 60.0
    watch: bool = False
    group: dict[str, GroupTable]
