"""The family of PyPI's old gearman: C{pythongearman_peer.py MODULE worker|client PORT [FUNCTION]}."""

from __future__ import annotations

import importlib
import sys
from typing import Any

gearman: Any = importlib.import_module(sys.argv[1])
role, servers = sys.argv[2], [f"127.0.0.1:{sys.argv[3]}"]
# One of them wants bytes as they travel, the others text.
in_bytes = sys.argv[1] == "gearman"


def said(text: str) -> Any:
    return text.encode() if in_bytes else text


class AsItIs(gearman.DataEncoder):  # type: ignore[misc]
    """Workloads as they are."""

    @classmethod
    def encode(cls, data: Any) -> Any:
        return data

    @classmethod
    def decode(cls, data: Any) -> Any:
        return data


if role == "worker":
    worker = gearman.GearmanWorker(servers)
    worker.data_encoder = AsItIs
    worker.register_task(said("echo"), lambda worker, job: job.data)
    worker.work()
client = gearman.GearmanClient(servers)
client.data_encoder = AsItIs
for number, function, workload in ((1, sys.argv[4], "first"), (2, "echo", "second")):
    request = client.submit_job(function, said(workload), background=False, poll_timeout=3.0)
    result = request.result
    if isinstance(result, bytes):
        result = result.decode()
    print(number, f"result {result}" if request.complete and result is not None else "timeout", flush=True)
