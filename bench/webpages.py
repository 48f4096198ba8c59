#!/usr/bin/env python3
"""
How long pages of the web's API take at size: 100,000 jobs of 1,000 functions, and 5,000 connections.

Each page is asked for again and again, on a kept connection; first pages, pages far behind, and filters that
few pass or none. While that goes on another connection asks for echoes, and the longest wait for one is how
long nobody else was served. Ends with status 1 if a page takes too long.

usage: webpages.py [--jobs N] [--functions N] [--connections N]
"""

from __future__ import annotations

import argparse
import http.client
import json
import resource
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

TWISTD: Final = Path(sys.executable).with_name("twistd")
HEADER: Final = struct.Struct(">4sII")
CAN_DO, CREATED, ECHO, ECHO_RES, SUBMIT_BG = 1, 8, 16, 17, 18
ROUNDS: Final = 40
MOST_SECONDS: Final = 0.020
"""What a page may take, as the median."""
PATIENCE: Final = 120


def packet(kind: int, *arguments: bytes) -> bytes:
    body = b"\0".join(arguments)
    return HEADER.pack(b"\0REQ", kind, len(body)) + body


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def connect(port: int) -> socket.socket:
    """A connection, as soon as somebody listens."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def read(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = line.recv(size - len(found))
        if not part:
            sys.exit("the server has ended a connection")
        found += part
    return found


def fill(port: int, jobs: int, functions: int, connections: int) -> list[socket.socket]:
    """Have that many of each."""
    client = connect(port)
    for first in range(0, jobs, 1000):
        numbers = range(first, min(first + 1000, jobs))
        client.sendall(
            b"".join(
                packet(SUBMIT_BG, b"function.%d" % (n % functions), b"order %d" % n, b"x" * 100)
                for n in numbers
            )
        )
        for _ in numbers:
            _, kind, size = HEADER.unpack(read(client, HEADER.size))
            read(client, size)
            if kind != CREATED:
                sys.exit("a job is refused")
    lines = [client]
    for number in range(connections):
        line = connect(port)
        line.sendall(packet(CAN_DO, b"function.%d" % (number % functions)))
        lines.append(line)
    return lines


class Echoes(threading.Thread):
    """
    Asks for echoes all the time.

    @ivar longest: seconds that one has taken at the most.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.line = connect(port)
        self.longest = 0.0
        self.over = False

    def run(self) -> None:
        while not self.over:
            began = time.perf_counter()
            self.line.sendall(packet(ECHO, b"x"))
            read(self.line, HEADER.size + 1)
            self.longest = max(self.longest, time.perf_counter() - began)
            time.sleep(0.001)


def timed(connection: http.client.HTTPConnection, target: str) -> tuple[float, float, int]:
    """The median and the longest time of an answer, in seconds, and its bytes."""
    took = []
    size = 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
        took.append(time.perf_counter() - began)
        if answer.status != 200:
            sys.exit(f"{target}: {answer.status} {body[:200]!r}")
        size = len(body)
    return statistics.median(took), max(took), size


def pages(connection: http.client.HTTPConnection, jobs: int) -> list[str]:
    """What is asked for: of each list of the description, and some that cost more than others."""
    connection.request("GET", "/api/v1/openapi.json")
    document = json.loads(connection.getresponse().read())
    connection.request("GET", "/api/v1/jobs?limit=1")
    handle = json.loads(connection.getresponse().read())["jobs"][0]["handle"]
    lists = [
        path
        for path, methods in document["paths"].items()
        if "get" in methods
        and "{" not in path
        and not any(parameter.get("required") for parameter in methods["get"]["parameters"])
        and "text/event-stream" not in methods["get"]["responses"]["200"].get("content", {})
    ]
    return [
        *lists,
        "/api/v1/jobs?limit=200",
        f"/api/v1/jobs?limit=200&after={jobs // 2}",
        "/api/v1/jobs?function=function.7",
        "/api/v1/jobs?function=nothing",
        "/api/v1/jobs?state=running",
        "/api/v1/jobs?text=nothing",
        f"/api/v1/jobs?unique={quote('order 77')}",
        "/api/v1/functions?limit=200",
        "/api/v1/functions?function=nothing",
        f"/api/v1/jobs/{quote(handle, safe='')}",
        "/api/v1/functions/function.7",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--functions", type=int, default=1_000)
    parser.add_argument("--connections", type=int, default=5_000)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, web = free_port(), free_port()
    server = subprocess.Popen(
        [
            *(TWISTD, "-n", "--pidfile=", "txgear", "--port", str(port), "--store", "memory:"),
            *("--web", f"tcp:{web}:interface=127.0.0.1"),
        ],
        stdout=subprocess.DEVNULL,
    )
    slow = 0
    try:
        lines = fill(port, given.jobs, given.functions, given.connections)
        connect(web).close()
        connection = http.client.HTTPConnection("127.0.0.1", web, timeout=PATIENCE)
        print(f"{given.jobs} jobs, {given.functions} functions, {given.connections} connections\n")
        print(f"{'page':52}{'median ms':>10}{'longest':>9}{'bytes':>9}{'others wait':>13}")
        for target in pages(connection, given.jobs):
            echoes = Echoes(port)
            echoes.start()
            median, longest, size = timed(connection, target)
            echoes.over = True
            echoes.join()
            echoes.line.close()
            slow += median > MOST_SECONDS
            figures = f"{median * 1000:10.1f}{longest * 1000:9.1f}{size:9}{echoes.longest * 1000:13.1f}"
            print(f"{target:52}{figures}{' TOO SLOW' if median > MOST_SECONDS else ''}")
        for line in lines:
            line.close()
    finally:
        server.terminate()
        server.wait(PATIENCE)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
