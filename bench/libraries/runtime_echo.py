"""What a runtime's process does that is to be measured."""

from __future__ import annotations

from txgear.runtime import function
from txgear.worker import WorkerJob


@function("echo", blocking=False)
def echo(job: WorkerJob) -> bytes:
    return job.workload
