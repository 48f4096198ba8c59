"""`txgear completion`: the shells themselves complete its words."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from needs import requires
from operating import configured
from processes import PATIENCE, Server, free_port, run, txgear
from test_cli_start import QUICK, cpu
from wirepeer import P

CONFIG = """
[[schedule]]
name = "nightly"
cron = "0 3 * * *"
timezone = "UTC"
function = "report"
[[function]]
name = "dies"
retries = 0
dead = "1h"
"""

pytestmark = pytest.mark.txgear_only


class World:
    """A server with functions, a schedule and jobs, and the folder of the command as shells find it."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(folder, *configured(folder, CONFIG))
        peer, worker = self.server.connect(), self.server.connect()
        self.live = peer.submit(b"mail.send", b"x", type=P.SUBMIT_JOB_BG).decode()
        peer.submit(b"mail.read", b"x", type=P.SUBMIT_JOB_BG)
        peer.submit(b"two words, *", b"x", type=P.SUBMIT_JOB_BG)
        worker.can_do(b"dies")
        self.dead = peer.submit(b"dies", b"x", type=P.SUBMIT_JOB_BG).decode()
        worker.send(P.WORK_FAIL, worker.grab_soon().handle)
        worker.sync()
        self.bin = folder / "bin"
        self.bin.mkdir()
        # However it is started here, shells know it by its name.
        command = self.bin / "txgear"
        command.write_text(f'#!/bin/sh\nexec {shlex.join(txgear())} "$@"\n')
        command.chmod(0o755)
        self.env = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "TXGEAR_SERVER": f"127.0.0.1:{self.server.port}",
            "HOME": str(folder),
            "TERM": "dumb",
        }
        # The first that asks has the server load what answers, which is more than a second here and there.
        assert run([*txgear(), "info"], env=self.env).returncode == 0

    def bash(self, line: str, **env: str) -> list[str]:
        """What bash offers for the line, with the cursor at its end."""
        script = f"""
eval "$(txgear completion bash)"
COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}
compopt() {{ echo "compopt $*"; }}
_txgear_completion txgear
for each in "${{COMPREPLY[@]}}"; do echo "$each"; done
"""
        done = run([requires("bash"), "--norc", "-c", script], env={**self.env, **env})
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout.decode().splitlines()

    def fish(self, line: str) -> list[str]:
        """What fish offers, without the words beside it."""
        script = f"txgear completion fish | source; complete -C {shlex.quote(line)}"
        done = run([requires("fish"), "--no-config", "-c", script], env=self.env)
        assert done.returncode == 0, done
        return [row.split("\t")[0] for row in done.stdout.decode().splitlines()]

    def zsh(self, line: str, shows: str) -> bool:
        """Whether zsh shows a text after the line and the key have been pressed."""
        ours, theirs = pty.openpty()
        shell = subprocess.Popen(
            [requires("zsh"), "-f", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, **self.env},
            start_new_session=True,
        )
        os.close(theirs)
        try:
            os.write(
                ours, b"PROMPT='> '; autoload -U compinit; compinit -u -D; bindkey '\\t' complete-word\n"
            )
            os.write(ours, b'eval "$(txgear completion zsh)"; echo rea""dy\n')
            assert seen(ours, b"ready"), "zsh"
            os.write(ours, f"{line}\t".encode())
            return seen(ours, shows.encode())
        finally:
            shell.kill()
            shell.wait(PATIENCE)
            os.close(ours)


def seen(terminal: int, text: bytes) -> bool:
    """Whether a terminal shows a text before long."""
    shown, until = b"", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ready, _, _ = select.select([terminal], [], [], 0.5)
        with contextlib.suppress(OSError):
            shown += os.read(terminal, 65536) if ready else b""
        if text in shown:
            return True
    return False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("completion"))
    yield made
    made.server.stop()
    assert made.server.calm()


def test_bash(world: World) -> None:
    """Commands, options, choices, files."""
    assert world.bash("txgear pin") == ["ping"]
    assert {"status", "store", "submit"} <= set(world.bash("txgear s"))
    assert "--json" in world.bash("txgear status --j")
    assert world.bash("txgear store ") == ["backup", "copy"]
    assert world.bash("txgear completion z") == ["zsh"]
    assert world.bash("txgear config check ") == ["compopt -o default"]


def test_bash_knows_names(world: World) -> None:
    """Of functions, schedules and jobs; a handle goes on behind its colons, and what needs it is quoted."""
    assert world.bash("txgear function mail.") == ["mail.read", "mail.send"]
    assert world.bash("txgear status --function mail.s") == ["mail.send"]
    assert world.bash("txgear status --function=mail.s") == ["mail.send"]
    assert world.bash("txgear purge tw") == ["two\\ words\\,\\ \\*"]
    assert world.bash("txgear run-schedule n") == ["nightly"]
    live = {row[0] for row in world.server.list("show jobs") if len(row) == 4}
    offered = set(world.bash("txgear job H:"))
    assert offered == {each.removeprefix("H:") for each in {*live, world.live, world.dead}}
    assert world.dead.rpartition(":")[2] in world.bash(f"txgear job {world.dead[:-1]}")
    # What a file says is not what the server says.
    assert world.bash("txgear access check web submit mail.") == []


def test_bash_without_a_server(world: World) -> None:
    """It offers nothing, and says nothing; --server on the line counts."""
    gone = f"127.0.0.1:{free_port()}"
    assert world.bash("txgear function mail.", TXGEAR_SERVER=gone) == []
    place = world.env["TXGEAR_SERVER"]
    assert world.bash(f"txgear function --server {place} mail.s", TXGEAR_SERVER=gone) == ["mail.send"]


def test_fish(world: World) -> None:
    assert world.fish("txgear pin") == ["ping"]
    assert world.fish("txgear function mail.") == ["mail.read", "mail.send"]
    assert world.dead in world.fish(f"txgear job {world.dead[:-1]}")
    assert any("two" in row and "," in row for row in world.fish("txgear purge tw"))


def test_zsh(world: World) -> None:
    assert world.zsh("txgear pin", "txgear ping")
    assert world.zsh("txgear function mail.s", "mail.send")
    assert world.zsh("txgear run-schedule n", "nightly")
    assert world.zsh("txgear job H", "H:")


def test_it_is_quick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other command is imported, and nothing large."""
    for line in ("txgear s", "txgear status --", "txgear function mail."):
        for name, value in {
            **world.env,
            "COMP_WORDS": line,
            "COMP_CWORD": ":=",
            "_TXGEAR_COMPLETE": "bash_complete",
        }.items():
            monkeypatch.setenv(name, value)
        best = min(cpu(txgear())[0] for _ in range(3))
        assert best < QUICK, f"{line}: {best:.2f} s"
