"""The pages about security: what they have people type, and what comes of it."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from needs import requires
from operating import configured
from processes import Program, Programs, Servers, free_port, run, txgear, wait_until
from test_docs import DOCS, Block, blocks, configuration
from txgear.security.tokens import Token
from wirepeer import P

HARDEN: Final = DOCS / "howto" / "harden.md"
TLS: Final = DOCS / "howto" / "tls.md"
ACCESS: Final = DOCS / "access.md"

#: Seconds for one command.
PATIENCE: Final = 30.0

pytestmark = pytest.mark.txgear_only


class Administrator:
    """Somebody who follows the page, in a folder that stands for the machine."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.etc = folder / "etc"
        self._programs = programs
        self._server: Program | None = None
        for name in ("etc", "run", "log", "state"):
            (folder / name).mkdir()
        plain, secure, web = free_port(), free_port(), free_port()
        self._here = {
            "127.0.0.1:4731": f"127.0.0.1:{secure}",
            "/etc/txgear": str(self.etc),
            "/run/txgear": str(folder / "run"),
            "/var/log/txgear": str(folder / "log"),
            "gear.example 4730": f"127.0.0.1 {plain}",
            "gear.example 4731": f"127.0.0.1 {secure}",
            "gear.example:4731": f"localhost:{secure}",
            "gear.example:4780": f"localhost:{web}",
            "gear.example": "localhost",
            "0.0.0.0:4730": f"127.0.0.1:{plain}",
            "0.0.0.0:4731": f"127.0.0.1:{secure}",
        }
        tools = [str(Path(sys.executable).parent), os.environ["PATH"]]
        self._env = {"PATH": os.pathsep.join(tools), "STATE_DIRECTORY": str(folder / "state")}

    def here(self, text: str) -> str:
        """The page's text, for this machine."""
        for there, here in self._here.items():
            text = text.replace(there, here)
        return text

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        text = self.here(block.text)
        if block.language == "toml":
            (self.etc / "server.toml").write_text(text)
        elif block.language == "python":
            (name,) = re.findall(r"^# (\w+\.py)$", text, re.MULTILINE)
            (self.etc / name).write_text(text)
        elif block.language == "console":
            for command, printed in commands(text):
                self._type(command, printed)
        elif text.startswith("twistd "):
            self._start(text)
        else:
            self._type(text, "…")

    def _type(self, command: str, printed: str) -> None:
        before = self._reloads()
        words = [requires("bash"), "-e", "-o", "pipefail", "-c", command]
        done = run(words, env=self._env, cwd=self.etc, timeout=PATIENCE)
        said = done.stdout.decode().replace("\r", "")
        assert done.returncode == 0 or printed != "…", (command, done)
        assert re.fullmatch(pattern(printed), said), (
            f"$ {command}\n{said}\nand not\n{printed}\n{done.stderr!r}"
        )
        if "kill -HUP" in command:
            wait_until(lambda: self._reloads() > before, what=f"a reload: {command}")

    def _reloads(self) -> int:
        return 0 if self._server is None else self._server.stdout.count(b"read again: policies")

    def _start(self, command: str) -> None:
        """A server in the foreground, in the place of the one before."""
        if self._server is not None:
            self._server.signal(signal.SIGTERM)
            assert self._server.wait() == 0
        words = [requires("bash"), "-c", f"cd {self.etc}; exec {command}"]
        server = self._server = self._programs.start(words, name="server", env=self._env)
        server.comes_up()
        assert server.running, server.log()

    def end(self) -> None:
        """No command has hurt the server."""
        assert self._server is not None
        self._server.signal(signal.SIGTERM)
        assert self._server.wait() == 0
        assert b"Traceback" not in self._server.stdout + self._server.stderr


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a block, each with what it prints."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)


def pattern(printed: str) -> str:
    """What a page shows, as a regular expression: dots stand for part of a line, or alone for some lines."""
    lines = [
        r"(?s:.*)" if line == "…" else re.escape(line).replace("…", ".*") for line in printed.splitlines()
    ]
    return "\n".join(lines) + r"\n?"


def test_harden(tmp_path: Path, programs: Programs) -> None:
    for program in ("openssl", "nc", "curl"):
        requires(program)
    administrator = Administrator(tmp_path, programs)
    steps = blocks(HARDEN)
    assert {block.language for block in steps} == {"sh", "console", "toml", "python"}
    assert sum(block.text.count("\n$ ") + block.text.startswith("$ ") for block in steps) > 15
    for block in steps:
        administrator.follow(block)
    administrator.end()


def test_tls(tmp_path: Path, programs: Programs) -> None:
    """The certificates of the page about TLS, its server, and who asks that."""
    requires("openssl")
    administrator = Administrator(tmp_path, programs)
    authority, certificates, server, asked = blocks(TLS)[:4]
    assert server.text.startswith("twistd ")
    assert "s_client" in asked.text
    for block in (authority, certificates, server, asked):
        administrator.follow(block)
    administrator.end()


def test_access(tmp_path: Path) -> None:
    """What the commands say of the example of the page about access rules."""
    file = tmp_path / "server.toml"
    file.write_text(configuration(ACCESS))
    shown = [pair for block in blocks(ACCESS) if block.language == "console" for pair in commands(block.text)]
    assert len(shown) > 3
    for command, printed in shown:
        words = command.replace("/etc/txgear.toml", str(file)).split()[1:]
        done = run([*txgear(), *words])
        said = done.stdout.decode().replace(str(file), "/etc/txgear.toml")
        if words[0] == "token":
            # No two are the same, but all have one form.
            token, kept = printed.split()[1::2]
            assert str(Token.of(token.encode())) == kept
            said, printed = (re.sub(r"[\w-]", "x", text) for text in (said, printed))
        assert said == printed


LIMITED: Final = """
[[access]]
identities = ["nobody"]
allow = ["work", "submit"]
functions = ["open"]

[[access]]
identities = ["nobody"]
allow = ["see"]
"""
PHP: Final = """
$w = new GearmanWorker();
$w->addServer("127.0.0.1", (int) $argv[1]);
$w->addFunction("open", fn($job) => strrev($job->workload()));
$w->addFunction("secret", fn($job) => "");
print var_export(@$w->work(), true) . " " . $w->returnCode() . "\n";
print var_export(@$w->work(), true) . " " . $w->returnCode() . "\n";
$c = new GearmanClient();
$c->addServer("127.0.0.1", (int) $argv[1]);
@$c->doBackground("secret", "x");
print $c->error() . "\n";
"""
PERL: Final = """
use Gearman::Worker;
my $w = Gearman::Worker->new;
$w->job_servers("127.0.0.1:$ARGV[0]");
$w->register_function(secret => sub { });
$w->work;
"""


def test_refused_php(start_server: Servers, programs: Programs, tmp_path: Path) -> None:
    """A PHP worker hears of the function that it may not do by one call, and goes on with the others."""
    php = requires("php", php_extension="gearman")
    server = start_server(*configured(tmp_path, LIMITED))
    worker = programs.start([php, "-r", PHP, str(server.port)])
    peer = server.connect()
    handle = peer.submit(b"open", b"abc")
    peer.expect(P.WORK_COMPLETE, handle, b"cba")
    assert worker.wait() == 0
    first, second, refused = worker.stdout.decode().splitlines()
    assert (first, second) == ("false 11", "true 0")
    assert "(GEARMAN_SERVER_ERROR) ACCESS_DENIED:Not allowed: submit secret" in refused


def test_refused_perl(start_server: Servers, tmp_path: Path) -> None:
    """A Perl worker ends with the reason."""
    perl = requires("perl", perl_module="Gearman::Worker")
    server = start_server(*configured(tmp_path, LIMITED))
    done = run([perl, "-e", PERL, str(server.port)])
    assert done.returncode != 0
    assert b"unexpected packet type: error [ACCESS_DENIED -- Not allowed: work secret]" in done.stderr
