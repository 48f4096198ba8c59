"""`txgear ping`, as health checks call it."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from certificates import certificate
from needs import requires
from operating import configured
from processes import Programs, Servers, free_port, run, twistd, txgear, wait_until
from txgear.security.tokens import Token, new_token

pytestmark = pytest.mark.txgear_only


def ping(*words: str, status: int = 0) -> str:
    """The one line that it prints, to the one stream or the other."""
    done = run([*txgear(), "ping", *words])
    assert done.returncode == status, done
    [line] = (done.stderr if status else done.stdout).decode().splitlines()
    assert not (done.stdout if status else done.stderr)
    return line.removeprefix("txgear ping: ")


def test_alive(start_server: Servers, tmp_path: Path) -> None:
    path = tmp_path / "gear.sock"
    server = start_server("--listen=127.0.0.1", f"--listen=unix:{path}")
    place = f"127.0.0.1:{server.port}"
    assert ping(place).startswith(f"{place} answers, after ")
    for other in (f"tcp:{place}", f"unix:{path}", f"localhost:{server.port}"):
        assert ping(other).startswith(f"{other} answers, after ")
    server.pause()
    try:
        # The system accepts for it; nobody answers.
        assert ping("--timeout=0.4", place, status=1) == f"{place}: no answer within 0.4 seconds"
    finally:
        server.resume()
    assert ping(place)


def test_several(start_server: Servers) -> None:
    """Each has a line; one that does not answer is enough for the status. In JSON as well."""
    one, other, gone = f"127.0.0.1:{start_server().port}", f"127.0.0.1:{start_server().port}", free_port()
    done = run([*txgear(), "ping", one, f"127.0.0.1:{gone}", "--server", "127.0.0.1:1", other])
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.decode().splitlines()] == [one, other]
    assert done.stderr.decode() == f"txgear ping: 127.0.0.1:{gone}: Connection refused\n"
    done = run([*txgear(), "ping", "--json"], env={"TXGEAR_SERVER": f"{one} 127.0.0.1:{gone}"})
    first, second = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (1, b"")
    assert (first["server"], first["alive"], first["why"]) == (one, True, None)
    assert 0 < first["seconds"] < 5
    assert (second["alive"], second["seconds"], second["why"]) == (False, None, "Connection refused")


def test_no_twisted(start_server: Servers) -> None:
    """A health check that runs each second costs little."""
    code = "import sys, txgear.cli as c; c.main(sys.argv[1:]); print('twisted' in sys.modules)"
    done = run([sys.executable, "-c", code, "ping", f"127.0.0.1:{start_server().port}"])
    assert done.stdout.splitlines()[-1] == b"False"


def test_gearmand(programs: Programs) -> None:
    """Any Gearman server will do; but none of others is shown a token."""
    port = free_port()
    programs.start([requires("gearmand"), "-L", "127.0.0.1", "-p", str(port), "-l", "stderr"])
    place = f"127.0.0.1:{port}"
    wait_until(lambda: run([*txgear(), "ping", place]).returncode == 0, what="gearmand")
    path = programs.directory / "token"
    path.write_text(new_token())
    assert "option" in ping(place, f"--token-file={path}", status=1)


def test_not_alive(tmp_path: Path) -> None:
    assert "refused" in ping(f"127.0.0.1:{free_port()}", status=1)
    assert "No such file" in ping(f"unix:{tmp_path / 'none'}", status=1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = f"127.0.0.1:{other.getsockname()[1]}"
        assert ping("--timeout=0.3", place, status=1) == f"{place}: no answer within 0.3 seconds"


@pytest.mark.parametrize(
    "words", [["--timeout=soon"], ["127.0.0.1:0"], ["--timeout=0"], ["--tls-ca=/none"], ["-x"]]
)
def test_misused(words: list[str]) -> None:
    ping(*words, status=2)


def test_tls_and_tokens(programs: Programs, tmp_path: Path) -> None:
    """A certificate that nobody vouches for, and a token that does not count, are no answer."""
    _, authority = certificate(tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    token, other = new_token(), new_token()
    (tmp_path / "token").write_text(token)
    (tmp_path / "other").write_text(other)
    config = configured(tmp_path, f'[[identity]]\nname = "probe"\ntokens = ["{Token.of(token.encode())}"]\n')
    port = free_port()
    command = [
        *twistd(),
        "-n",
        "--pidfile=",
        "txgear",
        "--web=",
        "--store=memory:",
        f"--tls-listen=localhost:{port}",
    ]
    files = [f"--tls-cert={tmp_path / 'certificate.pem'}", f"--tls-key={tmp_path / 'key.pem'}"]
    server = programs.start([*command, *files, *config])
    server.comes_up()
    place, trusting = f"localhost:{port}", f"--tls-ca={tmp_path / 'ca.pem'}"
    assert ping(place, trusting)
    assert ping(place, trusting, f"--token-file={tmp_path / 'token'}")
    assert "did not let us in" in ping(place, trusting, f"--token-file={tmp_path / 'other'}", status=1)
    assert "certificate" in ping(place, "--tls", status=1)
    assert ping(place, "--timeout=1", status=1)
    assert token.encode() not in server.stdout
