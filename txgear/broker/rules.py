"""
What an operator decides for all jobs of a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNLIMITED: Final = -1
"""Retries without a bound."""

QUEUE_MEMORY: Final = 256 * 1024 * 1024
"""Bytes of workloads that are kept in memory, where the operator says nothing else."""


@dataclass(frozen=True)
class Rules:
    """
    What holds for all jobs.

    @ivar prefix: what handles start with; see L{txgear.broker.table.check_prefix}.
    @ivar retries: how often a job may run at the most, its worker lost each
        time, before it fails; 0 and 1 both mean once, L{UNLIMITED} no bound.
    @ivar wakeups: NOOPs that are sent at the most when a job is queued;
        0 for as many as there are jobs.
    @ivar queue_memory: bytes of stored jobs' workloads that are kept in memory.
    @ivar grace: seconds for which a worker that has said who it is may be absent; 0.0 for not at all.
    """

    prefix: bytes
    retries: int = UNLIMITED
    wakeups: int = 0
    queue_memory: int = QUEUE_MEMORY
    grace: float = 0.0
