"""Modules that do what those of workers should not: the others go on, and no process outlives the runtime."""

from __future__ import annotations

from typing import Final

import pytest

from test_runtime_processes import LONG, Client, Runtime, client, runtime

__all__ = ["client", "runtime"]

pytestmark = pytest.mark.txgear_only

#: With these a process works all the same.
STRANGE: Final = {
    "daemon": (
        "import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n"
        "        time.sleep(1000)\n    os._exit(0)"
    ),
    "program": "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)",
    "thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()",
    "reactor": "from twisted.internet import reactor",
    "signals": (
        "import signal\nfor each in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):\n"
        "    signal.signal(each, signal.SIG_IGN)"
    ),
    "folder": "import os\nos.chdir('/')",
    "noise": "import sys\nsys.stderr.write('x' * 1_000_000)\nsys.stderr.close()",
}

#: With these it does not, and these words of the log say so.
BROKEN: Final = {
    "leaves": ("import os\nos._exit(3)", "-leaves-1: its process ended by itself (exit status 3)"),
    "exits": ("raise SystemExit(0)", "SystemExit: 0"),
    "blocks": ("import time\ntime.sleep(1000)", "-blocks-1: it was not ready within 6 s"),
}

FUNCTION: Final = """
from txgear.runtime import function


@function("PREFIX-NAME")
def work(job):
    return b"NAME"
"""


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_strange_modules(runtime: Runtime, client: Client, start: str) -> None:
    groups = ""
    for name, code in {**STRANGE, **{name: code for name, (code, _) in BROKEN.items()}}.items():
        text = (code + FUNCTION).replace("PREFIX", runtime.prefix).replace("NAME", name)
        (runtime.folder / f"{name}s.py").write_text(text)
        groups += (
            f'[group.{name}]\nmodules = ["{name}s"]\nstart = "{start}"\n'
            f"start_timeout = {6 if name == 'blocks' else LONG}\n"
        )
    runtime.start(groups, ready=len(STRANGE), stop_timeout=2.0)
    for name in STRANGE:
        client.submit(runtime.name(name), b"")
    assert client.all_done_once() == [name.encode() for name in STRANGE]
    for name, (_, words) in BROKEN.items():
        if (name, start) != ("blocks", "fork"):
            runtime.wait_for(
                words if start == "spawn" or name == "exits" else f"-{name}-1: it cannot be started"
            )
    runtime.stop(broken=True)
