#!/usr/bin/env python3
"""
How fast is a worker that waits for acknowledgements: C{make bench-nagle}.

The worker sends WORK_COMPLETE and GRAB_JOB in two writes and leaves Nagle's algorithm on, as half of the
client libraries do. A server that has no answer to the first acknowledges it after 40 ms, and only then
does the worker's system send the second. Background jobs are queued, then one worker does them; what
counts are the jobs a second from the tenth on.

Without C{--server} it compares this txgear with gearmand, where that is installed. A server whose command
has C{{key}} and C{{certificate}} in it is spoken to through TLS.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import statistics
import struct
import time
from typing import Final

import trustme

from run import default_servers, running, server_command

COUNT_FROM: Final = 10
"""Jobs that are done before time is taken: a server may have to find out what the worker needs."""
PATIENCE: Final = 120.0
"""Seconds that a server may take for one packet."""

CAN_DO, JOB_CREATED, GRAB_JOB, JOB_ASSIGN, WORK_COMPLETE, SUBMIT_JOB_BG = 1, 8, 9, 11, 13, 18
HEADER: Final = struct.Struct(">4sII")


class Peer:
    """One connection to a server."""

    def __init__(self, port: int, authority: trustme.CA | None, nodelay: bool) -> None:
        """
        @param authority: who has signed the certificate of a server that speaks TLS.
        @param nodelay: whether Nagle's algorithm is off.
        """
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        if nodelay:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if authority is not None:
            context = ssl.create_default_context()
            authority.configure_trust(context)
            sock = context.wrap_socket(sock, server_hostname="localhost")
        self._socket = sock
        self._file = sock.makefile("rb")

    def send(self, kind: int, *arguments: bytes) -> None:
        """One packet, one write."""
        body = b"\0".join(arguments)
        self._socket.sendall(HEADER.pack(b"\0REQ", kind, len(body)) + body)

    def expect(self, kind: int) -> bytes:
        """The body of the next packet, which is of this type."""
        _, found, size = HEADER.unpack(self._file.read(HEADER.size))
        body = self._file.read(size)
        if found != kind:
            raise RuntimeError(f"a packet of type {found} came instead of {kind}: {body!r}")
        return body

    def ask(self, line: bytes) -> bytes:
        """The first line of the answer to a text command."""
        self._socket.sendall(line + b"\n")
        return self._file.readline()[:-1]

    def ask_list(self, line: bytes) -> list[bytes]:
        """The rows of the answer to a text command."""
        rows = [self.ask(line)]
        while rows[-1] != b".":
            rows.append(self._file.readline()[:-1])
        return rows[:-1]

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()


def measure(port: int, authority: trustme.CA | None, jobs: int) -> float:
    """
    Queue the jobs and do them.

    @return: jobs a second, from the tenth on.
    """
    client = Peer(port, authority, nodelay=True)
    for _ in range(jobs):
        client.send(SUBMIT_JOB_BG, b"nagle", b"", b"x" * 64)
    for _ in range(jobs):
        client.expect(JOB_CREATED)
    worker = Peer(port, authority, nodelay=False)
    worker.send(CAN_DO, b"nagle")
    worker.send(GRAB_JOB)
    begun = 0.0
    for number in range(1, jobs + 1):
        handle = worker.expect(JOB_ASSIGN).partition(b"\0")[0]
        if number == COUNT_FROM:
            begun = time.perf_counter()
        worker.send(WORK_COMPLETE, handle, b"done")
        if number < jobs:
            worker.send(GRAB_JOB)
    seconds = time.perf_counter() - begun
    worker.close()
    client.close()
    return (jobs - COUNT_FROM) / seconds


def servers_here() -> dict[str, str]:
    """The commands of what there is to compare."""
    found = default_servers("memory", None)
    plain = {name: server.command for name, server in found.items() if name != "floor"}
    tls = "--listen ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    command = server_command("memory:").replace("--port {port} --listen 127.0.0.1", tls)
    return {**plain, "txgear-tls": command}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--server",
        action="append",
        metavar="NAME=COMMAND",
        help="a server to measure, with {port} for a free port and {dir} for an empty folder; may repeat",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=300, help=f"more than {COUNT_FROM}")
    options = parser.parse_args()
    if options.jobs <= COUNT_FROM:
        parser.error(f"--jobs is more than {COUNT_FROM}")
    servers = servers_here()
    if options.server:
        servers = dict(text.split("=", 1) for text in options.server)
    names = list(servers)
    figures: dict[str, list[float]] = {name: [] for name in names}
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    with (
        issued.private_key_pem.tempfile() as key,
        issued.cert_chain_pems[0].tempfile() as certificate,
    ):
        for turn in range(options.rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                command = servers[name].replace("{key}", key).replace("{certificate}", certificate)
                tls = authority if command != servers[name] else None
                with running(command) as (_, port):
                    figures[name].append(measure(port, tls, options.jobs))
    print(f"{options.rounds} rounds of {options.jobs} jobs; medians; ratios are {names[0]} / the other\n")
    print("| server | jobs/s | jobs/s x |\n|---|--:|--:|")
    for name, values in figures.items():
        ratio = statistics.median(a / b for a, b in zip(figures[names[0]], values, strict=True))
        shown = "" if name == names[0] else f"{ratio:,.2f}"
        print(f"| {name} | {statistics.median(values):,.0f} | {shown} |")


if __name__ == "__main__":
    main()
