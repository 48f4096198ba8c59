"""The proxies of examples/deploy, run in front of a real server: a request, a stream of events, TLS."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import trustme

from needs import lacks, requires
from processes import PATIENCE, Program, Programs, free_port, run, twistd, wait_until
from startup import accepts
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only

DEPLOY: Final = Path(__file__).parent.parent / "examples" / "deploy"
NAME: Final = "gear.example"

#: Where Debian has nginx's module for what is not HTTP.
STREAM: Final = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


class Site:
    """A server, the certificate of the proxy before it, and the ports of both.

    @ivar gear: the server's port of the Gearman protocol, and C{web} of its web.
    @ivar gear_tls: the proxy's port of the Gearman protocol, and C{web_tls} of the web.
    """

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.gear, self.web, self.gear_tls, self.web_tls = (free_port() for _ in range(4))
        self.unix = folder / "gear.sock"
        self.authority = trustme.CA()
        issued = self.authority.issue_cert(NAME)
        issued.private_key_pem.write_to_path(str(folder / "gear.example.key"))
        issued.cert_chain_pems[0].write_to_path(str(folder / "gear.example.pem"))
        issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "gear.example.both.pem"))

    def serve(self, *options: str) -> None:
        """Start the server with the options that the file asks for."""
        words = ["-n", "--pidfile=", "txgear", "--store=memory:", f"--port={self.gear}", "--listen=127.0.0.1"]
        named = [f"--listen=unix:{self.unix}", f"--web=127.0.0.1:{self.web}", f"--web-host={NAME}"]
        server = self.programs.start([*twistd(), *words, *named, *options], name="server")
        server.comes_up()

    def file(self, name: str, *changes: tuple[str, str]) -> str:
        """A file of the examples, with this site's ports and files in it."""
        text = (DEPLOY / name).read_text()
        new = {"/etc/ssl/private/": f"{self.folder}/", **dict(changes)}
        for old in new:
            assert old in text, old
        # All at once: what is put in may look like what is to be replaced.
        return re.sub("|".join(map(re.escape, new)), lambda match: new[match[0]], text)

    def start(self, command: list[str | Path], port: int) -> Program:
        """Start the proxy."""
        home = {
            "HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
        }
        proxy = self.programs.start(command, env=home, name="proxy")
        wait_until(lambda: accepts("127.0.0.1", port) or not proxy.running, what="the proxy")
        assert proxy.running, proxy.log()
        return proxy

    @contextmanager
    def connected(self, port: int, source: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
        """A connection with TLS, from this address."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0)) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as peer,
        ):
            yield peer

    def submit(self) -> None:
        """A job, by the Unix socket, so that something changes."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(PATIENCE)
            peer.connect(str(self.unix))
            peer.sendall(packet(P.SUBMIT_JOB_BG, b"resize", b"", b"photo"))
            assert peer.recv(100).startswith(b"\0RES")

    # What each proxy has to do

    def assert_web(self) -> None:
        """It passes on a request with its Host, and events as they come."""
        with self.connected(self.web_tls) as peer:
            peer.sendall(b"GET /ready HTTP/1.1\r\nHost: gear.example\r\nConnection: close\r\n\r\n")
            answer = read_to_end(peer)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b'"ready":true' in answer
        with self.connected(self.web_tls) as peer:
            form = (
                f"POST /sign-in HTTP/1.1\r\nHost: gear.example:{self.web_tls}\r\n"
                f"Origin: https://gear.example:{self.web_tls}\r\nContent-Length: 7\r\nConnection: close\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=x"
            )
            peer.sendall(form.encode())
            answer = read_to_end(peer)
            assert b"stale_form" in answer, "it is taken for one of this very server"
        with self.connected(self.web_tls) as peer:
            peer.sendall(b"GET /events HTTP/1.1\r\nHost: gear.example\r\nAccept: text/event-stream\r\n\r\n")
            told = read_until(peer, b"", lambda told: b"\r\n\r\n" in told)
            assert told.startswith(b"HTTP/1.1 200 "), told
            told = read_until(peer, told, lambda told: b"event: state" in told)
            self.submit()
            read_until(peer, told, lambda told: b"event: change" in told and b'"resize"' in told)

    def assert_gearman(self) -> None:
        """It says to the server whose connection it is."""
        with self.connected(self.gear_tls, "127.0.0.9") as peer:
            peer.sendall(packet(P.ECHO_REQ, b"hello"))
            assert read_until(peer, b"", lambda told: b"hello" in told).startswith(b"\0RES")
            peer.sendall(b"workers\n")
            told = read_until(peer, b"", lambda told: told.endswith(b".\n"))
            assert b" 127.0.0.9 " in told


def read_until(peer: ssl.SSLSocket, told: bytes, enough: Callable[[bytes], bool]) -> bytes:
    peer.settimeout(5.0)
    while not enough(told):
        data = peer.recv(65536)
        assert data, told
        told += data
    return told


def read_to_end(peer: ssl.SSLSocket) -> bytes:
    peer.settimeout(5.0)
    told = b""
    while data := peer.recv(65536):
        told += data
    return told


@pytest.fixture
def site(programs: Programs, tmp_path: Path) -> Site:
    return Site(programs, tmp_path)


def test_nginx(site: Site) -> None:
    tool = requires("nginx")
    lacks("" if STREAM.exists() else "nginx has no module for streams")
    site.serve("--proxy-from=127.0.0.2")
    web = site.file(
        "nginx/txgear.conf",
        ("listen 443", f"listen 127.0.0.1:{site.web_tls}"),
        ("listen [::]:443", f"listen [::1]:{site.web_tls}"),
        ("127.0.0.1:4780", f"127.0.0.1:{site.web}"),
    )
    stream = site.file(
        "nginx/stream.conf",
        ("listen 4731", f"listen 127.0.0.1:{site.gear_tls}"),
        ("127.0.0.1:4730", f"127.0.0.1:{site.gear}"),
    )
    folder = site.folder
    (folder / "txgear.conf").write_text(web)
    (folder / "stream.conf").write_text(stream)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"load_module {STREAM};\ndaemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary} include {folder}/txgear.conf; }}\n"
        f"include {folder}/stream.conf;\n"
    )
    done = run([tool, "-t", "-c", main, "-e", folder / "nginx.log"])
    assert done.returncode == 0, done
    site.start([tool, "-c", main, "-e", folder / "nginx.log"], site.web_tls)
    site.assert_web()
    site.assert_gearman()


def test_caddy(site: Site) -> None:
    tool = requires("caddy")
    site.serve()
    text = site.file(
        "caddy/Caddyfile",
        ("\ngear.example {", f"\n{NAME}:{site.web_tls} {{\n\tbind 127.0.0.1"),
        ("127.0.0.1:4780", f"127.0.0.1:{site.web}"),
    )
    path = site.folder / "Caddyfile"
    path.write_text("{\n\tadmin off\n\tgrace_period 500ms\n\tauto_https disable_redirects\n}\n" + text)
    named: list[str | Path] = ["--config", path, "--adapter", "caddyfile"]
    done = run([tool, "validate", *named], env={"HOME": str(site.folder)})
    assert done.returncode == 0, done
    assert (
        run([tool, "fmt", DEPLOY / "caddy" / "Caddyfile"]).stdout
        == (DEPLOY / "caddy" / "Caddyfile").read_bytes()
    )
    site.start([tool, "run", *named], site.web_tls)
    site.assert_web()


def test_haproxy(site: Site) -> None:
    tool = requires("haproxy")
    site.serve("--proxy-from=127.0.0.1")
    text = site.file(
        "haproxy/haproxy.cfg",
        ("bind :4731", f"bind 127.0.0.1:{site.gear_tls}"),
        ("bind :443", f"bind 127.0.0.1:{site.web_tls}"),
        ("127.0.0.1:4730", f"127.0.0.1:{site.gear}"),
        ("127.0.0.1:4780", f"127.0.0.1:{site.web}"),
        ("port 4780", f"port {site.web}"),
    )
    path = site.folder / "haproxy.cfg"
    path.write_text(text)
    done = run([tool, "-c", "-f", path])
    assert done.returncode == 0, done
    assert not re.search(rb"WARNING|ALERT", done.stdout + done.stderr), done
    proxy = site.start([tool, "-db", "-f", path], site.web_tls)
    site.assert_web()
    site.assert_gearman()
    # Its health checks: some have been made by now, and found the server.
    assert b"is DOWN" not in proxy.stderr + proxy.stdout
