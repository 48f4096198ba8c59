"""txgear's own client and worker at servers with TLS, and with tokens."""

from __future__ import annotations

import json
import re
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from operating import configured
from processes import Programs, Servers, free_port, run, txgear, wait_until
from txgear.security.tokens import Token, new_token
from wirepeer import P

PROGRAM: Final = Path(__file__).parent / "programs" / "outcomes.py"
HOWTO: Final = Path(__file__).parent.parent / "docs" / "howto"

pytestmark = pytest.mark.txgear_only


class Files:
    """Authorities and certificates in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self.stranger = trustme.CA(), trustme.CA()
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.stranger.cert_pem.write_to_path(str(folder / "stranger.pem"))

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    def issue(self, name: str, *hosts: str, by: trustme.CA | None = None, **how: Any) -> str:
        """A certificate with its key and its chain, in one file; the file's path."""
        issued = (by or self.authority).issue_cert(*hosts, **how)
        issued.private_key_and_cert_chain_pem.write_to_path(self[name])
        return self[name]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def outcomes(*clients: tuple[str, str, dict[str, Any]], env: dict[str, str] | None = None) -> list[str]:
    """What each of these clients gets for its job; their log has nothing of a token."""
    given = "\n".join(json.dumps(client) for client in clients)
    done = run([sys.executable, PROGRAM], stdin=given.encode(), env=env)
    assert done.returncode == 0, done.stderr.decode()
    for _, _, arguments in clients:
        if token := arguments.get("token"):
            assert secret(token) not in done.stdout + done.stderr
    return done.stdout.decode().splitlines()


def secret(token: str) -> bytes:
    return token.split("_", 2)[2].encode()


# TLS


def test_servers_that_are_right_or_wrong(start_server: Servers, files: Files, function: str) -> None:
    """A job is taken by the server that it is meant for, and no other is told anything."""
    good, expired, other = (free_port() for _ in range(3))
    pem = files.issue("good.pem", "localhost", "127.0.0.1")
    old = files.issue("old.pem", "localhost", not_after=datetime(2020, 1, 1))
    strange = files.issue("strange.pem", "gear.example")
    server = start_server(
        "--listen=127.0.0.1",
        *(
            f"--listen=ssl:{port}:interface=127.0.0.1:privateKey={path}:certKey={path}"
            for port, path in ((good, pem), (expired, old), (other, strange))
        ),
    )
    ca = {"ca": files["ca.pem"]}
    done: list[tuple[str, Any]] = [
        (f"localhost:{good}", ca),
        (f"127.0.0.1:{good}", ca),
        (f"127.0.0.1:{other}", {**ca, "name": "gear.example"}),
        (f"tls:localhost:{good}:trustRoots={files['ca.pem']}", False),
    ]
    unknown = "it has a certificate whose authority is not among those that are trusted"
    failed: list[tuple[str, Any, str]] = [
        (f"localhost:{other}", ca, "it has a certificate that is not for localhost"),
        (f"127.0.0.1:{expired}", ca, "it has a certificate that has expired"),
        (f"127.0.0.1:{other}", ca, "it has a certificate that is not for 127.0.0.1"),
        (f"localhost:{good}", {**ca, "name": "localhost.example"}, "that is not for localhost.example"),
        (f"localhost:{good}", {"ca": files["stranger.pem"]}, unknown),
        (f"localhost:{good}", True, unknown),
        (f"tls:localhost:{good}", False, unknown),
        (f"localhost:{server.port}", ca, "it does not speak TLS"),
        (f"localhost:{good}", False, "Connection"),
    ]
    clients = [*done, *((name, tls) for name, tls, _ in failed)]
    found = outcomes(*((name, function, {"tls": tls}) for name, tls in clients))
    assert found[: len(done)] == ["known"] * len(done)
    for said, (name, _, words) in zip(found[len(done) :], failed, strict=True):
        assert said.startswith("NotConnected: no server could be reached within 2 seconds; "), said
        assert name in said
        assert words in said
    server.wait_for_total(function, len(done))


def test_the_system_trusts(start_server: Servers, files: Files, function: str) -> None:
    """Without a file of authorities those count that OpenSSL knows."""
    port = free_port()
    pem = files.issue("good.pem", "localhost")
    start_server(
        "--listen=127.0.0.1", f"--listen=ssl:{port}:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    )
    trusted = {"SSL_CERT_FILE": files["ca.pem"]}
    assert outcomes((f"localhost:{port}", function, {"tls": True}), env=trusted) == ["known"]


def test_our_certificate(start_server: Servers, files: Files, function: str) -> None:
    """A server that wants one takes the right one, with its chain; what it says of another is told."""
    port = free_port()
    pem = files.issue("good.pem", "localhost")
    start_server(
        "--listen=127.0.0.1",
        f"--tls-listen=127.0.0.1:{port}",
        *(f"--tls-cert={pem}", f"--tls-key={pem}", f"--tls-ca={files['ca.pem']}", "--tls-client=require"),
    )
    me = files.issue("me.pem", "me.example", by=files.authority.create_child_ca())
    strange = files.issue("strange.pem", "me.example", by=files.stranger)
    old = files.issue("old.pem", "me.example", not_after=datetime(2020, 1, 1))
    shown = [
        {"certificate": me},
        {"certificate": me, "key": me},
        {},
        {"certificate": strange},
        {"certificate": old},
    ]
    clients = [(f"localhost:{port}", function, {"tls": {"ca": files["ca.pem"], **mine}}) for mine in shown]
    good, with_key, without, *wrong = outcomes(*clients)
    assert (good, with_key) == ("known", "known")
    # With TLS 1.3 that comes when the client has sent more already, and may be lost when the server hangs up.
    for said in (without, *wrong):
        assert "certificate of this side" in said


# Tokens

RULES: Final = """
[[identity]]
name = "web"
tokens = ["{web}"]

[[identity]]
name = "workers"
tokens = ["{workers}"]

[[access]]
identities = ["web"]
allow = ["submit", "see"]
functions = ["{function}"]

[[access]]
identities = ["workers"]
allow = ["work"]
functions = ["{function}"]

[[function]]
name = "{function}"
results = "1h"
"""


class Guarded:
    """
    A server with rules, and two tokens.

    @ivar web: submits to one function.
    @ivar workers: works for it.
    """

    def __init__(self, start_server: Servers, folder: Path, function: str) -> None:
        self.web, self.workers = new_token(), new_token()
        stored = {name: str(Token.of(getattr(self, name).encode())) for name in ("web", "workers")}
        self.rules = RULES.format(function=function, **stored)
        options = configured(folder, self.rules)
        self.file = Path(options[-1])
        self.server = start_server(*options)
        self.address = f"127.0.0.1:{self.server.port}"

    def tells_no_secret(self) -> None:
        for token in (self.web, self.workers):
            assert secret(token) not in self.server.stdout + self.server.stderr


@pytest.fixture
def guarded(start_server: Servers, tmp_path: Path, function: str) -> Guarded:
    return Guarded(start_server, tmp_path, function)


def test_tokens(guarded: Guarded, function: str) -> None:
    """With the right one what is allowed is done, and all else is refused, by name."""
    allowed, other, wrong, none = outcomes(
        (guarded.address, function, {"token": guarded.web}),
        (guarded.address, function + "x", {"token": guarded.web}),
        (guarded.address, function, {"token": new_token()}),
        (guarded.address, function, {}),
    )
    assert allowed == "known"
    assert other == f"AccessDenied: ACCESS_DENIED: Not allowed: submit {function}x"
    assert wrong == "AccessDenied: ACCESS_DENIED: This token is not known"
    assert none.startswith("AccessDenied: ACCESS_DENIED: Not allowed: ")
    guarded.tells_no_secret()


WORKER: Final = """
import sys
from twisted.internet.task import react
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver
from txgear import Worker

async def main(reactor, server, token, *functions):
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    worker = Worker(reactor, server, token=token)
    for name in functions:
        worker.register(name, lambda job: job.workload[::-1])
    worker.startService()
    await Deferred()

react(main, sys.argv[1:])
"""


def test_a_worker_that_may_not_do_everything(
    guarded: Guarded, programs: Programs, function: str, names: Any
) -> None:
    """It is told, and does the rest; until it is not known any more."""
    other = names("other")
    worker = programs.start(
        [sys.executable, "-c", WORKER, guarded.address, guarded.workers, other, function], name="worker"
    )
    wait_until(lambda: b"1 function\n" in worker.stderr, what="the worker")
    said = f"does not let this worker work: ACCESS_DENIED: Not allowed: work {other}"
    assert said in worker.stderr.decode()
    assert secret(guarded.workers) not in worker.stderr
    with guarded.server.connect() as client:
        client.send(P.SET_CLIENT_ID, f"token={guarded.web};reporter".encode())
        handle = client.submit(function.encode(), b"abc")
        client.expect(P.WORK_COMPLETE, handle, b"cba")
    # Whoever may submit a job need not be one who may read its result. It is kept, as the job may have ended.
    (refused,) = outcomes((guarded.address, function, {"token": guarded.web, "fetch": True}))
    assert refused == f"AccessDenied: ACCESS_DENIED: Not allowed: read {function}"
    guarded.file.write_text(re.sub(r'name = "workers"\ntokens = .*', 'name = "workers"', guarded.rules))
    guarded.server.signal(signal.SIGHUP)
    wait_until(lambda: b"Not known any more: log in again" in worker.stderr, what="the end")
    wait_until(lambda: b"did not let us in: ACCESS_DENIED: This token" in worker.stderr, what="the refusal")
    assert secret(guarded.workers) not in worker.stderr
    guarded.tells_no_secret()


def test_a_token_through_a_trace(guarded: Guarded, programs: Programs, function: str) -> None:
    """Whoever looks sees that somebody logs in, and not with what."""
    trace = programs.start([*txgear(), "trace", "--listen", "127.0.0.1:0", guarded.address], name="trace")
    found = wait_until(lambda: re.findall(rb"listening on (127\.0\.0\.1:\d+), for", trace.stderr))
    assert outcomes((found[0].decode(), function, {"token": guarded.web})) == ["known"]
    name = guarded.web.split("_")[1]
    wait_until(lambda: f"-> LOGIN txg_{name}_...\n".encode() in trace.stdout, what="the log-in")
    assert b"<- LOGGED_IN web\n" in trace.stdout
    assert secret(guarded.web) not in trace.stdout + trace.stderr


# The pages


def code(page: str, folder: Path, port: int) -> str:
    """The page's code with TLS, for this folder and a server at this port."""
    found = re.findall(r"^```python\n(.*?)^```$", (HOWTO / page).read_text(), re.M | re.S)
    text = "\n".join(block for block in found if "/etc/gear" in block)
    text = text.replace("/etc/gear", str(folder))
    return re.sub(r"gear\d\.example:4731", f"localhost:{port}", text)


CLIENT: Final = """
from twisted.internet.task import react
from txgear import Client

async def main(reactor):
    for make in (over_tls, with_a_token):
        client = make(reactor)
        print(await client.run("reverse", b"abc"))
        await client.close()

react(main)
"""

WORKING: Final = """
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from txgear import Worker

async def main(reactor):
    worker = over_tls(reactor)
    worker.register("reverse", lambda job: job.workload[::-1])
    worker.startService()
    await Deferred()

react(main)
"""


def test_pages(start_server: Servers, programs: Programs, files: Files) -> None:
    """What the pages of client and worker show does what they say."""
    port = free_port()
    pem, token = files.issue("good.pem", "localhost"), new_token()
    me = files.authority.issue_cert("me.example")
    me.cert_chain_pems[0].write_to_path(files["me.pem"])
    me.private_key_pem.write_to_path(files["me.key"])
    (files.folder / "token").write_text(token + "\n")
    config = f'[[identity]]\nname = "web"\ntokens = ["{Token.of(token.encode())}"]\n'
    server = start_server(
        *("--listen=127.0.0.1", f"--tls-listen=127.0.0.1:{port}", f"--tls-cert={pem}", f"--tls-key={pem}"),
        *(f"--tls-ca={files['ca.pem']}", "--tls-client=ask", *configured(files.folder, config)),
    )
    programs.start([sys.executable, "-c", code("worker.md", files.folder, port) + WORKING], name="worker")
    server.wait_for_workers("reverse")
    client = [sys.executable, "-c", code("client.md", files.folder, port) + CLIENT]
    done = run(client, env={"SSL_CERT_FILE": files["ca.pem"]})
    assert done.stdout == b"b'cba'\nb'cba'\n", done.stderr.decode()
