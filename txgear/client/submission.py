"""
Submitting: from what a caller gives to the packet that asks a server for a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from txgear.client.requests import Single
from txgear.errors import JobLost
from txgear.net.arguments import (
    ABSENT,
    Text,
    Workload,
    epoch_seconds,
    function_name,
    job_options,
    reducer_name,
    unique_key,
    workload_bytes,
)
from txgear.protocol.constants import (
    HEADER_SIZE,
    HIGH,
    LOW,
    NORMAL,
    PRIORITIES,
    REQUEST_MAGIC,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    SUBMIT_JOB_OPTIONS,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
)
from txgear.protocol.packets import Data, large
from txgear.protocol.traces import Trace

_FOREGROUND: Final = {HIGH: SUBMIT_JOB_HIGH, NORMAL: SUBMIT_JOB, LOW: SUBMIT_JOB_LOW}
_BACKGROUND: Final = {HIGH: SUBMIT_JOB_HIGH_BG, NORMAL: SUBMIT_JOB_BG, LOW: SUBMIT_JOB_LOW_BG}
_PRIORITY_WORDS: Final = {HIGH: "high", NORMAL: "normal", LOW: "low"}


@dataclass(frozen=True)
class Task:
    """
    One job for L{txgear.client.Client.run_all}; the fields are the arguments of
    L{txgear.client.Client.submit}.
    """

    function: Text
    workload: Workload = b""
    unique: Text = b""
    priority: int = NORMAL
    reducer: Text | None = None
    timeout: float | None = None
    resend: bool = False
    json: object = ABSENT
    policy: Mapping[str, Any] | None = None


def as_task(task: object) -> Task:
    """
    A task, or what stands for one: a tuple of function and workload, or of the function alone.

    @raise TypeError: it is neither.
    """
    if isinstance(task, Task):
        return task
    if not isinstance(task, (tuple, list)) or not 1 <= len(task) <= 2:
        # A text would be cut into letters.
        raise TypeError(f"a task is a Task, or a tuple of function and workload, not {task!r:.50}")
    return Task(*task)


def ability_for(task: Task, delay: float | str | None = None) -> str:
    """What a server must be able to do to take this job, beyond the protocol of all, in words."""
    return "policies of single jobs" if task.policy else "delays" if delay is not None else ""


def submission(
    task: Task,
    max_packet: int,
    background: bool = False,
    at: datetime | float | None = None,
    delay: float | str | None = None,
    trace: Trace | None = None,
) -> list[bytes]:
    """
    The packet that submits a job, as chunks.

    @param max_packet: bytes of its largest body.
    @param delay: a time from now, as L{txgear.quantities.duration} reads it.
    @param trace: leaves with the job. Not every server can take it.
    @raise ValueError: something that the protocol cannot carry.
    @raise TypeError: something of a wrong type.
    """
    arguments = [function_name(task.function), unique_key(task.unique)]
    data = workload_bytes(task.workload, task.json)
    if task.priority not in PRIORITIES:
        raise ValueError(f"priority is {task.priority!r}, not HIGH, NORMAL or LOW")
    if task.policy is not None and not isinstance(task.policy, Mapping):
        raise TypeError(f"policy is {type(task.policy).__name__}, not a mapping of settings")
    if ability_for(task, delay) or trace is not None:
        if task.reducer is not None:
            raise ValueError("a job with a policy, a delay or a trace has no reducer")
        kind = SUBMIT_JOB_OPTIONS
        priority = _PRIORITY_WORDS[task.priority]
        arguments.append(job_options(task.policy or {}, priority, background, at, delay, trace))
    elif task.priority != NORMAL and (at is not None or task.reducer is not None):
        raise ValueError("a job with a time or a reducer has NORMAL priority")
    elif at is not None:
        if task.reducer is not None:
            raise ValueError("a job has a time or a reducer, not both")
        kind = SUBMIT_JOB_EPOCH
        arguments.append(b"%d" % epoch_seconds(at))
    elif task.reducer is not None:
        # After the reducer libgearman and gearmand have one more, empty argument.
        kind = SUBMIT_REDUCE_JOB_BACKGROUND if background else SUBMIT_REDUCE_JOB
        arguments += [reducer_name(task.reducer), b""]
    else:
        kind = (_BACKGROUND if background else _FOREGROUND)[task.priority]
    chunks = large(REQUEST_MAGIC, kind, arguments, data)
    if sum(map(len, chunks)) > max_packet + HEADER_SIZE:
        raise ValueError(f"a job of {len(data)} bytes does not fit a packet of {max_packet} bytes")
    return chunks


class BackgroundSubmit(Single[bytes]):
    """Asks for a job that nobody waits for; the answer is its handle."""

    def meaning(self, arguments: list[Data]) -> bytes:
        return bytes(arguments[0])

    def lost(self, why: str) -> None:
        self.failed(JobLost(why, None))
