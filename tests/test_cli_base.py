"""How commands ask servers: good ones by each way, others, and what is none."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from needs import requires
from processes import PATIENCE, Programs, Servers, free_port, run, txgear, wait_until
from txgear.cli.base.api import Api, path_of
from txgear.cli.base.places import Place, TLSFiles
from txgear.cli.base.statuses import MISUSED, UNREACHABLE, CommandError
from txgear.protocol.constants import EXTENSION_OPTION, OPTION_RES, SWITCHED_HTTP
from txgear.protocol.packets import response
from txgear.security.tokens import Token, new_token

SWITCHED = response(OPTION_RES, EXTENSION_OPTION) + response(SWITCHED_HTTP)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def info(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    return run([*txgear(), "info", *words], env=env)


@contextmanager
def answering(*answers: bytes, pause: float = 0.0, hangs_up: bool = True) -> Iterator[Place]:
    """
    Something that sends this to each connection in turn, whatever that says, a byte a time where it pauses.
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        over = threading.Event()

        def serve() -> None:
            with suppress(OSError):
                for answer in answers:
                    line, _ = listening.accept()
                    with line, suppress(OSError):
                        for piece in [answer] if not pause else (bytes([byte]) for byte in answer):
                            line.sendall(piece)
                            if over.wait(pause):
                                return
                        if hangs_up:
                            line.shutdown(socket.SHUT_WR)
                        # What it is sent is taken, or it would be a reset.
                        line.settimeout(PATIENCE)
                        while line.recv(65536):
                            pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Place("odd:1", "127.0.0.1", listening.getsockname()[1])
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)


def failure(place: Place, ask: Callable[[Api], object] | None = None, timeout: float = 0.5) -> CommandError:
    """What is told where a server cannot be asked."""
    api = Api(place, timeout=timeout)
    began = time.monotonic()
    with pytest.raises(CommandError) as raised:
        (ask or (lambda api: api.get(path_of("server"))))(api)
    api.close()
    assert time.monotonic() - began < 5 * timeout + 1
    assert "\n" not in raised.value.text
    return raised.value


def test_what_is_no_server() -> None:
    for answer, says in (
        (b"", "hung up"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP is spoken there, as at the web's port"),
        (b"\0RES" + b"\xff" * 8, "no Gearman server"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "no Gearman server"),
        (response(OPTION_RES, b"x"), "hung up"),
        (SWITCHED, "hung up"),
        (SWITCHED + b"nonsense" * 100 + b"\r\n\r\n", "is no HTTP"),
        (SWITCHED + HEAD + b"Content-Length: 5\r\n\r\n{}", "before the end of its answer"),
        (SWITCHED + HEAD + b"Content-Length: 5\r\n\r\n<b>hi", "no JSON"),
        (SWITCHED + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "before the end"),
        (SWITCHED + HEAD + b"X: " + b"x" * 70_000 + b"\r\n\r\n", "is no HTTP"),
    ):
        with answering(answer) as place:
            error = failure(place)
            assert (error.status, error.text.startswith("odd:1: ")) == (UNREACHABLE, True), error.text
            assert says in error.text, (answer[:60], error.text)
    with answering(SWITCHED + b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\n<b>x") as place:
        assert failure(place).text == "500 Oops"


def test_what_never_answers() -> None:
    """Or only a byte now and then: it takes no longer than that."""
    slow = {"pause": 0.2, "hangs_up": False}
    for answer, how in (
        (b"", {"hangs_up": False}),
        (SWITCHED, {"hangs_up": False}),
        (SWITCHED + HEAD + b"Content-Length: 5\r\n\r\n", {"hangs_up": False}),
        (SWITCHED, slow),
    ):
        with answering(answer, **how) as place:
            assert failure(place).text == "odd:1: it does not answer in time"
    # A header, and a body, byte by byte.
    with answering(SWITCHED + HEAD + b"Content-Length: 90000\r\n\r\n" + b" " * 90_000, pause=0.02) as place:
        assert failure(place, timeout=2.0).text == "odd:1: it does not answer in time"


def test_large_answers_take_their_time() -> None:
    """As many bytes as come."""
    body = b'{"x": "' + b"x" * 60_000 + b'"}'
    answer = SWITCHED + HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    pieces = [answer] + [body[at : at + 3000] for at in range(0, len(body), 3000)]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve() -> None:
            line, _ = listening.accept()
            with line:
                for piece in pieces:
                    line.sendall(piece)
                    time.sleep(0.05)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        api = Api(Place("slow", "127.0.0.1", listening.getsockname()[1]), timeout=0.4)
        with closing(api):
            assert len(api.get("/x")["x"]) == 60_000
        thread.join(PATIENCE)


def test_a_connection_that_the_server_has_ended() -> None:
    """What only reads is asked again; and what is to change something, where it surely has not come."""
    answer = SWITCHED + HEAD + b"Content-Length: 2\r\n\r\n{}"
    with answering(answer, answer, answer) as place:
        api = Api(place, timeout=PATIENCE)
        assert api.get("/x") == {}
        wait_until(api._connection.is_left)
        assert api.send("POST", "/x") == {}
        wait_until(api._connection.is_left)
        assert api.get("/x") == {}
        api.close()


def test_one_that_was_not_read_to_its_end() -> None:
    answer = SWITCHED + HEAD + b"Content-Length: 100\r\n\r\nx"
    whole = SWITCHED + HEAD + b"Content-Length: 2\r\n\r\n{}"
    with answering(answer, whole, hangs_up=True) as place:
        api = Api(place, timeout=PATIENCE)
        assert next(api.open("/x").pieces()) == b"x"
        assert api.get("/x") == {}
        api.close()


def test_a_body_that_is_not_wanted(start_server: Servers) -> None:
    """The server says why before it has read all of it."""
    server = start_server("--max-packet", "100000")
    api = Api(Place("server", "127.0.0.1", server.port))
    error = failure(
        Place("server", "127.0.0.1", server.port),
        lambda api: api.send(
            "POST", path_of("functions", "f", "jobs"), {"background": True}, b"x" * 20_000_000
        ),
        timeout=10.0,
    )
    assert "100000" in error.text.replace(",", ""), error.text
    api.close()


def test_several_servers(start_server: Servers, tmp_path: Path) -> None:
    path = tmp_path / "gear.sock"
    one = start_server("--listen", f"unix:{path}", "--listen", "127.0.0.1")
    two = start_server()
    names = [f"unix:{path}", f"127.0.0.1:{two.port}"]
    done = info("--json", *(word for name in names for word in ("--server", name)))
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line)["server"] for line in done.stdout.splitlines()] == names
    done = info("--json", env={"TXGEAR_SERVER": f"127.0.0.1:{one.port},127.0.0.1:{two.port}"})
    assert len(done.stdout.splitlines()) == 2
    # One of them is away.
    for command in ("jobs", "info"):
        done = run([*txgear(), command, "--server", names[1], "--server", f"127.0.0.1:{free_port()}"])
        assert (done.returncode, done.stderr.count(b"\n")) == (3, 1), done
    assert b"Connection refused" in done.stderr


def test_misuse(tmp_path: Path) -> None:
    """A line, and status 2; nobody is asked."""
    empty, folder = tmp_path / "empty", tmp_path / "folder"
    empty.write_text("")
    folder.mkdir()
    for words, says in (
        (("--server", "host:99999"), "is no server"),
        (("--server", "ssl:host:1"), "ssl: is none of"),
        (("--server", "4730"), "127.0.0.1:4730"),
        (("--server", "unix:/x", "--tls"), "--tls-name"),
        (("--timeout", "0"), "--timeout"),
        (("--timeout", "soon"), "--timeout"),
        (("--token-file", str(empty)), "no token"),
        (("--token-file", str(tmp_path / "none")), "No such file"),
        (("--tls-key", str(empty)), "--tls-cert"),
        (("--tls-ca", str(tmp_path / "none")), "no such file"),
        (("--tls-ca", str(empty)), "cannot use the authorities"),
        (("--tls-ca", str(folder)), "there is no certificate"),
        (("--tls-cert", str(empty)), "cannot use the certificate"),
        (("--what",), "--what"),
    ):
        done = info(*words)
        assert (done.returncode, done.stdout) == (2, b""), words
        assert done.stderr.count(b"\n") == 1, done.stderr
        assert says.encode() in done.stderr, (words, done.stderr)


def test_tls_and_tokens(start_server: Servers, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    folder = tmp_path / "authorities"
    folder.mkdir()
    authority.cert_pem.write_to_path(str(folder / "ours.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "others.pem"))
    secret, other = new_token(), new_token()
    token = Token.of(secret.encode())
    assert token is not None
    for name, value in (("token", secret), ("other", other)):
        (tmp_path / name).write_text(value + "\n")
    config = tmp_path / "txgear.toml"
    config.write_text(
        f'[[identity]]\nname = "ops"\ntokens = ["{token}"]\n'
        '[[access]]\nidentities = ["ops"]\nallow = ["all"]\n'
    )
    port = free_port()
    start_server(
        *("--listen", "127.0.0.1", "--tls-listen", f"127.0.0.1:{port}", "--config", str(config)),
        *("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")),
    )
    server = ("--server", f"127.0.0.1:{port}")
    trusted = (*server, "--tls-ca", str(folder))
    done = info(*trusted, "--token-file", str(tmp_path / "token"), "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["connections"] == 1
    for words, status, says in (
        (trusted, 4, "Not allowed: http"),
        ((*trusted, "--token-file", str(tmp_path / "other")), 4, ""),
        ((*trusted, "--tls-name", "elsewhere.example"), 3, "elsewhere.example"),
        ((*server, "--tls", "--token-file", str(tmp_path / "token")), 3, "certificate"),
        ((*server, "--token-file", str(tmp_path / "token")), 3, ""),
    ):
        done = info(*words)
        assert (done.returncode, done.stdout) == (status, b""), (words, done.stderr)
        assert done.stderr.count(b"\n") == 1, done.stderr
        assert says in done.stderr.decode(), (words, done.stderr)
        assert secret not in done.stderr.decode()
    # A key with a passphrase: nobody is asked for that.
    locked = tmp_path / "locked.pem"
    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    how = BestAvailableEncryption(b"secret")
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    done = info(*trusted, "--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(locked))
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"passphrase" in done.stderr
    # And a certificate without a key.
    files = TLSFiles(ca=str(folder), certificate=str(folder / "ours.pem"))
    assert failure(Place("tls", "127.0.0.1", port, tls=files)).status == MISUSED


def test_gearmand(programs: Programs) -> None:
    """It is no txgear, and that is what is said."""
    gearmand = requires("gearmand")
    port = free_port()
    programs.start([gearmand, "-p", str(port), "-L", "127.0.0.1", "-l", "stderr"], name="gearmand")

    def answers() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    wait_until(answers)
    for words in (["info"], ["jobs"]):
        done = run([*txgear(), *words, "--server", f"127.0.0.1:{port}"])
        assert (done.returncode, done.stdout) == (3, b"")
        assert done.stderr.count(b"\n") == 1
        assert b"is a Gearman server, but no txgear" in done.stderr, done.stderr


def test_interrupted() -> None:
    with answering(b"", hangs_up=False) as place:
        command = [*txgear(), "info", "--server", f"127.0.0.1:{place.port}", "--timeout", "60"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: _waits(process.pid), what="it waits for an answer")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err.strip()) == (130, b"", b"txgear info: interrupted")


def _waits(pid: int) -> bool:
    """Whether a process waits in the system, and has a connection."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "S" and any(link.startswith("socket:") for link in links)


def test_module() -> None:
    """C{python -m txgear} is the same."""
    done = run([sys.executable, "-m", "txgear", "info", "--server", f"127.0.0.1:{free_port()}"])
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
