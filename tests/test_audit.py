"""Tokens, the audit log, and the commands that look into the server's file, with a real server."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import stat
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fairtime import Stopwatch
from processes import Servers, free_port, run, server_command, txgear, wait_until
from startup import assert_one_line
from txgear.protocol.constants import EXTENSION_OPTION, LOGGED_IN, LOGIN
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

GUESSERS = 4
"""Threads that guess, 200 tokens a second together."""

RULES = """
[[access]]
identities = ["web"]
allow = ["submit"]
functions = ["mail.*"]
[[access]]
identities = ["ops"]
allow = ["all"]
"""


def new_token() -> tuple[str, str]:
    """A token, and what the server keeps of it, as the command prints them."""
    done = run([*txgear(), "token", "new"])
    found = re.fullmatch(r"token: (\S+)\nfile:  (\S+)\n", done.stdout.decode())
    assert done.returncode == 0
    assert found is not None
    return found[1], found[2]


def identity(name: str, *kept: str) -> str:
    return f'[[identity]]\nname = "{name}"\ntokens = {json.dumps(kept)}\n'


def lines(path: Path) -> list[dict[str, Any]]:
    """The audit log."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def log_in(peer: WirePeer, token: str) -> None:
    peer.send(P.OPTION_REQ, EXTENSION_OPTION)
    peer.expect(P.OPTION_RES, EXTENSION_OPTION)
    peer.send(LOGIN, token.encode("ascii"))


def test_from_the_token_to_the_audit_log(start_server: Servers, tmp_path: Path) -> None:
    """Tokens are made, put into the file and changed; what is done and refused stands in the audit log."""
    config, audit = tmp_path / "txgear.toml", tmp_path / "audit.log"
    (web, web_kept), (ops, ops_kept), (new, new_kept) = new_token(), new_token(), new_token()
    config.write_text(identity("web", web_kept) + identity("ops", ops_kept) + RULES)
    server = start_server(f"--config={config}", f"--audit-log={audit}")
    assert stat.S_IMODE(audit.stat().st_mode) == 0o600

    client, operator, guesser = server.connect(), server.connect(), server.connect()
    log_in(client, web)
    client.expect(LOGGED_IN, b"web")
    client.send(P.SUBMIT_JOB_BG, b"mail.send", b"", b"payload of nobody's business")
    assert client.read().type == P.JOB_CREATED
    client.send(P.SUBMIT_JOB_BG, b"pay", b"", b"payload of nobody's business")
    assert client.read().type == P.ERROR
    assert client.ask("purge mail.send") == b"ERR ACCESS_DENIED Not+allowed:+purge+mail.send\r\n"
    log_in(guesser, new)
    assert guesser.read().type == P.ERROR
    assert guesser.read_to_end() == b""
    guesser.close()
    log_in(operator, ops)
    operator.expect(LOGGED_IN, b"ops")
    assert operator.ask("purge mail.send") == b"OK 1\n"

    # A new token in the place of the old one, without anybody being turned away.
    config.write_text(identity("web", web_kept, new_kept) + identity("ops", ops_kept) + RULES)
    server.signal(signal.SIGHUP)
    wait_until(lambda: lines(audit)[-1]["act"] == "reload", what="the reload")
    late = server.connect()
    log_in(late, new)
    late.expect(LOGGED_IN, b"web")
    config.write_text(identity("web", new_kept) + identity("ops", ops_kept) + RULES)
    audit.rename(tmp_path / "audit.old")
    server.signal(signal.SIGHUP)
    assert client.read().type == P.ERROR
    assert client.read_to_end() == b""
    assert late.sync() == []
    server.signal(signal.SIGTERM)
    assert server.wait() == 0

    names = ("act", "outcome", "identity", "function", "token", "by")
    old = [tuple(line.get(name) for name in names) for line in lines(tmp_path / "audit.old")]
    assert old == [
        ("submit", "refused", "web", "pay", None, None),
        ("purge", "refused", "web", "mail.send", None, None),
        ("login", "refused", None, None, new[4:12], None),
        ("purge", "done", "ops", "mail.send", None, None),
        ("reload", "done", None, None, None, "signal"),
    ]
    assert [line["act"] for line in lines(audit)] == ["reload", "login", "shutdown"]
    written = (tmp_path / "audit.old").read_text() + audit.read_text() + server.said().decode()
    assert "business" not in written
    for token in (web, ops, new):
        assert token[13:] not in written


def test_a_flood_of_guesses_is_counted(start_server: Servers, tmp_path: Path) -> None:
    """The file does not grow with it, and whoever has a token is let in meanwhile."""
    config, audit = tmp_path / "txgear.toml", tmp_path / "audit.log"
    web, kept = new_token()
    config.write_text(identity("web", kept) + RULES)
    server = start_server(f"--config={config}", f"--audit-log={audit}")
    wrong = web[:13] + "A" * 43
    for _ in range(150):
        with server.connect() as guesser:
            guesser.send(P.OPTION_REQ, EXTENSION_OPTION)
            guesser.send(LOGIN, wrong.encode("ascii"))
            guesser.read_to_end()
    peer = server.connect()
    log_in(peer, web)
    peer.expect(LOGGED_IN, b"web")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    *full, shutdown, counted = lines(audit)
    assert [(line["act"], line["token"]) for line in full] == [("login", web[4:12])] * 100
    assert (shutdown["act"], counted["act"], counted["more"]) == ("shutdown", "login", 50)


def test_guessing_keeps_nobody_waiting(start_server: Servers, tmp_path: Path) -> None:
    """
    While 200 tokens a second are guessed, whoever has one is let in, though it comes from the same address.
    Only the first guesses are answered, and nothing is left of them.
    """
    config = tmp_path / "txgear.toml"
    web, kept = new_token()
    config.write_text(identity("web", kept) + RULES)
    server = start_server(f"--config={config}")
    answers: list[bytes] = []
    over = threading.Event()

    def guess() -> None:
        due = time.monotonic()
        while not over.wait(due - time.monotonic()):
            due += GUESSERS / 200
            with server.connect() as peer:
                peer.send(P.OPTION_REQ, EXTENSION_OPTION)
                peer.expect(P.OPTION_RES, EXTENSION_OPTION)
                peer.send(LOGIN, (web[:13] + secrets.token_urlsafe(32)).encode("ascii"))
                try:
                    answers.append(peer.read_to_end())
                except ConnectionResetError:
                    answers.append(b"")

    def memory() -> int:
        return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    waits: list[float] = []
    guessers = [threading.Thread(target=guess) for _ in range(GUESSERS)]
    for guesser in guessers:
        guesser.start()
    try:
        wait_until(lambda: len(answers) > 50, what="some guesses")
        before, guessed = memory(), len(answers)
        ends = time.monotonic() + 3.0
        while time.monotonic() < ends or len(answers) - guessed < 600:
            watch = Stopwatch(server.pid)
            with server.connect() as peer:
                log_in(peer, web)
                peer.expect(LOGGED_IN, b"web")
            waits.append(watch.seconds())
            time.sleep(0.02)
        after = memory()
        took = time.monotonic() - ends + 3.0
    finally:
        over.set()
        for guesser in guessers:
            guesser.join()
    # On a slow machine they come slower.
    assert took < 6.0
    answered = [answer for answer in answers if answer]
    assert all(b"ACCESS_DENIED" in answer for answer in answered)
    # And one in six seconds.
    assert 10 <= len(answered) <= 12
    assert statistics.median(waits) < 0.05
    assert after - before < 4 << 20


@pytest.mark.parametrize("what", ["no such folder", "folder", "pipe"])
def test_no_start_without_it(tmp_path: Path, what: str) -> None:
    """An audit log that cannot be written is one line, and no start."""
    path = tmp_path / "log"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path /= "log"
    done = run([*server_command(free_port(), "memory:"), f"--audit-log={path}"], cwd=tmp_path)
    assert_one_line(done, f"cannot write the audit log {path}: ")


def test_looking_into_the_file(tmp_path: Path) -> None:
    """Who may do what, and why, is said without a server."""
    config = tmp_path / "txgear.toml"
    config.write_text(identity("web", new_token()[1]) + identity("ops", new_token()[1]) + RULES)
    check = [*txgear(), "access", "check", "--config", str(config)]
    for words, status, said in (
        (["web", "submit", "mail.send"], 0, f"{config}, line 8: allows web: submit of mail.*"),
        (["web", "submit", "pay"], 4, "no rule allows it"),
        (["nobody", "http"], 4, "no rule allows it"),
    ):
        done = run([*check, *words])
        assert (done.returncode, done.stderr) == (status, b"")
        assert said in done.stdout.decode()
    assert_one_line(run([*check, "nobody-else", "http"]), "has no identity nobody-else")
    done = run([*txgear(), "access", "show", "--config", config])
    assert "  submit: mail.*" in done.stdout.decode().splitlines()
    for command in (txgear(), [sys.executable, "-m", "txgear"]):
        done = run([*command, "config", "check", str(config), "mail.send"])
        assert "  web may submit" in done.stdout.decode().splitlines()


def test_nobody_takes_the_output() -> None:
    """A full disk is a line, and a reader that has seen enough is none: neither is a traceback."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*txgear(), "token", "new"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"txgear token: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        done = subprocess.run([*txgear(), "token", "new"], stdout=closed, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
