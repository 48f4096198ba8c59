#!/usr/bin/env python3
"""
How the dashboard does at size, in a real browser: 1,000 functions, 100,000 jobs and 5,000 connections.

Told are the first paint of each view; what it takes a page to show what has changed, while jobs of all
functions come and go; whether the memory of a page stays where it is; and what two open pages cost the server
while it is busy. It needs Playwright and Debian's chromium. Ends with status 1 where a bound is passed.

usage: dashboard.py [--minutes N] [--jobs N] [--functions N] [--connections N] [--only paint,delta,cost]
"""

from __future__ import annotations

import argparse
import http.client
import json
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from run import SCENARIOS, built, free_port, running, server_command
from webpages import CAN_DO, CREATED, HEADER, PATIENCE, connect, fill, packet, read

CHROMIUM: Final = "/usr/bin/chromium"
TWISTD: Final = Path(sys.executable).with_name("twistd")
SUBMIT_BG, GRAB, ASSIGN, COMPLETE = 18, 9, 11, 13

MOST_PAINT: Final = 1000
"""Milliseconds until the first paint of a page."""
MOST_DELTA: Final = 16
"""Milliseconds to show what has changed, in nineteen cases of twenty."""
MOST_GROWTH: Final = 0.10
"""By how much of itself the memory of a page may grow, from its first third to its last."""
SPARE_HEAP: Final = 0.3
"""And by so many megabytes, which the browser's own bookkeeping of so short a time is good for."""
MOST_COST: Final = 0.03
"""What two open pages may cost the server in CPU, of what it needs for its jobs."""
OPEN: Final = (("/", "/functions/bench"), ("/jobs", "/workers"))
"""Which two pages are open at a time; all jobs of the load are of the function C{bench}."""
CHANGES: Final = 200
"""Jobs a second that come and go meanwhile."""
ROUNDS: Final = 7
BURSTS: Final = 6
JOBS: Final = "150000"
"""Of a round of the load: some seconds, in which the pages are told a dozen times what has changed."""

OBSERVE: Final = """() => {
  window.shows = []; window.long = [];
  new PerformanceObserver((list) => {
    for (const each of list.getEntries()) if (each.name === "txgear:show") window.shows.push(each.duration);
  }).observe({ entryTypes: ["measure"] });
  new PerformanceObserver((list) => {
    for (const each of list.getEntries()) window.long.push(each.duration);
  }).observe({ entryTypes: ["longtask"] });
}"""


class Changes(threading.Thread):
    """
    Jobs that come and go, of all functions in turn.

    @ivar count: how many there were.
    """

    def __init__(self, port: int, functions: int) -> None:
        super().__init__(daemon=True)
        self._client, self._worker = connect(port), connect(port)
        self._functions = functions
        self.count = 0
        self.over = False

    def run(self) -> None:
        self._worker.sendall(
            b"".join(packet(CAN_DO, b"function.%d" % number) for number in range(self._functions))
        )
        with suppress(OSError):
            while not self.over:
                self._one()
                time.sleep(1 / CHANGES)

    def _one(self) -> None:
        name = b"function.%d" % (self.count * 7 % self._functions)
        self._client.sendall(packet(SUBMIT_BG, name, b"", b"{}"))
        _answer(self._client, CREATED)
        self._worker.sendall(packet(GRAB))
        handle = _answer(self._worker, ASSIGN).partition(b"\0")[0]
        self._worker.sendall(packet(COMPLETE, handle, b"done"))
        self.count += 1

    def end(self) -> None:
        """Stop, and wait until it has."""
        self.over = True
        self.join(PATIENCE)
        self._client.close()
        self._worker.close()


def _answer(line: socket.socket, wanted: int) -> bytes:
    _, kind, size = HEADER.unpack(read(line, HEADER.size))
    body = read(line, size)
    if kind != wanted:
        sys.exit(f"the server has answered with a packet {kind} and not {wanted}: {body[:200]!r}")
    return body


@contextmanager
def filled(given: argparse.Namespace) -> Iterator[tuple[int, str]]:
    """A server with all of that: its port, and the address of its pages."""
    port, web = free_port(), free_port()
    words = ["-n", "--pidfile=", "txgear", "--port", str(port), "--store", "memory:"]
    words += ["--web", f"tcp:{web}:interface=127.0.0.1"]
    server = subprocess.Popen([TWISTD, *words], stdout=subprocess.DEVNULL)
    try:
        lines = fill(port, given.jobs, given.functions, given.connections)
        connect(web).close()
        yield port, f"http://127.0.0.1:{web}"
        for line in lines:
            line.close()
    finally:
        server.terminate()
        server.wait(PATIENCE)


def addresses(page: Any, site: str) -> list[str]:
    """The views of the navigation, a function and a job."""
    page.goto(site, wait_until="load")
    links = page.eval_on_selector_all("nav a[data-key]", "all => all.map(each => each.getAttribute('href'))")
    web = http.client.HTTPConnection(site.removeprefix("http://"), timeout=PATIENCE)
    web.request("GET", "/api/v1/jobs?limit=1")
    handle = json.loads(web.getresponse().read())["jobs"][0]["handle"]
    web.close()
    return [*links, "/functions/function.7", f"/jobs/{handle.replace(':', '%3A')}"]


def paints(browser: Any, site: str) -> bool:
    """The first paint of each view."""
    page = browser.new_page()
    print(f"{'view':40}{'status':>7}{'paint ms':>10}{'slowest':>9}{'kB':>7}")
    good = True
    for path in addresses(page, site):
        times = []
        for _ in range(5):
            answer = page.goto(site + path, wait_until="load")
            page.wait_for_timeout(100)
            times.append(
                page.evaluate(
                    "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 9999"
                )
            )
        size = len(answer.body()) / 1000
        median = statistics.median(times)
        good = good and median <= MOST_PAINT
        print(f"{path:40}{answer.status:7}{median:10.0f}{max(times):9.0f}{size:7.0f}")
    page.close()
    return good


class Watch:
    """
    A page that is open, and what it does.
    """

    def __init__(self, browser: Any, address: str) -> None:
        self._page = browser.new_page()
        self._page.goto(address, wait_until="load")
        self._page.wait_for_timeout(1000)
        self._page.evaluate(OBSERVE)
        self._inspector = self._page.context.new_cdp_session(self._page)
        self.heap: list[float] = []
        self.nodes: list[int] = []

    def wait(self) -> float:
        """Wait until something is shown; seconds that took."""
        begun, before = time.monotonic(), self._page.evaluate("() => window.shows.length")
        while self._page.evaluate("() => window.shows.length") == before:
            if time.monotonic() > begun + PATIENCE:
                sys.exit("nothing is shown")
            self._page.wait_for_timeout(50)
        return time.monotonic() - begun

    def look(self, milliseconds: float) -> None:
        """Let time go by, and then see what memory it has."""
        self._page.wait_for_timeout(milliseconds)
        self._inspector.send("HeapProfiler.collectGarbage")
        self.heap.append(self._inspector.send("Runtime.getHeapUsage")["usedSize"] / 1e6)
        self.nodes.append(self._inspector.send("Memory.getDOMCounters")["nodes"])

    def end(self, what: str) -> bool:
        """Say how it was."""
        shows = sorted(self._page.evaluate("() => window.shows"))
        long = self._page.evaluate("() => window.long.length")
        self._page.close()
        if not shows:
            print(f"{what:24} nothing was shown")
            return False
        third = max(len(self.heap) // 3, 1)
        before, after = statistics.median(self.heap[:third]), statistics.median(self.heap[-third:])
        late = shows[int(len(shows) * 0.95)]
        memory, nodes = f"{before:.2f} to {after:.2f}", f"{self.nodes[0]} to {self.nodes[-1]}"
        times = f"{statistics.median(shows):11.1f}{late:7.1f}{shows[-1]:7.1f}"
        print(f"{what:24}{len(shows):7}{times}{long:12}{memory:>16}{nodes:>18}")
        return late <= MOST_DELTA and after <= before * (1 + MOST_GROWTH) + SPARE_HEAP


def deltas(browser: Any, site: str, port: int, given: argparse.Namespace) -> bool:
    """What it takes to show what changes, and what memory does meanwhile."""
    head = (
        f"{'shown':>7}{'median ms':>11}{'95 %':>7}{'most':>7}{'long tasks':>12}{'heap MB':>16}{'nodes':>18}"
    )
    print(f"\n{'view':24}{head}")
    client = connect(port)
    page = Watch(browser, f"{site}/")
    waited = []
    for _ in range(BURSTS):
        names = [b"function.%d" % number for number in range(given.functions)]
        client.sendall(b"".join(packet(SUBMIT_BG, name, b"", b"{}") for name in names))
        for _ in names:
            _answer(client, CREATED)
        waited.append(page.wait())
        page.look(500)
    client.close()
    good = page.end("/, all rows at once")
    print(f"  shown after {statistics.median(waited):.1f} s, {max(waited):.1f} s at the most")
    changes = Changes(port, given.functions)
    changes.start()
    for path in ("/", "/jobs"):
        page = Watch(browser, site + path)
        end = time.monotonic() + given.minutes * 60
        while time.monotonic() < end or len(page.heap) < 6:
            page.look(max(given.minutes * 60_000 / 30, 2000))
        good = page.end(path) and good
    changes.end()
    print(f"{changes.count} jobs have come and gone meanwhile")
    return good


class Page(threading.Thread):
    """
    A page that is kept open, as far as the server can tell: a browser on the same two processors would cost
    more than what is measured.

    @ivar size: the bytes that it was sent.
    """

    def __init__(self, web: int, path: str) -> None:
        super().__init__(daemon=True)
        self._line = connect(web)
        self._line.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        self.size = 0

    def run(self) -> None:
        with suppress(OSError):
            while data := self._line.recv(1 << 18):
                self.size += len(data)

    def end(self) -> None:
        """Close it."""
        self._line.shutdown(socket.SHUT_RDWR)
        self.join(PATIENCE)
        self._line.close()


def cost(*paths: str) -> bool:
    """
    What two pages cost the server while it is busy: by its own CPU for each job, round by round.

    @param paths: which pages.
    """
    web = free_port()
    gearload = built("gearload")
    command = server_command("memory:").replace("--web ''", "--web 127.0.0.1:{web}")
    ratios, sizes = [], []
    with running(command, web=web) as (pid, port):
        words = [gearload, "--port", str(port), "--server-pid", str(pid), *SCENARIOS["busy"].split()]
        words += ["--jobs", JOBS]
        used: dict[bool, float] = {}
        for turn in range(2 * ROUNDS + 2):
            # By turns, and each first in half of the rounds.
            watched = turn % 4 in (1, 2)
            pages = [Page(web, path) for path in paths] if watched else []
            for page in pages:
                page.start()
            run = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
            for page in pages:
                page.end()
                sizes.append(page.size)
            if run.returncode:
                sys.exit(f"the load has failed: {run.stderr.strip()}")
            used[watched] = json.loads(run.stdout)["server_cpu_us_per_job"]
            if turn % 2 and turn > 1:
                ratios.append(used[True] / used[False])
    more = statistics.median(ratios) - 1
    rounds = ", ".join(f"{each - 1:+.1%}" for each in ratios)
    print(f"\n{' and '.join(paths)}: {more:+.1%} CPU of a busy server (rounds: {rounds})")
    print(f"each was sent {statistics.median(sizes) / 1000:.0f} kB in a round")
    return more <= MOST_COST


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long a page is watched")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--functions", type=int, default=1_000)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--only", default="paint,delta,cost", help="some of these")
    given = parser.parse_args()
    wanted = given.only.split(",")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    good = True
    if "paint" in wanted or "delta" in wanted:
        from playwright.sync_api import sync_playwright

        with filled(given) as (port, site), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            print(f"{given.jobs} jobs, {given.functions} functions, {given.connections} connections\n")
            if "paint" in wanted:
                good = paints(browser, site) and good
            if "delta" in wanted:
                good = deltas(browser, site, port, given) and good
            browser.close()
    if "cost" in wanted:
        for paths in OPEN:
            good = cost(*paths) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
