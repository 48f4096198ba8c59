#!/usr/bin/env python3
"""
Watch a server through its web port, as others do in earnest: a scrape of the metrics each second, and readers
of events. It ends at its standard input's end, and prints what it has had as one line of JSON; with status 1
where that is nothing.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import sys
import time
from typing import Final

READERS: Final = 5
SCRAPE_SECONDS: Final = 1.0
REQUEST: Final = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
ANSWER_SECONDS: Final = 30
"""For how long a scrape may take, while the server has all it can do."""


def scrape(port: int) -> tuple[float, int]:
    """How long a scrape takes, in milliseconds, and how many bytes it brings."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        sys.exit(f"the scrape is answered with {answer.status}: {body[:200]!r}")
    return (time.perf_counter() - began) * 1000, len(body)


def connected(port: int) -> socket.socket:
    """A connection. The web's port is opened after that of the jobs."""
    end = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def main() -> None:
    """The command line: the number of the web port."""
    port = int(sys.argv[1])
    readers = [connected(port) for _ in range(READERS)]
    for reader in readers:
        reader.sendall(REQUEST)
    events = received = 0
    scrapes: list[float] = []
    size = 0
    following = time.monotonic()
    while True:
        wait = max(following - time.monotonic(), 0)
        ready, _, _ = select.select([sys.stdin, *readers], [], [], wait)
        if sys.stdin in ready:
            break
        for reader in readers:
            if reader not in ready:
                continue
            data = reader.recv(1 << 20)
            if not data:
                sys.exit("the server has ended the line of a reader")
            events += data.count(b"\nevent: ")
            received += len(data)
        if time.monotonic() >= following:
            following += SCRAPE_SECONDS
            took, size = scrape(port)
            scrapes.append(took)
    for reader in readers:
        reader.close()
    slowest = round(max(scrapes, default=0.0), 1)
    print(
        json.dumps(
            {
                "scrapes": len(scrapes),
                "slowest_scrape_ms": slowest,
                "scrape_bytes": size,
                "events": events,
                "event_bytes": received,
            }
        )
    )
    sys.exit(not (scrapes and events))


if __name__ == "__main__":
    main()
