"""The family of PyPI's old gearman: C{pythongearman_peer.py MODULE worker|client PORT}."""

from __future__ import annotations

import importlib
import sys
from typing import Any

gearman: Any = importlib.import_module(sys.argv[1])
role, servers = sys.argv[2], [f"127.0.0.1:{sys.argv[3]}"]


class Bytes(gearman.DataEncoder):  # type: ignore[misc]
    """Workloads as they are."""

    @classmethod
    def encode(cls, data: Any) -> Any:
        return data

    @classmethod
    def decode(cls, data: Any) -> Any:
        return data


if role == "worker":
    worker = gearman.GearmanWorker(servers)
    worker.data_encoder = Bytes
    # One of them wants the names as they travel.
    name = b"echo" if sys.argv[1] == "gearman" else "echo"
    worker.register_task(name, lambda worker, job: job.data)
    worker.work()
client = gearman.GearmanClient(servers)
client.data_encoder = Bytes
for number, function, workload in ((1, "full", b"first"), (2, "echo", b"second")):
    request = client.submit_job(function, workload, background=False, poll_timeout=3.0)
    result = request.result
    if isinstance(result, bytes):
        result = result.decode()
    print(number, f"result {result}" if request.complete and result is not None else "timeout", flush=True)
