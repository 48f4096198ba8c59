"""Ports with TLS: a real server, and Python's own TLS on the other side."""

from __future__ import annotations

import datetime
import http.client
import os
import re
import shlex
import signal
import socket
import ssl
import warnings
from pathlib import Path
from typing import Final

import pytest
import trustme

from needs import requires
from processes import (
    PATIENCE,
    Programs,
    Server,
    Servers,
    free_port,
    listening,
    run,
    twistd,
    txgear,
    wait_until,
)
from startup import assert_one_line
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

PAST: Final = datetime.datetime(2020, 1, 1)
PAGE: Final = Path(__file__).parent.parent / "docs" / "howto" / "tls.md"


class Authority:
    """Signs for the server and its peers; its files lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.renew("localhost")

    def renew(self, *names: str, cert: str = "cert.pem", key: str = "key.pem", until: object = None) -> None:
        """Write another certificate of the server, and its key."""
        issued = self.ca.issue_cert(*names, not_after=until)  # type: ignore[arg-type]
        for blob, name in ((issued.private_key_pem, key), (issued.cert_chain_pems[0], cert)):
            # As careful programs do it: whole, in the old one's place.
            blob.write_to_path(str(self.folder / f"{name}.new"))
            os.replace(self.folder / f"{name}.new", self.folder / name)

    def options(self, client: str | None = None) -> list[str]:
        """The server's options."""
        words = [f"--tls-{name}={self.folder / name}.pem" for name in ("cert", "key")]
        return words + ([f"--tls-ca={self.folder}/ca.pem", f"--tls-client={client}"] if client else [])

    def client(self, issued: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """A client's settings, with this certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if issued is not None:
            issued.configure_cert(context)
        return context

    def good(self) -> ssl.SSLContext:
        """The settings of a client with a certificate that is in order."""
        return self.client(self.ca.issue_cert("client.example"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "tls"
    folder.mkdir()
    return Authority(folder)


def counts(server: Server) -> dict[str, str]:
    """What `settings` says of TLS."""
    return {name: value for name, value in server.list("settings") if name.startswith("tls_")}


def served(port: int, context: ssl.SSLContext) -> str:
    """Whose certificate a new connection is shown."""
    context.check_hostname = False
    with WirePeer(port, tls=context) as peer:
        shown = peer._socket.getpeercert()  # type: ignore[attr-defined]
        return str(shown["subjectAltName"][0][1])


def refused(port: int, context: ssl.SSLContext) -> str:
    """Why a handshake fails, as the client is told."""

    def connect() -> None:
        with WirePeer(port, tls=context) as peer:
            # With TLS 1.3 a client only hears when it reads.
            peer.read_until(b"\n")

    with pytest.raises(ssl.SSLError) as caught:
        connect()
    return str(caught.value.reason)


def test_versions_and_certificates(start_server: Servers, authority: Authority) -> None:
    """Who has a good certificate gets in, with TLS 1.2 and 1.3, by IPv4 and IPv6; nobody else does."""
    port = free_port()
    places = [f"--tls-listen=127.0.0.1:{port}", f"--tls-listen=[::1]:{port}"]
    server = start_server("--listen=127.0.0.1", *places, *authority.options("require"))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for host in ("127.0.0.1", "::1"):
            context = authority.good()
            context.minimum_version = context.maximum_version = version
            with WirePeer(port, host, tls=context) as peer:
                assert [row for row in peer.ask_list("workers") if row.endswith(f" {host} - :")]
                assert peer.sync() == []
    old = authority.good()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    assert refused(port, old) == "TLSV1_ALERT_PROTOCOL_VERSION"
    issue = authority.ca.issue_cert
    assert refused(port, authority.client()) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert refused(port, authority.client(issue("x", not_after=PAST))) == "SSLV3_ALERT_CERTIFICATE_EXPIRED"
    assert refused(port, authority.client(trustme.CA().issue_cert("x"))) == "TLSV1_ALERT_UNKNOWN_CA"
    for plain in (b"status\n", b"\0REQ\0\0\0\x10\0\0\0\1x", b"GET / HTTP/1.1\r\n\r\n"):
        with WirePeer(port) as peer:
            peer.send_raw(plain)
            assert b"OK" not in peer.read_to_end()
    found = counts(server)
    assert (found["tls_handshakes"], found["tls_failed"], found["tls_stalled"]) == ("4", "7", "0")
    assert (found["tls_certificate"], found["tls_client"]) == ("localhost", "require")
    said = server.said().decode()
    for why in (
        "unsupported protocol",
        "peer did not return a certificate",
        "its certificate has expired",
        "its certificate's authority is not in --tls-ca",
        "it speaks no TLS",
    ):
        assert f"its TLS handshake has failed: {why}" in said


def test_ask(start_server: Servers, authority: Authority) -> None:
    """One may have no certificate; but one that is shown must be good."""
    port = free_port()
    start_server("--listen=127.0.0.1", f"--tls-listen=127.0.0.1:{port}", *authority.options("ask"))
    for context in (authority.client(), authority.good()):
        with WirePeer(port, tls=context) as peer:
            assert peer.sync() == []
    expired = authority.client(authority.ca.issue_cert("x", not_after=PAST))
    assert refused(port, expired) == "SSLV3_ALERT_CERTIFICATE_EXPIRED"


def test_renewal(start_server: Servers, authority: Authority) -> None:
    """HUP has new files taken up; connections go on; bad files change nothing, and are one line each."""
    port = free_port()
    server = start_server("--listen=127.0.0.1", f"--tls-listen=127.0.0.1:{port}", *authority.options())
    before = WirePeer(port, tls=authority.client())

    def hang_up(said: str) -> None:
        count = server.said().decode().count(said)
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.said().decode().count(said) == count + 1, what=said)

    authority.renew("new.example")
    assert served(port, authority.client()) == "localhost"
    hang_up("read again: the certificate of new.example")
    assert served(port, authority.client()) == "new.example"
    assert before.sync() == []
    authority.renew("newer.example", key="newer.key")
    hang_up("is not the key of the first certificate in")
    (authority.folder / "cert.pem").write_bytes(b"")
    hang_up("there is no certificate in")
    authority.renew("old.example", until=PAST)
    hang_up("has expired; TLS stays as it was")
    assert served(port, authority.client()) == "new.example"
    authority.renew("newest.example")
    hang_up("read again: the certificate of newest.example")
    assert served(port, authority.client()) == "newest.example"
    assert before.sync() == []
    before.close()


def test_only_tls(programs: Programs, authority: Authority) -> None:
    """With --tls-listen alone nothing is open but that."""
    port, over_http = free_port(), free_port()
    words = [f"--tls-listen=127.0.0.1:{port}", "--protocol=http", f"--http-tls-port={over_http}"]
    server = programs.start(
        [*twistd(), "-n", "--pidfile=", "txgear", "--web=", "--store=memory:", *words, *authority.options()]
    )
    server.comes_up()
    assert listening(server.pid) == {("127.0.0.1", port), ("127.0.0.1", over_http)}
    with WirePeer(port, tls=authority.client()) as peer:
        assert peer.sync() == []
    assert server.stop() == 0


def test_http(start_server: Servers, authority: Authority) -> None:
    """A job over HTTP over TLS, its connection kept; who shows no certificate gets nothing."""
    port = free_port()
    server = start_server(
        "--listen=127.0.0.1",
        *("--protocol=http", "--http-port=0", f"--http-tls-port={port}"),
        *authority.options("require"),
    )
    with WirePeer(server.port) as worker:
        worker.can_do(b"reverse")
        client = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=authority.good())
        for body in (b"abc", bytes(range(256)) * 20_000):
            client.request("POST", "/reverse", body, {"X-Gearman-Unique": ""})
            job = worker.grab_soon()
            worker.send(P.WORK_COMPLETE, job.handle, job.workload[::-1])
            assert client.getresponse().read() == body[::-1]
        client.close()
    stranger = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=authority.client())

    def ask() -> None:
        stranger.request("HEAD", "/reverse")
        stranger.getresponse()

    with pytest.raises(ssl.SSLError):
        ask()
    stranger.close()


def test_large_jobs(start_server: Servers, authority: Authority) -> None:
    """Workloads and results of many records, to a client that is slow to read them."""
    port = free_port()
    start_server("--listen=127.0.0.1", f"--tls-listen=127.0.0.1:{port}", *authority.options())
    context = authority.client()
    body = os.urandom(2 << 20)
    with (
        WirePeer(port, tls=context, timeout=PATIENCE) as worker,
        WirePeer(port, tls=context, timeout=PATIENCE) as client,
    ):
        worker.can_do(b"f")
        handles = [client.submit(b"f", body, b"u%d" % number) for number in range(3)]
        for handle in handles:
            job = worker.grab_soon()
            assert (job.handle, job.workload) == (handle, body)
            worker.send(P.WORK_COMPLETE, handle, body)
        assert worker.sync() == []
        for handle in handles:
            client.expect(P.WORK_COMPLETE, handle, body)


def test_cut_and_replayed(start_server: Servers, authority: Authority) -> None:
    """Half a packet before the connection is cut does nothing, and what was recorded opens no other one."""
    port = free_port()
    server = start_server("--listen=127.0.0.1", f"--tls-listen=127.0.0.1:{port}", *authority.options())
    context = authority.client()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    recorded = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:

        def send() -> None:
            nonlocal recorded
            data = outgoing.read()
            recorded += data
            plain.sendall(data)

        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                send()
                incoming.write(plain.recv(65536))
            else:
                break
        body = b"f\0u\0workload"
        packet = b"\0REQ\0\0\0\x12" + len(body).to_bytes(4, "big") + body
        tls.write(packet)
        send()
        server.wait_for_total("f", 1)
        tls.write(packet.replace(b"f\0u", b"g\0u"))
        last = outgoing.read()
        # The record is cut before its end, and there is no word of a good-bye.
        plain.sendall(last[:-1])
    with WirePeer(port) as peer:
        peer.send_raw(recorded)
        peer.read_to_end()
    wait_until(lambda: counts(server)["tls_failed"] == "1", what="a handshake that fails")
    assert server.status("f") == (1, 0, 0)
    assert server.unused("g")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls-cert=none.pem", "--tls-key=key.pem"], ["--tls-cert", "none.pem: No such file"]),
        (["--tls-cert=cert.pem", "--tls-key=none.pem"], ["--tls-key", "none.pem: No such file"]),
        (["--tls-cert=.", "--tls-key=key.pem"], ["--tls-cert", "is no file"]),
        (["--tls-cert=cert.pem", "--tls-key=other.pem"], ["--tls-key", "other.pem is not the key"]),
        (["--tls-cert=cert.pem", "--tls-key=cert.pem"], ["--tls-key", "no private key in"]),
        (["--tls-cert=cert.pem"], ["--tls-listen: --tls-key is wanted"]),
        (["--tls-cert=cert.pem", "--tls-key=key.pem", "--tls-client=ask"], ["--tls-ca is wanted"]),
        (["--tls-cert=cert.pem", "--tls-key=key.pem", "--tls-ca=ca.pem"], ["without --tls-client"]),
        (
            ["--tls-cert=cert.pem", "--tls-key=key.pem", "--tls-ca=key.pem", "--tls-client=ask"],
            ["--tls-ca", "no certificate in"],
        ),
        (["--tls-cert=cert.pem", "--tls-key=key.pem", "--tls-listen=::1"], ["[::1]:4731"]),
    ],
)
def test_mistakes(authority: Authority, options: list[str], words: list[str]) -> None:
    """Nothing is started, and one line says why."""
    authority.renew("localhost", key="other.pem", cert="other.cert")
    command = [*twistd(), "-n", "--pidfile=", "--logfile=/dev/null", "txgear", "--store=memory:"]
    done = run([*command, f"--tls-listen=127.0.0.1:{free_port()}", *options], cwd=authority.folder)
    assert_one_line(done, *words)
    assert done.returncode == 1


def test_gearmand(programs: Programs, authority: Authority) -> None:
    """gearmand's options: the port itself speaks TLS, and no other is open; --check-args looks at files."""
    port = free_port()
    folder = authority.folder
    words = [*txgear(), "gearmand", "-q", "builtin", "-p", str(port), "-l", str(folder / "log")]
    words += ["--ssl", f"--ssl-certificate={folder}/cert.pem", f"--ssl-ca-file={folder}/ca.pem"]
    program = programs.start([*words, f"--ssl-key={folder}/key.pem", "--verbose=INFO"], name="gearmand")
    log = folder / "log"
    wait_until(lambda: log.exists() and "is ready" in log.read_text(), what="a server")
    assert listening(program.pid) == {("0.0.0.0", port), ("::", port)}
    for host in ("127.0.0.1", "::1"):
        with WirePeer(port, host, tls=authority.client()) as peer:
            assert peer.ask("version").startswith(b"OK ")
    with WirePeer(port) as plain:
        plain.send_raw(b"version\n")
        assert b"OK" not in plain.read_to_end()
    assert "--ssl-ca-file without --tls-client has no meaning here" in log.read_text()
    assert program.stop() == 0
    environment = {"GEARMAND_SERVER_KEY": str(folder / "key.pem")}
    assert run([*words, "--check-args"], env=environment).returncode == 0
    assert_one_line(run([*words, "--check-args"]), "--ssl-key is wanted")
    assert_one_line(run([*words, "--check-args", f"--ssl-key={folder}/ca.pem"]), "no private key in")


# The page about it


def blocks(language: str) -> list[str]:
    """The page's examples in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_page(programs: Programs, tmp_path: Path) -> None:
    """Its commands make certificates, start a server with them, and reach it."""
    requires("openssl")
    *making, starting = blocks("sh")
    for text in making:
        done = run(["bash", "-euc", text], cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
    port = free_port()
    twisted, *words = shlex.split(starting.replace("4731", str(port)).replace("\\\n", ""))
    assert twisted == "twistd"
    for path in tmp_path.glob("*.pem"):
        assert path.stat().st_size
    server = programs.start([*twistd(), *words], env={"STATE_DIRECTORY": str(tmp_path)})
    server.comes_up()
    asking, over_http = blocks("console")
    command = asking.replace("4731", str(port)).rpartition("\nOK ")[0]
    # One that stays until it has the answer: the page's is at a terminal.
    command = command.removeprefix("$ ").replace("printf 'version\\n'", "(printf 'version\\n'; sleep 1)")
    done = run(["bash", "-c", command], cwd=tmp_path)
    assert done.stdout.startswith(b"OK "), done.stderr.decode()
    assert over_http.startswith("$ curl --cacert ca.pem --cert web.pem --key web.key ")
    assert server.stop() == 0
