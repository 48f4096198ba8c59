"""PyPI's gear: C{gear_peer.py worker|client PORT [FUNCTION]}."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

gear: Any = importlib.import_module("gear")
role, port = sys.argv[1], int(sys.argv[2])
peer: Any = gear.Worker("worker") if role == "worker" else gear.Client()
peer.addServer("127.0.0.1", port)
peer.waitForServer()
if role == "worker":
    peer.registerFunction("echo")
    while True:
        job = peer.getJob()
        job.sendWorkComplete(job.arguments)
for number, function, workload in ((1, sys.argv[3].encode(), b"first"), (2, b"echo", b"second")):
    job = gear.Job(function, workload)
    try:
        peer.submitJob(job)
    except gear.GearmanError as error:
        print(number, "error", error, flush=True)
        continue
    while not job.complete:
        time.sleep(0.01)
    print(number, "result", b"".join(job.data).decode(), flush=True)
