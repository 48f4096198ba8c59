"""
A runtime with one process: C{runtime_peer.py PORT CONCURRENCY}.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

port, concurrency = sys.argv[1:]
folder = Path(tempfile.mkdtemp(prefix="txgear-runtime-", dir=os.environ.get("TXGEAR_BENCH_FOLDER")))
file = folder / "workers.toml"
file.write_text(f"""
servers = ["127.0.0.1:{port}"]
modules = ["runtime_echo"]

[group.echo]
processes = 1
concurrency = {concurrency}
""")
os.environ["PYTHONPATH"] = str(Path(__file__).parent)
twistd = str(Path(sys.executable).with_name("twistd"))
os.execv(twistd, [twistd, "-n", "--pidfile=", "txgear-worker", "--config", str(file)])
