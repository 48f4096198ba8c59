"""What the page about moving has others' programs do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from needs import requires
from processes import Programs, Server
from test_docs import blocks
from wirepeer import P

pytestmark = pytest.mark.txgear_only

PAGE: Final = Path(__file__).parent.parent / "docs" / "moving.md"

#: As GearmanManager's own examples are.
REVERSE: Final = """<?php
function reverse_string($job, &$log) {
    $log[] = "done";
    return strrev($job->workload());
}
"""


def test_worker_with_the_files_of_gearmanmanager(
    fresh_server: Server, programs: Programs, tmp_path: Path
) -> None:
    php = requires("php", php_extension="gearman")
    [script] = [text for language, text in blocks(PAGE) if language == "php"]
    assert "127.0.0.1:4730" in script
    (tmp_path / "worker.php").write_text(script.replace("127.0.0.1:4730", f"127.0.0.1:{fresh_server.port}"))
    (tmp_path / "pecl-workers").mkdir()
    (tmp_path / "pecl-workers" / "reverse_string.php").write_text(REVERSE)
    worker = programs.start([php, tmp_path / "worker.php"])
    client = fresh_server.connect()
    for _ in range(2):
        handle = client.submit(b"reverse_string", b"abc")
        client.expect(P.WORK_COMPLETE, handle, b"cba", timeout=10)
    assert (worker.running, worker.stdout, worker.stderr) == (True, b"", b"")
