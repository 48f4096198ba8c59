"""What the page about moving to the runtime says, with GearmanManager's files and PHP."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import fields

from needs import requires
from processes import Programs, Server, run, txgear
from test_docs import blocks
from txgear.runtime.config import FunctionTable, GroupTable, RuntimeTable
from wirepeer import P

pytestmark = pytest.mark.txgear_only

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "runtime" / "moving.md"
SCRIPT: Final = ROOT / "examples" / "gearman-job.php"

REVERSE: Final = """<?php
function reverse_string($job, &$log) {
    echo "printed";
    $log[] = "done";
    if ($job->workload() === "bad") {
        $job->sendException("no good");
    }
    return strrev($job->workload());
}
"""
SUM: Final = """<?php
class Sum {
    public function run($job, &$log) {
        return array_sum(json_decode($job->workload(), true));
    }
}
"""


def imported(ini: str, folder: Path) -> str:
    """What the command makes of an ini file in a folder."""
    (folder / "gearman.ini").write_text(ini)
    done = run([*txgear(), "run", "--import-gearman-manager", "gearman.ini"], cwd=folder)
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout.decode()


def workers(folder: Path, **sources: str) -> None:
    (folder / "pecl-workers").mkdir()
    for name, source in sources.items():
        (folder / "pecl-workers" / f"{name}.php").write_text(source)


def test_the_example(tmp_path: Path) -> None:
    texts = dict(blocks(PAGE))
    workers(tmp_path, reverse_string=REVERSE, fetch_url=REVERSE)
    made = imported(texts["ini"], tmp_path).replace(f"{tmp_path.resolve()}/", "/srv/shop/")
    assert made.strip() == texts["toml"].strip()


def test_an_ini_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gearman.ini").write_text("[GearmanManager]\nhost = ${HOST}\n")
    done = run([*txgear(), "run", "--import-gearman-manager", "gearman.ini"], cwd=tmp_path)
    assert done.returncode == 1
    assert b"gearman.ini: line 2: PHP evaluates" in done.stderr
    assert done.stdout == b""


def test_functions_in_php(server: Server, programs: Programs, tmp_path: Path) -> None:
    requires("php")
    workers(tmp_path, reverse_string=REVERSE, Sum=SUM)
    ini = f"[GearmanManager]\nworker_dir = ./pecl-workers\nhost = 127.0.0.1:{server.port}\ncount = 1\n"
    table = imported(ini + "[Sum]\ndedicated_only = 1\ndedicated_count = 2\n", tmp_path)
    shutil.copy(SCRIPT, tmp_path)
    file = tmp_path / "workers.toml"
    file.write_text(table.replace(SCRIPT.name, str(tmp_path / SCRIPT.name)))
    checked = run([*txgear(), "run", str(file), "--check"])
    assert checked.returncode == 0, checked
    programs.start([*txgear(), "run", str(file)], name="runtime")
    server.wait_for_workers("Sum", 2)
    server.wait_for_workers("reverse_string", 1)
    client = server.connect(timeout=15)
    handle = client.submit(b"reverse_string", b"abc")
    client.expect(P.WORK_COMPLETE, handle, b"cba", timeout=15)
    handle = client.submit(b"Sum", b"[1, 2, 3]")
    client.expect(P.WORK_COMPLETE, handle, b"6", timeout=15)
    handle = client.submit(b"reverse_string", b"bad")
    client.expect(P.WORK_FAIL, handle, timeout=15)


def column(heading: str, place: int) -> str:
    """One column of a table of the page."""
    text = PAGE.read_text("utf-8")
    part = text.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return "\n".join(row[place] for row in rows[1:])


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        (
            "### Its settings",
            "auto_update count daemon dedicated_count dedicated_only exclude graceful_shutdown_wait_time host"
            " include log_file max_runs_per_worker max_worker_lifetime pid_file prefix priority timeout user"
            " verbose worker_dir worker_initial_spawn_splay worker_restart_splay"
            " -a -d -D -h -l -p -P -u -v -w -r -t -x -Z",
        ),
        (
            "## Gearman::Driver",
            "server console_port interval max_idle_time logfile loglayout loglevel unknown_job_callback"
            " worker_options job_runtime_attributes configfile daemonize namespaces wanted lib modules"
            " MinProcesses MaxProcesses Encode Decode ProcessGroup prefix begin end process_name",
        ),
        (
            "## supervisor",
            "command process_name numprocs numprocs_start priority autostart startsecs startretries"
            " autorestart exitcodes stopsignal stopwaitsecs stopasgroup killasgroup user redirect_stderr"
            " stdout_logfile stderr_logfile environment directory umask include group:x eventlistener:x"
            " fcgi-program:x",
        ),
    ],
)
def test_each_of_their_settings_is_there(heading: str, names: str) -> None:
    theirs = column(heading, 0)
    missing = [name for name in names.split() if not re.search(rf"[`(\[]{re.escape(name)}[`(\])]", theirs)]
    assert not missing


def test_our_settings_exist() -> None:
    ours = {field.name for table in (FunctionTable, GroupTable, RuntimeTable) for field in fields(table)}
    text = "\n".join(
        column(heading, 1) for heading in ("### Its settings", "## Gearman::Driver", "## supervisor")
    )
    named = set(re.findall(r"`([a-z_]+)`", text)) - {"stop", "shrink", "twistd"}
    named |= set(re.findall(r"`([a-z_]+) = ", text))
    assert named <= ours, named - ours
