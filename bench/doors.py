#!/usr/bin/env python3
"""
Ten thousand connections at a server with TLS and access rules: C{make bench-doors}.

6,000 plain connections, 2,000 with TLS and 2,000 with TLS and a certificate of their own stay open and say
nothing; a file with 50 identities and as many rules says who they are. Measured are the memory of each kind,
what an echo every 5 ms waits on another connection, and what the longest one waits while the file is read
again, with other rights for everybody. It ends with status 1 where a bound is missed. Whatever else
the machine does counts as the server's doing: it has to be quiet.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from run import built, free_port, server_command
from stalls import INTERVAL, connected, packet
from txgear.protocol.constants import ECHO_REQ

PLAIN: Final = 6000
TLS: Final = 2000
CERTIFIED: Final = 2000
"""With TLS, and a client's certificate."""
SOURCES: Final = 48
"""Addresses that they come from, each an identity's: 127.0.1.1 and up, as the load generator takes them."""
RELOADS: Final = 6
WATCHED_SECONDS: Final = 10.0
"""For how long the echoes of a server at rest are measured."""
RELOAD_SECONDS: Final = 3.0
"""For how long they are watched after a reload has been asked for."""
CONNECT_SECONDS: Final = 300
"""How long all connections of a kind may take to be made."""

MOST_KIB: Final = 40.0
"""Memory of a TLS connection. A client's certificate takes OpenSSL alone another 7."""
P99_MS: Final = 10.0
STALL_MS: Final = 50.0


def rules(turn: int) -> str:
    """
    The file: who comes from an address, who has the certificate, and who is the one that watches; each may do
    something else in the next turn.
    """
    lines = ["[login]", 'certificate = "dns"']
    for number in range(1, SOURCES + 1):
        lines += ["[[identity]]", f'name = "team-{number}"', f'addresses = ["127.0.1.{number}"]']
        lines += ["connections = 1000", "queued = 10000", 'submits = "1000/s"']
    lines += ["[[identity]]", 'name = "web"', 'certificates = ["web.example"]']
    lines += ["[[identity]]", 'name = "desk"', 'addresses = ["127.0.0.1"]']
    for number in range(1, SOURCES + 1):
        acts = ["submit", "see"] if (number + turn) % 2 else ["work"]
        lines += ["[[access]]", f'identities = ["team-{number}"]', f"allow = {json.dumps(acts)}"]
        lines += [f'functions = ["team{number}.*", "common.*"]']
    lines += ["[[access]]", 'identities = ["web", "desk"]', 'allow = ["submit", "work", "see"]']
    lines += ["[[access]]", 'identities = ["*"]', f"deny = {json.dumps(['purge', 'cancel'][turn % 2 :])}"]
    return "\n".join(lines) + "\n"


def certificates(folder: Path) -> dict[str, str]:
    """The files of the server, of who has signed them, and of a client."""
    import trustme

    authority = trustme.CA()
    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key", "client-cert", "client-key")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    for prefix, name in (("", "127.0.0.1"), ("client-", "web.example")):
        issued = authority.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(str(files[f"{prefix}cert"]))
        issued.private_key_pem.write_to_path(str(files[f"{prefix}key"]))
    return {name: str(file) for name, file in files.items()}


class Echoes:
    """A process that sends an echo every 5 ms, and knows what each has waited."""

    def __init__(self, port: int) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_echo, args=(theirs, port), daemon=True)
        self._process.start()
        self.waits()

    def waits(self) -> list[float]:
        """Milliseconds of each since this was asked last."""
        self._pipe.send(True)
        waited: list[float] = self._pipe.recv()
        return waited

    def during(self, seconds: float) -> list[float]:
        """Milliseconds of each in so many seconds from now."""
        self.waits()
        time.sleep(seconds)
        return self.waits()

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(False)
        self._process.join()


def _echo(pipe: Connection, port: int) -> None:
    message = packet(ECHO_REQ, b"x")
    waits: list[float] = []
    with connected(port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            begun = time.perf_counter()
            sock.sendall(message)
            left = len(message)
            while left:
                left -= len(sock.recv(left))
            waits.append((time.perf_counter() - begun) * 1000)
            time.sleep(INTERVAL)
            if pipe.poll():
                if not pipe.recv():
                    return
                pipe.send(waits)
                waits = []


@contextmanager
def serving(
    folder: Path, files: dict[str, str], port: int, tls_port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """The server, with the rules of the first turn."""
    (folder / "rules.toml").write_text(rules(0))
    command = server_command("memory:").format(port=port)
    words = [*shlex.split(command), "--config", str(folder / "rules.toml")]
    words += ["--tls-listen", f"127.0.0.1:{tls_port}", "--tls-cert", files["cert"], "--tls-key", files["key"]]
    words += ["--tls-ca", files["ca"], "--tls-client", "ask"]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, cwd=folder)
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None:
                sys.exit(f"the server does not listen:\n{log.read_text(errors='replace')}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def idle(flags: str, count: int, server: subprocess.Popen[bytes]) -> Iterator[float]:
    """
    So many connections that stay.

    @return: KiB of the server's memory for each.
    """
    words = [built("gearload", tls=True), "--mode", "idle", "--hold", "--sources", str(SOURCES)]
    words += ["--clients", str(count), "--timeout", str(CONNECT_SECONDS), "--server-pid", str(server.pid)]
    process = subprocess.Popen(
        [*words, *shlex.split(flags)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit(f"{count} connections with {flags} could not be made")
        yield json.loads(line)["kib_per_connection"]
        process.stdin.close()
        if process.wait(60):
            sys.exit(f"of {count} connections with {flags} one was closed")
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """The command line."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if descriptors != resource.RLIM_INFINITY and descriptors < PLAIN + TLS + CERTIFIED + 500:
        sys.exit(f"a process may have {descriptors} open files only (ulimit -Hn)")
    rows = []
    with tempfile.TemporaryDirectory(prefix="txgear-doors-") as name:
        folder = Path(name)
        files = certificates(folder)
        port, tls_port = free_port(), free_port()
        secured = f"--port {tls_port} --tls --ca {files['ca']}"
        certified = f"{secured} --cert {files['client-cert']} --key {files['client-key']}"
        with (
            serving(folder, files, port, tls_port) as server,
            idle(f"--port {port}", PLAIN, server) as plain_kib,
            idle(secured, TLS, server) as tls_kib,
            idle(certified, CERTIFIED, server) as certified_kib,
        ):
            echoes = Echoes(port)
            rest = sorted(echoes.during(WATCHED_SECONDS))
            p99 = rest[int(len(rest) * 0.99)]
            stalls = []
            for turn in range(1, RELOADS + 1):
                (folder / "rules.toml").write_text(rules(turn))
                echoes.waits()
                server.send_signal(signal.SIGHUP)
                time.sleep(RELOAD_SECONDS)
                stalls.append(max(echoes.waits()))
            echoes.stop()
            log = (folder / "log").read_text(errors="replace")
            if (done := log.count(" read again: ")) < RELOADS:
                sys.exit(f"{done} of {RELOADS} reloads were done:\n{log[-2000:]}")
            mean_kib = (tls_kib * TLS + certified_kib * CERTIFIED) / (TLS + CERTIFIED)
            rows = [
                ("memory of a plain connection, KiB", plain_kib, None),
                ("memory of a TLS connection, KiB", tls_kib, MOST_KIB),
                ("memory of one with a client's certificate, KiB", certified_kib, None),
                ("memory of both, mean, KiB", mean_kib, MOST_KIB),
                ("echo, median, ms", statistics.median(rest), None),
                ("echo, 99th percentile, ms", p99, P99_MS),
                ("echo, longest, ms", rest[-1], None),
                (f"longest echo of {RELOADS} reloads, each, ms, median", statistics.median(stalls), None),
                ("the longest of all, ms", max(stalls), STALL_MS),
            ]
    kinds = f"{PLAIN:,} plain, {TLS:,} with TLS, {CERTIFIED:,} with TLS and a certificate"
    print(f"{kinds}; {SOURCES + 2} identities; {RELOADS} reloads")
    print("\n| | | bound |\n|---|--:|--:|")
    for title, value, bound in rows:
        print(f"| {title} | {value:,.1f} | {'' if bound is None else f'{bound:g}'} |")
    missed = [title for title, value, bound in rows if bound is not None and value > bound]
    if missed:
        sys.exit(f"too much: {', '.join(missed)}")


if __name__ == "__main__":
    main()
