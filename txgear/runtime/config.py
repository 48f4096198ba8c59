"""
What a runtime is told to do: the tables of its file, as types.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field


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
    timeout: float | None = None


class GroupTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Processes that are alike: C{[group.NAME]}.

    Bounds are C{None} where there is none. Times are in seconds, memory in bytes, once the file is read.

    @ivar modules: where functions are looked for; the runtime's own where none are named.
    @ivar functions: the names, with C{*} and C{?}, of those that are worked on; by default all.
    @ivar function: those that are no Python.
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
    processes: int | None = None
    min: int | None = None
    max: int | None = None
    grow_after: float = 5.0
    shrink_after: float = 60.0
    concurrency: int = 1
    start: Literal["spawn", "fork"] = "spawn"
    max_jobs: int | None = None
    max_age: float | None = None
    max_idle: float | None = None
    splay: float = 0.1
    soft_memory: int | None = None
    hard_memory: int | None = None
    soft_time: float | None = None
    hard_time: float | None = None
    start_timeout: float = 60.0
    environment: dict[str, str] = field(default_factory=dict)
    nice: int = 0


class RuntimeTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The whole file.

    @ivar servers: the job servers, as C{Worker} takes them; all processes work at all of them.
    @ivar token_file: a file with the token that logs in.
    @ivar tls: whether servers are spoken to with TLS; C{ca_file}, C{cert_file} and C{key_file} say how.
    @ivar name: what the processes are called at the servers: this, the group, and a number.
    @ivar modules: where functions are looked for, in groups that say nothing else.
    @ivar path: folders where modules are looked for first; the one of the file by default.
    @ivar log: how lines of jobs look.
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
    path: tuple[str, ...] = (".",)
    log: Literal["text", "json"] = "text"
    health: str = ""
    stop_timeout: float = 60.0
    watch: bool = False
    group: dict[str, GroupTable]
