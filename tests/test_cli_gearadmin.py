"""`txgear gearadmin` beside the C tool: each option with both on the same server, byte for byte."""

from __future__ import annotations

import re
import resource
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from imitations import Done, Tool, both, filled, fresh_names, normal, reference, tls_files, with_tls
from needs import requires
from processes import Server, Servers, free_port, run, txgear
from wirepeer import P

pytestmark = pytest.mark.txgear_only

#: Command lines that change nothing, by a name; ``{port}`` is the server's, ``{nobody}`` one of nobody.
WORDS = {
    "nothing": "",
    "help": "--help",
    "help, and more": "--help --status -p 1",
    "guessed help": "--he",
    "version": "--server-version -h 127.0.0.1 -p {port}",
    "verbose": "--server-verbose -h 127.0.0.1 -p {port}",
    "pid": "--getpid -h 127.0.0.1 -p {port}",
    "status": "--status -h 127.0.0.1 -p {port}",
    "priority-status": "--priority-status -h 127.0.0.1 -p {port}",
    "show-jobs": "--show-jobs -h 127.0.0.1 -p {port}",
    "show-unique-jobs": "--show-unique-jobs -h 127.0.0.1 -p {port}",
    "guessed": "--stat --prio --show-u --show-j --get --server-vers --server-verb -h 127.0.0.1 -p {port}",
    "all in their order": "--status --priority-status --server-version --server-verbose --show-jobs"
    " --show-unique-jobs --getpid --drop-function nope --cancel-job H:no:1 -h 127.0.0.1 -p {port}",
    "an unknown job": "--cancel-job H:no:1 -h 127.0.0.1 -p {port}",
    "no job": "--cancel-job '' -h 127.0.0.1 -p {port}",
    "an unknown function": "--drop-function nope -h 127.0.0.1 -p {port}",
    "two words": "--drop-function 'a b' -h 127.0.0.1 -p {port}",
    "long host and port": "--host 127.0.0.1 --port={port} --getpid",
    "guessed host and port": "--ho 127.0.0.1 --po={port} --getpid",
    "a value in the same word": "-h127.0.0.1 -p{port} --getpid",
    "localhost": "-p {port} --getpid",
    "other words": "one -h 127.0.0.1 two -p {port} --getpid three -",
    "the end of options": "--getpid -h 127.0.0.1 -p {port} -- --status --nope",
    "nobody there": "-h 127.0.0.1 -p {nobody} --status",
    "nobody at localhost": "-p {nobody} --status",
    "TLS with nobody": "-S -h 127.0.0.1 -p {nobody} --help",
    "no such port": "-p nosuch --status",
    "a port with an equal sign": "-p= --status",
    "no such host": "-h nosuch.invalid --status",
    "no host": "-h '' -p {port} --getpid",
    "unknown": "--nope",
    "unknown with a value": "--nope=3",
    "unknown short": "-x",
    "unknown in a row": "-SxS",
    "a value that is none": "--status=3",
    "a value for the row": "-S=1",
    "twice": "--status --status -p {nobody}",
    "two ports": "-p 1 -p 2 --status",
    "two of TLS": "-SS --status",
    "upper case": "--HELP",
    "ambiguous": "--show",
    "ambiguous with a value": "--sh=1",
    "ambiguous letter": "--h",
    "ambiguous letter of many": "--s",
    "ambiguous port": "--p {port}",
    "missing at the end": "--create-function",
    "missing before a short option": "--create-function -S",
    "missing before a short option and its value": "--create-function -p1",
    "a long option as the value": "--drop-function --status -h 127.0.0.1 -p {port}",
    "an unknown option as the value": "--drop-function -x -h 127.0.0.1 -p {port}",
    "two dashes as the value": "--drop-function -- -h 127.0.0.1 -p {port}",
    "an option with no value as the value": "--create-function --x=",
    "no value behind the equal sign": "--create-function= x",
    "no value behind a guessed one": "--cre=",
    "no host by its letter": "-h",
    "nothing but an equal sign": "--=",
    "no name": "--=x --getpid -h 127.0.0.1 -p {port}",
    "three dashes": "---h -p {port}",
    "three dashes alone": "---",
}


@pytest.fixture(scope="module", params=["txgear", "gearmand"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with jobs and workers: ours, and the reference."""
    folder = tmp_path_factory.mktemp("server")
    this = Server(folder) if request.param == "txgear" else reference(folder)
    with this.connect() as worker, this.connect() as client:
        worker.send(P.SET_CLIENT_ID, b"its-name")
        worker.can_do(b"f", b"g")
        for number in range(3):
            client.submit(b"f", b"data", b"unique-%d" % number)
            client.submit(b"h", b"data", b"other-%d" % number, type=P.SUBMIT_JOB_HIGH_BG)
        worker.grab_soon()
        yield this
    this.stop()
    assert this.calm()


def place_of(server: Server) -> list[str]:
    return ["-h", "127.0.0.1", "-p", str(server.port)]


def compare(line: str, port: int) -> None:
    words = filled(shlex.split(line), {}, port=str(port), nobody=str(free_port()))
    theirs, ours = (tool(*words) for tool in both("gearadmin"))
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


@pytest.mark.parametrize("name", [name for name, line in WORDS.items() if "{port}" in line])
def test_is_the_same(name: str, shared: Server) -> None:
    """Both say the same, byte for byte, and end with the same status."""
    compare(WORDS[name], shared.port)


@pytest.mark.parametrize("name", [name for name, line in WORDS.items() if "{port}" not in line])
def test_is_the_same_without_a_server(name: str) -> None:
    """So they do where no server is asked."""
    compare(WORDS[name], 0)


def test_workers_are_the_same(shared: Server) -> None:
    """So they do of `--workers`, but for the asking connection's own number."""
    found = []
    for tool in both("gearadmin"):
        done = tool(*place_of(shared), "--workers", "--getpid")
        assert (done.returncode, done.stderr) == (0, b"")
        assert b" its-name : g f\n" in done.stdout
        found.append(sorted(re.sub(rb"(?m)^\d+ 127", b"N 127", done.stdout).splitlines()))
    assert found[0] == found[1]


CHANGES = {
    "create": ["--create-function={f}"],
    "create twice": ["--create-function={f}", "--create-function={f}"],
    "drop": ["--create-function={f}", "--drop-function={f}"],
    "both at once": ["--drop-function={f} --create-function={f} --status"],
    "cancel": ["--cancel-job={handle}", "--cancel-job={handle}"],
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_the_same(name: str, shared: Server) -> None:
    """What changes something says the same, and leaves the same at the server."""
    found: list[Any] = []
    for tool in both("gearadmin"):
        names = fresh_names()
        with shared.connect() as client:
            handle = client.submit(names["{g}"].encode(), b"data") if name == "cancel" else b""
            said = []
            for line in CHANGES[name]:
                done = tool(*filled(line.split(), names, handle=handle.decode()), *place_of(shared))
                # Of a list, only the function that it is about.
                mine = [
                    row
                    for row in done.stdout.splitlines(keepends=True)
                    if b"\t" not in row or names["{f}"].encode() in row
                ]
                said.append((done.returncode, normal(b"".join(mine), names), normal(done.stderr, names)))
            if name == "cancel":
                client.expect(P.WORK_FAIL, handle)
        found.append((said, shared.status(names["{f}"]), shared.status(names["{g}"]) or (0, 0, 0)))
        with shared.connect() as peer:
            peer.ask(f"drop function {names['{f}']}")
            peer.ask(f"drop function {names['{g}']}")
    assert found[0] == found[1]
    assert (found[1][1] is not None) == (name in ("create", "create twice"))


def test_every_option_has_a_case() -> None:
    """Each option of the C tool's help is in a case."""
    listed = run([requires("gearadmin"), "--help"]).stdout.decode()
    options = set(re.findall(r"(?<= )-\w(?= )|(?<= )--[-\w]+", listed))
    lines = [*WORDS.values(), "--workers", *(line for lines in CHANGES.values() for line in lines)]
    tested = {word.partition("=")[0] for line in lines for word in line.split()}
    # By its long name `--ssl` is tried below.
    assert options - tested <= {"--ssl"}
    assert len(options) == 18


# What a server does that is not ours.


@contextmanager
def answering(*parts: bytes, pause: float = 0.0, close: bool = False) -> Iterator[int]:
    """A server that answers a line with these parts, with a pause between; its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                heard = b""
                while b"\n" not in heard:
                    heard += peer.recv(1000)
                for part in parts:
                    peer.sendall(part)
                    time.sleep(pause)
                if not close:
                    # Until it goes.
                    peer.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


ANSWERS = {
    "a bare OK": ([b"OK\r\n"], "--create-function=f"),
    "an OK with nothing": ([b"OK \n"], "--getpid"),
    "an error": ([b"ERR code with+text\r\n"], "--status"),
    "what it does not know": ([b"something\n"], "--getpid"),
    "an empty list": ([b".\n"], "--workers"),
    "what controls a terminal": ([b"a\x1b[2J\t1\t1\t1\n.\n"], "--status"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_shown_the_same(name: str) -> None:
    """Whatever the answer is, both show it the same."""
    parts, option = ANSWERS[name]
    found = []
    for tool in both("gearadmin"):
        with answering(*parts) as port:
            done = tool("-h", "127.0.0.1", "-p", str(port), option)
        found.append((done.returncode, done.stdout, done.stderr))
    assert found[0] == found[1]


@pytest.mark.parametrize("parts", [[], [b"a\t0\t0\t0\n"]])
def test_a_server_that_ends(parts: list[bytes]) -> None:
    """Without an answer, both say that it has gone. Of half an answer the C tool shows what it has."""
    found = []
    for tool in both("gearadmin"):
        with answering(*parts, close=True) as port:
            done = tool("-h", "127.0.0.1", "-p", str(port), "--status")
        found.append((done.returncode, done.stdout, done.stderr))
    gone = (1, b"", b"Error: Socket was shutdown while reading from 127.0.0.1\n")
    assert found[1] == gone
    if not parts:
        assert found[0] == gone


def test_an_answer_in_parts() -> None:
    """A list that comes slowly is shown whole; the C tool takes five milliseconds of silence for its end."""
    with answering(b"a\t0\t0\t0\n", b"b\t0\t0\t0\n.", b"\n", pause=0.1) as port:
        done = both("gearadmin")[1]("-h", "127.0.0.1", "-p", str(port), "--status")
    assert (done.returncode, done.stdout) == (0, b"a\t0\t0\t0\nb\t0\t0\t0\n.\n")


def strict(*words: str) -> Done:
    return run([*txgear(), "gearadmin", "--strict", *words])


def test_strict(server: Server, function: str) -> None:
    """An error of the server's is status 1; the rest is as without."""
    place = place_of(server)
    assert strict(*place, "--drop-function", function).returncode == 1
    done = strict(*place, "--cancel-job", "H:no:1", "--getpid")
    assert (done.returncode, done.stdout) == (1, f"{server.pid}\n".encode())
    assert strict(*place, "--create-function", function).returncode == 0
    assert strict("-h", "127.0.0.1", "-p", str(free_port()), "--getpid").returncode == 1
    assert strict().returncode == 1


def test_refused_by_rules(start_server: Servers, tmp_path: Path) -> None:
    """A server that does not let one ask says so; the status is that of any error."""
    rules = tmp_path / "txgear.toml"
    rules.write_text('[[access]]\nidentities = ["*"]\nallow = ["work"]\n')
    server = start_server(f"--config={rules}")
    found = [tool(*place_of(server), "--status", "--getpid") for tool in both("gearadmin")]
    assert found[0].stderr == found[1].stderr
    assert b"Error: " in found[1].stderr
    assert (found[0].returncode, found[1].returncode) == (0, 0)
    assert strict(*place_of(server), "--status").returncode == 1


def test_tls(start_server: Servers, tmp_path: Path) -> None:
    """`-S` and `--ssl` speak TLS; Debian's own tool has none, and speaks without it."""
    port, env = with_tls(start_server, tmp_path)
    words = [*txgear(), "gearadmin", "-h", "localhost", "-p", str(port), "--status", "--server-version"]
    for more in (["-S"], ["--ssl"], ["--strict", "-S"]):
        done = run([*words, *more], env=env)
        assert (done.returncode, done.stderr, done.stdout[-2:]) == (0, b"", b".\n"), more
    env["GEARMAND_CA_CERTIFICATE"] = str(tmp_path / "other.pem")
    done = run([*words, "-S"], env=env)
    assert (done.returncode, done.stdout, done.stderr[:20]) == (1, b"", b"Error: Failed during")


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("GEARMAND_CA_CERTIFICATE", "none", "Error loading CA file {}"),
        ("GEARMAND_CA_CERTIFICATE", "client.key", "Error loading CA file {}"),
        ("GEARMAN_CLIENT_PEM", "none", "Error loading certificate file {}"),
        ("GEARMAN_CLIENT_PEM", "client.key", "Error loading certificate file {}"),
        ("GEARMAN_CLIENT_KEY", "none", "Error loading private key file {}"),
        ("GEARMAN_CLIENT_KEY", "server.key", "Error checking private key"),
    ],
)
def test_tls_files(tmp_path: Path, name: str, file: str, said: str) -> None:
    """Each file has to be there, and what it should be, before anything is connected."""
    env = {**tls_files(tmp_path), name: str(tmp_path / file)}
    done = run([*txgear(), "gearadmin", "-S", "-p", str(free_port()), "--status"], env=env)
    wanted = f"Error: {said.replace('{}', str(tmp_path / file))}\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", wanted)


def test_by_a_link_and_a_script(server: Server, tmp_path: Path) -> None:
    """A link named `gearadmin`, or two lines of shell, take the C tool's place."""
    link, script = tmp_path / "gearadmin", tmp_path / "wrapper"
    link.symlink_to(txgear()[0])
    script.write_text(f'#!/bin/sh\nexec {shlex.join(txgear())} gearadmin "$@"\n')
    script.chmod(0o755)
    for program in (link, script):
        assert run([program, *place_of(server), "--getpid"]).stdout == f"{server.pid}\n".encode()


@pytest.fixture(params=["theirs", "ours"])
def tool(request: pytest.FixtureRequest) -> Tool:
    return both("gearadmin")[request.param == "ours"]


def test_output_that_nobody_reads(tool: Tool, server: Server, names: Callable[[str], str]) -> None:
    """Piped into `head` it ends by SIGPIPE, without a word; a thousand functions are shown whole."""
    peer = server.connect()
    functions = [names(f"{number:04}") for number in range(3000)]
    peer.can_do(*(name.encode() for name in functions))
    rows = tool(*place_of(server), "--status").stdout.decode().splitlines()
    assert set(functions) <= {row.partition("\t")[0] for row in rows}
    words = shlex.join([*tool.command, *place_of(server), "--status"])
    done = run(["bash", "-c", f"{words} | head -n 1; echo ${{PIPESTATUS[0]}}"])
    assert (done.stdout.splitlines()[-1], done.stderr) == (b"141", b"")


def test_it_starts_quickly(server: Server) -> None:
    """One command costs less than 0.3 s of CPU, and Twisted is not imported."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run([*txgear(), "gearadmin", *place_of(server), "--status"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3
    code = "import sys, txgear.cli.imitate.gearadmin; print('twisted' in sys.modules)"
    assert run([sys.executable, "-c", code]).stdout == b"False\n"
