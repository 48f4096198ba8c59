#!/usr/bin/env python3
"""
Measure Gearman job servers side by side, in turn, in one run: C{make bench}.

Each round starts every server afresh, runs every scenario against it with the
load generator beside this file, and stops it; the order of the servers turns
from round to round. Printed are the medians of each server, and the ratios of
the first server to each other one, taken round by round, so that a slow spell
of the machine hits both sides. Only ratios of one run mean anything.

Without C{--server} it compares this txgear with gearmand, where that is
installed, and with C{floor}, a yardstick that does no more than a server must;
with C{--durable} the servers keep background jobs on disk before they answer,
and gearmand in memory is beside them. With C{--tls} it compares this txgear over TLS with
itself without, with a bare TLS server on Twisted, and with gearmand over TLS: one that was built
with it (Debian's is not), which C{--gearmand} names. With C{--web} it compares this txgear while it is
watched (its metrics each second, and five readers of its events) with itself without a web port.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path

HERE = Path(__file__).resolve().parent

SCENARIOS = {
    # One job at a time: the latency of a round trip.
    "ping": "--mode fg --jobs 8000",
    # Clients and workers busy: what one server can carry.
    "busy": "--mode fg --jobs 40000 --clients 16 --pipeline 8 --workers 8",
    "many": "--mode fg --jobs 30000 --clients 256 --pipeline 1 --workers 64",
    "deep": "--mode fg --jobs 30000 --clients 1 --pipeline 64 --workers 1",
    # Background jobs: accepted, then worked.
    "accept": "--mode submit --jobs 100000 --clients 4 --pipeline 64 --function q",
    "drain": "--mode drain --jobs 100000 --workers 8 --function q",
    "steady": "--mode bg --jobs 50000 --clients 8 --pipeline 32 --workers 8 --function g",
    # Idle workers on the function: does every job wake them all?
    "herd": "--mode fg --jobs 400 --clients 1 --workers 500 --function h --timeout 60",
    # Payloads of 1 MB both ways.
    "large": "--mode fg --jobs 600 --clients 4 --pipeline 2 --workers 4 --size 1000000",
    # One queue each for 500 functions.
    "functions": "--mode fg --jobs 20000 --clients 16 --pipeline 4 --workers 8 --functions 500",
    # Last, as it leaves its jobs behind: the memory of a long queue.
    "flood": "--mode submit --jobs 200000 --clients 8 --pipeline 512 --function f",
}

DURABLE = {
    # One client that waits for each answer: the time of a commit.
    "accept1": "--mode submit --jobs 1000 --clients 1 --pipeline 1 --function a",
    "accept": "--mode submit --jobs 20000 --clients 4 --pipeline 64 --function q --timeout 600",
    "drain": "--mode drain --jobs 20000 --workers 8 --function q --timeout 600",
    "steady": "--mode bg --jobs 10000 --clients 8 --pipeline 64 --workers 8 --function g",
    "flood": "--mode submit --jobs 40000 --clients 8 --pipeline 512 --function f --timeout 600",
}
"""The scenarios for servers that keep their queue on disk."""

BARE_TLS = {
    # Connect, one echo, close: new connections a second, and what each costs the server.
    "handshake": "--mode handshake --jobs 2000 --clients 16",
    # Echoes: one at a time, and many.
    "echo": "--mode echo --jobs 8000",
    "echoes": "--mode echo --jobs 100000 --clients 16 --pipeline 8",
    # Connections that stay: the memory of each.
    "idle": "--mode idle --clients 2000",
}
"""What a server needs no jobs for."""
TLS = {**BARE_TLS, **{name: SCENARIOS[name] for name in ("ping", "busy", "many", "deep", "large")}}
"""The scenarios for servers with TLS."""

STORES = {"durable": "sqlite:///{dir}/jobs.sqlite"}
"""The store of a kind of comparison; in memory where it has none."""

Figures = dict[str, float]
Table = dict[str, dict[str, list[Figures | None]]]
"""By scenario and server the figures of each round; C{None} where the server is not for that."""

COLUMNS = {
    "jobs/s": ("jobs_per_s", 0),
    "CPU us/job": ("server_cpu_us_per_job", 1),
    "p50 us": ("p50_us", 0),
    "p99 us": ("p99_us", 0),
    "KiB each": ("kib_per_connection", 1),
    "RSS MiB": ("server_rss_mib", 0),
}
"""What is shown of the figures, and with how many digits."""


@dataclass(frozen=True)
class Server:
    """
    A server to measure.

    @ivar command: with {port} for a free port and {dir} for an empty folder, and with {cert}, {key} and
        {ca} for the files of a server that is to speak TLS; with {web} for a free port through which it is
        watched.
    @ivar scenarios: those that it is for; none for all.
    """

    command: str
    scenarios: tuple[str, ...] = ()

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return "{key}" in self.command

    @property
    def watched(self) -> bool:
        """Whether others look on through its web port."""
        return "{web}" in self.command


def certificates(folder: Path) -> dict[str, str]:
    """Make the files of a server with TLS at the loopback address, by their names in commands."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    issued.cert_chain_pems[0].write_to_path(str(files["cert"]))
    issued.private_key_pem.write_to_path(str(files["key"]))
    return {name: str(file) for name, file in files.items()}


def built(name: str, tls: bool = False, needs: tuple[str, ...] = ()) -> str:
    """
    The program made of C{name.c} beside this file, with OpenSSL or without; compiled at the first use.

    @param needs: more words for the compiler.
    """
    source = HERE / f"{name}.c"
    kind = source.stem + "-tls" * tls
    binary = Path(tempfile.gettempdir()) / f"txgear-{kind}-{os.getuid()}-{int(source.stat().st_mtime)}"
    if not binary.exists():
        words = ["cc", "-O2", "-o", str(binary), str(source), *needs]
        words += ["-DGEARLOAD_TLS", "-lssl", "-lcrypto"] if tls else []
        if subprocess.run(words, check=False).returncode:
            sys.exit(f"{source} cannot be compiled" + "; it needs Debian's libssl-dev" * tls)
    return str(binary)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def server_command(store: str) -> str:
    """What starts this txgear with that store."""
    twistd = shutil.which("twistd", path=os.path.dirname(sys.executable)) or "twistd"
    return f"{twistd} -n --pidfile= txgear --port {{port}} --listen 127.0.0.1 --web '' --store {store}"


def default_servers(kind: str, gearmand: str | None) -> dict[str, Server]:
    """
    What there is to compare.

    @param kind: C{memory}, C{durable} or C{tls}.
    @param gearmand: the program; C{None} for Debian's.
    """
    plain = Server(server_command(STORES.get(kind, "memory:")))
    if kind == "tls":
        files = "--tls-cert {cert} --tls-key {key}"
        secured = plain.command.replace("--port {port} --listen 127.0.0.1", "--listen unix:{dir}/plain")
        bare = (
            f"{shlex.quote(sys.executable)} {shlex.quote(str(HERE / 'baretls.py'))} {{port}} {{cert}} {{key}}"
        )
        servers = {
            "txgear, TLS": Server(f"{secured} --tls-listen 127.0.0.1:{{port}} {files}"),
            "txgear, plain": plain,
            "bare Twisted, TLS": Server(bare, tuple(BARE_TLS)),
        }
    else:
        servers = {"txgear": plain}
        gearmand = gearmand or shutil.which(
            "gearmand", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
        )
    if gearmand is None:
        print("there is no gearmand (of this kind): it is left out", file=sys.stderr)
    else:
        command = f"{gearmand} --port={{port}} --listen=127.0.0.1 --log-file=stderr --pid-file={{dir}}/pid"
        if kind == "tls":
            files = "--ssl --ssl-ca-file={ca} --ssl-certificate={cert} --ssl-key={key}"
            # Connections that come and go break others of it, so new ones cannot be counted.
            scenarios = tuple(name for name in TLS if name != "handshake")
            servers["gearmand, TLS"] = Server(f"{command} {files}", scenarios)
        elif kind == "durable":
            servers["gearmand"] = Server(f"{command} -q libsqlite3 --libsqlite3-db={{dir}}/queue.sqlite")
            servers["gearmand-memory"] = Server(command)
        else:
            servers["gearmand"] = Server(command)
    if kind == "memory":
        servers["floor"] = Server(f"{built('floor')} {{port}}")
    return servers


def sync_time(folder: str) -> float:
    """The median time of writing 4 kB and waiting until they are on the disk, in milliseconds."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(200):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def watched_servers(kind: str) -> dict[str, Server]:
    """This txgear while others look on, and without a web port."""
    plain = server_command(STORES.get(kind, "memory:"))
    return {
        "txgear, watched": Server(plain.replace("--web ''", "--web 127.0.0.1:{web}")),
        "txgear": Server(plain),
    }


@contextmanager
def running(
    command: str, files: dict[str, str] | None = None, web: int | None = None
) -> Iterator[tuple[int, int]]:
    """
    A server that listens: its process id and its port. It is ended by its id.

    @param files: those of TLS.
    @param web: its web port.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="txgear-bench-") as folder:
        words = [
            word.format(port=port, dir=folder, web=web, **(files or {})) for word in shlex.split(command)
        ]
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(words, stdout=out, stderr=out, cwd=folder)
        try:
            _wait_for(process, port, log)
            yield process.pid, port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    sys.exit(f"{shlex.join(map(str, process.args))} does not listen:\n{log.read_text(errors='replace')}")  # type: ignore[arg-type]


def measure(servers: dict[str, Server], scenarios: dict[str, str], rounds: int) -> Table:
    """Run everything."""
    tls = any(server.tls for server in servers.values())
    gearload = built("gearload", tls)
    figures: Table = {s: {name: [] for name in servers} for s in scenarios}
    names = list(servers)
    with tempfile.TemporaryDirectory(prefix="txgear-bench-") as folder:
        files = certificates(Path(folder)) if tls else {}
        for turn in range(rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                server = servers[name]
                web = free_port() if server.watched else None
                with running(server.command, files, web) as (pid, port), watching(web):
                    words = [gearload, "--port", str(port), "--server-pid", str(pid)]
                    words += ["--tls", "--ca", files["ca"]] if server.tls else []
                    for scenario, flags in scenarios.items():
                        if server.scenarios and scenario not in server.scenarios:
                            figures[scenario][name].append(None)
                            continue
                        run = subprocess.run(
                            [*words, *flags.split()], capture_output=True, text=True, timeout=600, check=False
                        )
                        if run.returncode:
                            sys.exit(f"{name}, {scenario}: {run.stderr.strip()}")
                        figures[scenario][name].append(_figures(run.stdout))
            print(f"round {turn + 1} of {rounds} done", file=sys.stderr)
    return figures


@contextmanager
def watching(web: int | None) -> Iterator[None]:
    """
    Watch a server meanwhile, and say what was seen.

    @param web: its web port; C{None} for one that is not watched.
    """
    if web is None:
        yield
        return
    words = [sys.executable, str(HERE / "watchers.py"), str(web)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watchers:
        try:
            yield
        finally:
            said, _ = watchers.communicate()
    print(f"watched: {said.strip()}", file=sys.stderr)
    if watchers.returncode:
        sys.exit("what was to watch it has seen nothing")


def _figures(text: str) -> Figures:
    figures: Figures = json.loads(text)
    figures["server_rss_mib"] = figures["server_rss_kib"] / 1024
    return figures


def table(figures: Table) -> str:
    """The medians and ratios as a Markdown table, and the geometric means of the ratios below it."""
    shown = {
        title: (key, digits)
        for title, (key, digits) in COLUMNS.items()
        if any(
            run and key in run for servers in figures.values() for runs in servers.values() for run in runs
        )
    }
    rows = [
        f"| scenario | server | {' | '.join(shown)} | jobs/s x | CPU x |",
        f"|---|---|{'--:|' * len(shown)}--:|--:|",
    ]
    ratios: dict[str, list[float]] = {}
    for scenario, by_server in figures.items():
        reference = next(iter(by_server.values()))
        for name, all_runs in by_server.items():
            runs = [run for run in all_runs if run is not None]
            cells = [scenario, name]
            cells += [
                _middle([run[key] for run in runs if key in run], digits) for key, digits in shown.values()
            ]
            for key in ("jobs_per_s", "server_cpu_us_per_job"):
                pairs = [
                    first[key] / other[key]
                    for first, other in zip(reference, all_runs, strict=True)
                    if first and other and other.get(key)
                ]
                if all_runs is reference or not pairs:
                    cells.append("")
                    continue
                ratio = statistics.median(pairs)
                cells.append(f"{ratio:.2f}")
                if key == "server_cpu_us_per_job":
                    ratios.setdefault(name, []).append(ratio)
            if runs:
                rows.append(f"| {' | '.join(cells)} |")
    for name, values in ratios.items():
        rows.append(
            f"\nCPU per job against {name}: {prod(values) ** (1 / len(values)):.2f} in the geometric mean."
        )
    return "\n".join(rows)


def _middle(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f}" if values else ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--server",
        action="append",
        metavar="NAME=COMMAND",
        help="a server to measure, with {port} for a free port and {dir} for an empty folder, and with "
        "{cert}, {key} and {ca} for its files if it is to speak TLS, and {web} for a port by which it is "
        "watched; may repeat",
    )
    parser.add_argument("--rounds", type=int, default=7)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--durable",
        dest="kind",
        action="store_const",
        const="durable",
        default="memory",
        help="background jobs are on disk before they are answered",
    )
    kinds.add_argument("--tls", dest="kind", action="store_const", const="tls", help="connections speak TLS")
    parser.add_argument(
        "--web", action="store_true", help="compare this txgear, watched by others, with itself alone"
    )
    parser.add_argument("--gearmand", metavar="PROGRAM", help="the gearmand to compare with")
    parser.add_argument("--only", metavar="SCENARIO,...", help="some of the scenarios")
    parser.add_argument("--json", type=Path, help="write every figure of every round to this file")
    options = parser.parse_args()
    if options.server:
        pairs = (text.split("=", 1) for text in options.server)
        servers = {name: Server(command) for name, command in pairs}
    elif options.web:
        servers = watched_servers(options.kind)
    else:
        servers = default_servers(options.kind, options.gearmand)
    scenarios = {"memory": SCENARIOS, "durable": DURABLE, "tls": TLS}[options.kind]
    wanted = options.only.split(",") if options.only else list(scenarios)
    unknown = [name for name in wanted if name not in scenarios]
    if unknown:
        parser.error(f"no scenario is called {', '.join(unknown)}")
    figures = measure(servers, {name: scenarios[name] for name in wanted}, options.rounds)
    print(f"{options.rounds} rounds; medians; ratios are {next(iter(servers))} / the other")
    if options.kind == "durable":
        folder = tempfile.gettempdir()
        print(f"4 kB are on the disk of {folder} after {sync_time(folder):.2f} ms (median of 200)")
    print()
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
