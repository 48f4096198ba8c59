"""
`txgear top` in a terminal, with a real server.

With TXGEAR_SCREENS=FOLDER the screens of the docs are written there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operating import configured
from processes import Programs, Server, Servers, free_port, programs_folder, run, txgear, wait_until
from terminals import Terminal
from txgear.security.tokens import Token, new_token
from wirepeer import P

pytestmark = pytest.mark.txgear_only

RULES = """\
[[identity]]
name = "guest"
tokens = ["{token}"]

[[access]]
identities = ["guest"]
allow = ["http", "metrics", "see"]

[[access]]
identities = ["nobody"]
allow = ["submit"]
"""
POLICIES = """\
[[function]]
name = "mail.*"
retries = { fail = 1, exception = 0 }
results = "1h"
dead = "1d"
"""


class Shop:
    """A server with something to do."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = self.server.connect()
        self.worker = self.server.connect()
        self.handles = [self.submit(b"mail.send", b"order-%d" % number) for number in range(30)]
        for number in range(12):
            self.submit(b"photo.scale", b"photo-%d" % number)
        self.worker.send(P.SET_CLIENT_ID, b"mailer-1")
        self.worker.can_do(b"mail.send")
        failed = self.worker.grab_soon()
        self.worker.send(P.WORK_EXCEPTION, failed.handle, b"550 no such user")
        self.in_hand = self.worker.grab_soon()
        self.worker.send(P.WORK_STATUS, self.in_hand.handle, b"3", b"10")
        self.worker.sync()

    def submit(self, function: bytes, unique: bytes) -> str:
        return self.client.submit(function, b"workload", unique, P.SUBMIT_JOB_BG).decode()

    def command(self, *words: str) -> list[str]:
        return [*txgear(), "top", f"--server=127.0.0.1:{self.server.port}", "--interval=0.2", *words]

    def states(self) -> dict[str, str]:
        """The handles that are not over, and their states."""
        return {row[0]: row[2] for row in self.server.list("jobs limit=200") if row[0] != "next"}


@pytest.fixture
def own(start_server: Servers, tmp_path: Path) -> Callable[..., Shop]:
    """Makes a shop that is for this test alone."""

    def make(store: str = "memory:") -> Shop:
        return Shop(start_server(*configured(tmp_path, POLICIES), store=store))

    return make


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    server = Server(folder, *configured(folder, POLICIES))
    try:
        yield Shop(server)
        assert server.calm()
    finally:
        server.stop()


def keep(name: str, terminal: Terminal) -> None:
    """Keep a screen for the docs."""
    folder = os.environ.get("TXGEAR_SCREENS")
    if folder:
        Path(folder, f"top-{name}.txt").write_text(terminal.text.rstrip() + "\n")


def once(shop: Shop, *words: str) -> Any:
    done = run(shop.command("--once", "--json", *words))
    assert (done.returncode, done.stderr) == (0, b""), done
    return json.loads(done.stdout)


def test_views(shop: Shop) -> None:
    """Each list has what the server has, in 80 x 24."""
    with Terminal(shop.command()) as terminal:
        terminal.shows("photo.scale")
        terminal.press("down")
        terminal.shows("12 jobs wait, and there has been no worker since the server started")
        keep("functions", terminal)
        terminal.press("w")
        terminal.shows("mailer-1")
        terminal.shows(f"mail.send {shop.in_hand.handle.decode()} 30%")
        keep("workers", terminal)
        terminal.press("j")
        terminal.shows(shop.handles[2])
        assert len([line for line in terminal.lines if line.startswith("H:")]) == 20
        keep("jobs", terminal)
        terminal.press("d")
        terminal.shows("550 no such user")
        keep("dead", terminal)
        terminal.press("enter")
        terminal.shows("reasons")
        keep("dead-job", terminal)
        terminal.press("escape", "?")
        terminal.shows("forget (asks)")
        keep("keys", terminal)
        terminal.press("x", "q")
        assert terminal.end() == 0


def test_order_and_filter(shop: Shop) -> None:
    with Terminal(shop.command("--view", "jobs")) as terminal:
        terminal.shows(shop.handles[2])
        terminal.press("/", *"photo", "enter")
        terminal.hides("mail.send")
        terminal.shows("photo.scale")
        terminal.press("/", *" state=running", "enter")
        terminal.shows("Nothing is like that")
        terminal.press("escape")
        terminal.shows("mail.send")
        terminal.press("f", "<")
        terminal.shows("by function")
        terminal.until(lambda: "mail.send" in terminal.lines[3], "the order by name")
        terminal.press("o")
        terminal.until(lambda: "photo.scale" in terminal.lines[3], "the other way round")


def test_acts(own: Callable[..., Shop]) -> None:
    """Keys act on the row that is selected; what they did is what the server says."""
    shop = own()
    with Terminal(shop.command()) as terminal:
        terminal.shows("photo.scale")
        terminal.press("down", "p")
        terminal.shows("photo.scale is paused")
        assert [row[0] for row in shop.server.list("functions paused=yes")] == ["photo.scale"]
        terminal.press("p")
        terminal.shows("photo.scale goes on")
        assert shop.server.list("functions paused=yes") == []
        terminal.press("K")
        terminal.shows("Cancel all 12 jobs of photo.scale that wait?")
        terminal.press("n")
        terminal.shows("Nothing was done")
        assert shop.server.status("photo.scale") == (12, 0, 0)
        terminal.press("K", "y")
        terminal.shows("12 jobs of photo.scale are cancelled")
        assert shop.server.unused("photo.scale")
        terminal.press("up", "J")
        terminal.shows("/function=mail.send")
        terminal.shows(shop.in_hand.handle.decode())
        terminal.press("down")
        victim = shop.handles[2]
        terminal.press("k")
        terminal.shows(f"Cancel {victim} of mail.send?")
        terminal.press("y")
        terminal.shows(f"{victim} is cancelled")
        assert victim not in shop.states()
        # The one that stands there now was not selected by anybody.
        terminal.press("+")
        terminal.shows(f"{shop.handles[3]}: high priority?")
        terminal.press("y")
        terminal.shows(f"{shop.handles[3]} has high priority")
        [row] = [row for row in shop.server.list("jobs limit=200") if row[0] == shop.handles[3]]
        assert row[3] == "high"
        terminal.press("d")
        dead = shop.handles[0]
        terminal.shows(dead)
        terminal.press("r", "y")
        terminal.shows(f"{dead} is queued")
        assert shop.states()[dead] == "queued"
        terminal.shows("There are no dead jobs")
        terminal.press("w")
        terminal.shows("mailer-1")
        terminal.press("down", "p")
        terminal.shows("classic protocol")
        terminal.press("K", "y")
        terminal.shows("the connection of mailer-1 has ended")
        shop.worker.read_to_end()


def test_more_acts(own: Callable[..., Shop], programs: Programs) -> None:
    """A worker is paused and stopped; a dead job is forgotten; and what is pasted does nothing."""
    shop = own()
    program = programs_folder() / "steered_worker.py"
    steered = programs.start([sys.executable, program, str(shop.server.port), "photo.print", "steered"])
    with Terminal(shop.command("--view=workers", "--filter=steer")) as terminal:
        terminal.shows("steered")
        terminal.press("down", "p")
        terminal.until(lambda: "paused" in terminal.lines[3], "a worker that is paused")
        terminal.press("p")
        terminal.until(lambda: "paused" not in terminal.lines[3], "one that goes on")
        terminal.press("k")
        terminal.shows("finish what it has, and end?")
        terminal.press("y")
        steered.wait()
        terminal.press("d")
        dead = shop.handles[0]
        terminal.shows(dead)
        terminal.press("\x1b[200~xy\x1b[201~")
        terminal.shows("left out")
        assert shop.server.list("dead")[0][0] == dead
        terminal.press("x", "y")
        terminal.shows(f"{dead} is forgotten")
        assert dead not in {row[0] for row in shop.server.list("dead")}


def test_many(fresh_server: Server) -> None:
    """A thousand functions: the first by any order, all of them at the end, and those that are wrong."""
    server = fresh_server
    with server.connect() as client:
        for number in range(1000):
            client.submit(b"step-%04d" % number, b"", b"", P.SUBMIT_JOB_BG)
        client.submit(b"step-0777", b"", b"", P.SUBMIT_JOB_BG)
    with Terminal([*txgear(), "top", f"--server=127.0.0.1:{server.port}", "--interval=0.3"]) as terminal:
        terminal.shows("1-20 of 1000")
        assert terminal.lines[3].startswith("step-0777")
        terminal.press("end")
        terminal.until(lambda: terminal.lines[22].startswith("step-0999"), "the last one")
        terminal.shows("981-1000 of 1000")
        terminal.press("o")
        terminal.until(lambda: terminal.lines[3].startswith("step-0000"), "those with the fewest jobs")
        assert "no worker" in terminal.lines[3]
        terminal.press("<", "<")
        terminal.shows("by wrong")


def test_rates(own: Callable[..., Shop]) -> None:
    """They are those of the last seconds."""
    shop = own()
    with Terminal(shop.command("--interval=1")) as terminal:
        terminal.shows("in/s")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            shop.submit(b"mail.send", b"")
            terminal.listen(0.05)
        [row] = [line.split() for line in terminal.lines if line.startswith("mail.send")]
        assert 4 < float(row[-4]) < 25, terminal.text


def test_server_goes_and_comes(own: Callable[..., Shop], start_server: Servers, tmp_path: Path) -> None:
    """A server that has gone is said, with what it said last; when it is back, so is its row."""
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    shop = own(store)
    with Terminal(shop.command()) as terminal:
        terminal.shows("photo.scale")
        shop.server.close_peers()
        shop.server.kill()
        terminal.shows("as of")
        assert "photo.scale" in terminal.text
        start_server(*configured(tmp_path, POLICIES), store=store, port=shop.server.port)
        terminal.hides("as of")
        terminal.shows("12")
        terminal.press("q")
        assert terminal.end() == 0


def test_frozen_server(shop: Shop) -> None:
    """One that does not answer holds up neither the screen nor the keys."""
    with Terminal(shop.command("--timeout=3")) as terminal:
        terminal.shows("photo.scale")
        shop.server.pause()
        try:
            terminal.press("?")
            terminal.shows("select a row")
            terminal.press("x")
            terminal.shows("does not answer")
            began = time.monotonic()
            terminal.press("q")
            assert terminal.end() == 0
            assert time.monotonic() - began < 2
        finally:
            shop.server.resume()


def test_several_servers(shop: Shop, own: Callable[..., Shop]) -> None:
    other = own()
    place = f"127.0.0.1:{other.server.port}"
    with Terminal(shop.command(f"--server={place}")) as terminal:
        terminal.shows("server")
        terminal.until(lambda: terminal.text.count("photo.scale") == 2, "rows of both")
    found = once(shop, f"--server={place}")
    assert [each["server"] for each in found["servers"]] == [f"127.0.0.1:{shop.server.port}", place]
    other.server.stop()
    found = run(shop.command("--once", "--json", f"--server={place}"))
    assert found.returncode == 3
    assert json.loads(found.stdout)["servers"][1]["error"].startswith(place)


@pytest.mark.parametrize(("width", "height"), [(40, 10), (132, 50), (20, 5)])
def test_size(shop: Shop, width: int, height: int) -> None:
    """It follows the size of the terminal."""
    with Terminal(shop.command()) as terminal:
        terminal.shows("photo.scale")
        terminal.resize(width, height)
        terminal.listen(0.5)
        terminal.until(lambda: terminal.lines[1].startswith("[functions]"[:width]), "the tabs")
        assert terminal.lines[0].startswith("127.0.0.1:")
        terminal.resize(80, 24)
        terminal.shows("takes")


WAYS = ["q", "\x03", "\x04", signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]


@pytest.mark.parametrize("way", WAYS)
def test_the_terminal_is_left_as_it_was(shop: Shop, way: str | signal.Signals) -> None:
    with Terminal(["/bin/sh"]) as terminal:
        before = terminal.modes()
        terminal.child.sendline(f"{' '.join(shop.command())}; echo ended $?")
        terminal.shows("photo.scale")
        assert terminal.modes() != before
        if isinstance(way, str):
            terminal.press(way)
        else:
            [child] = children(terminal.child.pid)
            os.kill(child, way)
        terminal.shows(f"ended {0 if isinstance(way, str) else 128 + way}")
        assert terminal.modes() == before


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_suspended(shop: Shop) -> None:
    """Ctrl-Z gives the shell its terminal, and fg gives it back."""
    with Terminal(["/bin/bash", "--norc", "-i"], env={"PS1": "shell> "}) as terminal:
        terminal.shows("shell>")
        before = terminal.modes()
        terminal.child.sendline(" ".join(shop.command()))
        terminal.shows("photo.scale")
        terminal.press("\x1a")
        terminal.shows("Stopped")
        assert terminal.modes()[3] & 0x8 == before[3] & 0x8
        terminal.child.sendline("fg")
        terminal.until(lambda: terminal.lines[1].startswith("[functions]"), "the screen")
        terminal.press("w")
        terminal.shows("mailer-1")
        terminal.press("q")
        terminal.shows("shell>")


def test_stopped_by_others(shop: Shop) -> None:
    """After SIGSTOP, which nobody can prepare for, the screen is drawn anew, and the keys work."""
    with Terminal(["/bin/sh"]) as terminal:
        before = terminal.modes()
        terminal.child.sendline(f"{' '.join(shop.command())}; echo ended $?")
        terminal.shows("photo.scale")
        [child] = children(terminal.child.pid)
        os.kill(child, signal.SIGSTOP)
        terminal.shows("Stopped")
        slept = sleeps(child)
        os.kill(child, signal.SIGCONT)
        # The shell has the terminal: whoever wants it is stopped again, and goes on with what it was at.
        wait_until(lambda: sleeps(child) != slept and state(child) == "T")
        terminal.child.sendline("fg")

        def answers() -> bool:
            # The shell may still have the terminal, and with it the first of these keys.
            terminal.press("w")
            return "mailer-1" in terminal.text

        terminal.until(answers, "the workers")
        terminal.press("q")
        terminal.until(lambda: terminal.modes() == before, "the shell's terminal")


def test_hung_up(shop: Shop) -> None:
    """It ends with its terminal, and says nothing to nobody."""
    with Terminal(shop.command()) as terminal:
        terminal.shows("photo.scale")
        inner = terminal.child.ptyproc
        inner.fileobj.close()
        inner.closed = terminal.child.closed = True
        assert os.waitstatus_to_exitcode(os.waitpid(inner.pid, 0)[1]) == 128 + signal.SIGHUP
        inner.terminated = terminal.child.terminated = True


def test_a_terminal_that_takes_nothing(shop: Shop) -> None:
    """After Ctrl-S it ends all the same, and the terminal goes on."""
    with Terminal(["/bin/sh"]) as terminal:
        before = terminal.modes()
        terminal.child.sendline(f"{' '.join(shop.command())}; echo ended $?")
        terminal.shows("photo.scale")
        terminal.press("\x13")
        terminal.listen(0.5)
        [child] = children(terminal.child.pid)
        os.kill(child, signal.SIGTERM)
        terminal.shows(f"ended {128 + signal.SIGTERM}")
        assert terminal.modes() == before


def sleeps(pid: int) -> str:
    """How often a process has given its processor up, in words of the kernel's."""
    return Path(f"/proc/{pid}/status").read_text().partition("voluntary_ctxt_switches:")[2]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_slow_lines(shop: Shop) -> None:
    """What has not changed is not written again; and a key that comes in pieces is one."""
    with Terminal(shop.command("--interval=1")) as terminal:
        terminal.shows("photo.scale")
        terminal.listen(2)
        before = terminal.written
        terminal.listen(4)
        # Ages go on, and nothing else.
        assert terminal.written - before < 4 * 150
        terminal.child.send("\x1b")
        time.sleep(0.03)
        terminal.child.send("[")
        time.sleep(0.03)
        terminal.child.send("B")
        terminal.shows("12 jobs wait")


def test_without_colour(shop: Shop) -> None:
    """What colours say is said by words as well."""
    coloured: set[str] = set()
    for no_colour in ("", "1"):
        with Terminal(shop.command(), env={"NO_COLOR": no_colour}) as terminal:
            terminal.shows("no worker")
            coloured = {code for code in terminal.styles if len(code) == 2}
            assert bool(coloured) != bool(no_colour)


def test_once(shop: Shop) -> None:
    """One screen, for whoever has no terminal; and all of it as JSON."""
    for view, text in (
        ("functions", b"photo.scale"),
        ("workers", b"mailer-1"),
        ("dead", b"550 no such user"),
    ):
        done = run(shop.command("--once", "--view", view))
        assert (done.returncode, done.stderr) == (0, b"")
        assert text in done.stdout
        assert b"\x1b" not in done.stdout
    found = once(shop, "--view=jobs", "--filter=state=running")
    assert [row["handle"] for row in found["servers"][0]["rows"]] == [shop.in_hand.handle.decode()]
    assert found["servers"][0]["totals"]["running"] == 1
    found = once(shop, "--view=jobs", "--sort=-age", "--filter=photo")
    ages = [row["age"] for row in found["servers"][0]["rows"]]
    assert (len(ages), ages) == (12, sorted(ages, reverse=True))
    wrong = {row["function"]: row.get("code") for row in once(shop)["servers"][0]["rows"]}
    assert wrong["photo.scale"] == "never_a_worker"
    head = run(["sh", "-c", f"{' '.join(shop.command('--once', '--view=jobs'))} | head -n 1"])
    assert head.stderr == b""
    assert head.stdout.count(b"\n") == 1


def test_mistakes(shop: Shop) -> None:
    for words, status, said in (
        ([], 2, "a terminal is wanted; --once prints one screen elsewhere"),
        (["--json"], 2, "--json is for one screen: --once --json"),
        (["--once", "--filter=colour=red"], 2, "colour= is not known here"),
        (["--once", "--view=jobs", "--filter=state=lost"], 2, "state: a value such as"),
        (["--once", "--sort=colour"], 2, "there is no 'colour' here; there are queue, age"),
        (["--once", "--view=all"], 2, "'all' is not one of"),
        (["--interval=0"], 2, "not in the range"),
    ):
        done = run(shop.command(*words))
        assert done.returncode == status, done
        assert said in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1
    with Terminal(shop.command(), env={"TERM": "dumb"}) as terminal:
        assert terminal.end() == 2
        assert "TERM is 'dumb'; --once prints one screen" in " ".join(terminal.text.split())


def test_no_server() -> None:
    command = [*txgear(), "top", f"--server=127.0.0.1:{free_port()}"]
    done = run([*command, "--once"])
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
    assert b"Connection refused" in done.stderr
    with Terminal(command) as terminal:
        terminal.shows("Connection refused")
        terminal.press("q")
        assert terminal.end() == 3


def test_refused_by_rules(start_server: Servers, tmp_path: Path) -> None:
    """Who may only see is told so when a key wants more; who is not known sees nothing."""
    token = new_token()
    (tmp_path / "token").write_text(token)
    text = RULES.format(token=Token.of(token.encode()))
    server = start_server(*configured(tmp_path, text))
    command = [*txgear(), "top", f"--server=127.0.0.1:{server.port}", "--interval=0.2"]
    with server.connect() as client:
        handle = client.submit(b"photo.scale", b"", b"", P.SUBMIT_JOB_BG).decode()
    done = run([*command, "--once"])
    assert (done.returncode, done.stderr.count(b"\n")) == (4, 1), done
    with Terminal(command) as terminal:
        terminal.shows("Not allowed")
        terminal.press("q")
        assert terminal.end() == 4
    with Terminal([*command, f"--token-file={tmp_path / 'token'}", "--view=jobs"]) as terminal:
        terminal.shows(handle)
        terminal.press("k", "y")
        terminal.shows("Not allowed: cancel photo.scale")
        terminal.press("q")
        assert terminal.end() == 0
