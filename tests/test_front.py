"""What peers and operators meet at the Gearman port: names, refusals, hints, ends."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from needs import requires
from processes import Program, Programs, Server, Servers, Throttle, run, wait_until
from wirepeer import P, WirePeer, packet

pytestmark = pytest.mark.txgear_only

CLIENT_OF_TWO = """
$client = new GearmanClient();
// libgearman asks the server that was added last first.
foreach (explode(",", $argv[1]) as $server) { $client->addServers($server); }
$pipe = fopen($argv[2], "r");
while (fread($pipe, 1) !== "") {
    $result = @$client->doNormal("%s", "x");
    echo $client->returnCode(), " ", $result, "\\n";
}
"""

WORKER_OF_SECONDS = """
$worker = new GearmanWorker();
$worker->addServers($argv[1]);
$worker->addFunction("%s", function ($job) { usleep(1500000); return "done"; }, null, 5);
$worker->work();
"""


def gearadmin(server: Server, *options: str) -> bytes:
    done = run([requires("gearadmin"), "-h", "127.0.0.1", "-p", str(server.port), *options])
    assert done.returncode == 0, done
    return done.stdout


# Names


def test_what_is_listed_can_be_pasted(fresh_server: Server) -> None:
    """PHP's class names and names that look alike, through `gearadmin` and back into commands."""
    peer = fresh_server.connect()
    names = (b"App\\Jobs\\Mail", b"App\\xdebug\\Job", b"look\talike", b"look\\x09alike", b"caf\xe9", b"a b")
    for name in names:
        peer.send(P.SUBMIT_JOB_BG, name, b"", b"")
        peer.expect(P.JOB_CREATED)
    listed = [line.split(b"\t")[0] for line in gearadmin(fresh_server, "--status").splitlines()[:-1]]
    assert listed == [
        b"App\\Jobs\\Mail",
        b"App\\x5cxdebug\\Job",
        b"look\\x09alike",
        b"look\\x5cx09alike",
        b"caf\\xe9",
        b"a b",
    ]
    for word in listed[:-1]:
        assert peer.ask(b"pause " + word) == b"OK\r\n"
    assert peer.ask(b"pause App\\xdebug\\Job") == b"OK\r\n"
    paused = [row.split("\t")[0].encode() for row in peer.ask_list("functions paused=yes")]
    assert paused == listed[:-1]
    assert peer.ask(b"pause App\\xdead\\Job").startswith(b"ERR UNKNOWN_FUNCTION ")


def test_a_unique_that_is_a_dot(fresh_server: Server) -> None:
    """`gearadmin` lists all uniques, and a connection that is kept stays in step."""
    peer = fresh_server.connect()
    for unique in (b"dot-first", b".", b"dot-last"):
        peer.send(P.SUBMIT_JOB_BG, b"f", unique, b"")
        peer.expect(P.JOB_CREATED)
    assert gearadmin(fresh_server, "--show-unique-jobs") == b"dot-first\n\\x2e\ndot-last\n.\n"


def test_handles_of_perl(fresh_server: Server) -> None:
    """Perl's client puts the server in front of its handles."""
    perl = requires("perl", perl_module="Gearman::Client")
    script = (
        "my $client = Gearman::Client->new(job_servers => [$ARGV[0]]);"
        " print $client->dispatch_background('f', \\'w')"
    )
    place = f"127.0.0.1:{fresh_server.port}"
    handle = run([perl, "-MGearman::Client", "-e", script, place]).stdout
    assert handle.startswith(place.encode() + b"//H:")
    peer = fresh_server.connect()
    assert peer.status_of(handle)[0] == b"1"
    assert peer.ask(b"cancel job " + handle) == b"OK\r\n"


# Orders and what is paused


def test_orders_are_logged_and_what_is_paused_is_named(start_server: Servers, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/jobs.sqlite"
    server = start_server(store=store)
    peer = server.connect()
    peer.send(P.SET_CLIENT_ID, b"nagios")
    assert peer.ask("pause send\\x20mail") == b"OK\r\n"
    wait_until(lambda: b"127.0.0.1 (nagios): pause send\\x20mail: OK" in server.said(), what="the line")
    server.stop()
    again = start_server(store=store)
    assert b"paused, until `resume` is said: send\\x20mail" in again.said()


# Refusals


def test_clients_of_a_server_that_drains_go_to_the_next(
    start_server: Servers, programs: Programs, tmp_path: Path
) -> None:
    """Of PHP's client one submit is lost, and the next is the other server's."""
    php = requires("php", php_extension="gearman")
    # libgearman 1.1.20 with several servers waits for ever, now and then, for an answer that has come and
    # that it does not read, with gearmand as well.
    for attempt in range(6):
        drained = _ServerThatDrains(start_server)
        gate = Throttle(tmp_path / f"gate{attempt}")
        client = programs.start(
            [php, "-r", CLIENT_OF_TWO % "f", drained.places, gate.path], name=f"client{attempt}"
        )
        try:
            drained.play(gate, client)
        except ClientWaits:
            continue
        finally:
            gate.close()
        return
    raise AssertionError("the client has never read its answers")


class ClientWaits(Exception):
    """A client has not read an answer that was sent."""


class _ServerThatDrains:
    """Two servers with a worker each, of which the first drains while somebody waits for a job of it."""

    def __init__(self, start_server: Servers) -> None:
        self.first, self.second = start_server(), start_server()
        self.places = f"127.0.0.1:{self.second.port},127.0.0.1:{self.first.port}"
        self.workers = {}
        for server in (self.first, self.second):
            worker = self.workers[server] = server.connect()
            worker.can_do(b"f", b"slow")
            # The first job of a server takes longer to be answered than all others.
            client = server.connect()
            for _ in range(20):
                client.submit(b"f", b"")
                job = worker.grab_soon()
                worker.complete(job, b"")
                client.expect(P.WORK_COMPLETE, job.handle, b"")
            client.close()

    def play(self, gate: Throttle, client: Program) -> None:
        self.ask(gate, client, b"0 one", self.first)
        # Somebody waits for a job, so that the drain does not end.
        waiting, worker = self.first.connect(), self.workers[self.first]
        waiting.submit(b"slow", b"")
        job = worker.grab_soon()
        self.first.signal(signal.SIGUSR1)
        wait_until(lambda: b"draining" in self.first.said(), what="the server to drain")
        self.ask(gate, client, b"14 ", None)
        self.ask(gate, client, b"0 two", self.second)
        worker.complete(job, b"last")
        waiting.expect(P.WORK_COMPLETE, job.handle, b"last")
        assert waiting.read_to_end() == b""
        assert self.first.wait() == 0

    def ask(self, gate: Throttle, client: Program, expected: bytes, server: Server | None) -> None:
        before = client.stdout
        gate.open()
        if server is not None:
            self.workers[server].complete(self.workers[server].grab_soon(), expected.split()[1])
        try:
            wait_until(lambda: client.stdout != before and client.stdout.endswith(b"\n"), timeout=3)
        except AssertionError as error:
            raise ClientWaits from error
        assert client.stdout == before + expected + b"\n"


def test_refused_by_closing(start_server: Servers) -> None:
    """What came before the refused submit is answered, what comes behind it is not."""
    server = start_server("--refuse-by-closing")
    peer = server.connect()
    assert peer.ask("maxqueue f 1") == b"OK\r\n"
    peer.send_raw(packet(P.SUBMIT_JOB_BG, b"f", b"", b"") * 2 + packet(P.ECHO_REQ, b"x"))
    peer.expect(P.JOB_CREATED)
    assert peer.read_to_end() == b""


def test_http_is_not_obeyed(fresh_server: Server) -> None:
    """A browser can be made to post lines to any port."""
    peer = fresh_server.connect()
    peer.send(P.SUBMIT_JOB_BG, b"f", b"", b"")
    peer.expect(P.JOB_CREATED)
    url = f"http://127.0.0.1:{fresh_server.port}/"
    done = run([requires("curl"), "-sS", "-m", "10", "--data-binary", "x\npurge f\nshutdown\n", url])
    assert (done.returncode, done.stdout) == (52, b"")
    assert fresh_server.status("f") == (1, 0, 0)


# What was hardly meant


def test_workers_that_mean_seconds(start_server: Servers, programs: Programs, function: str) -> None:
    """PHP's worker sends what its page calls seconds; the server is told so, or says that it wonders."""
    php = requires("php", php_extension="gearman")
    for unit, attempts in (("milliseconds", 2), ("seconds", 1)):
        server = start_server("--can-do-timeout-unit", unit)
        client = server.connect()
        client.submit(function.encode(), b"")
        place = f"127.0.0.1:{server.port}"
        programs.start([php, "-r", WORKER_OF_SECONDS % function, place], name=f"worker-{unit}")
        if attempts == 1:
            assert client.expect(P.WORK_COMPLETE, timeout=10).args[1] == b"done"
            assert b"taken back" not in server.said()
        else:
            taken = f" of {function} is taken back from 127.0.0.1 ".encode()
            wait_until(lambda: taken in server.said(), what="the line")  # noqa: B023
            assert b"gives itself 5 milliseconds for a job of " + function.encode() in server.said()


# Clients that leave


def test_fire_and_forget(fresh_server: Server) -> None:
    """A client that submits and leaves, its answers unread: all that has reached the server is done."""
    submits = packet(P.SUBMIT_JOB_BG, b"f", b"", b"w") * 3000
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", fresh_server.port), 5.0) as connection:
            connection.sendall(submits)
    fresh_server.wait_for_total("f", 9000)
    with WirePeer(fresh_server.port) as peer:
        assert peer.ask("version").startswith(b"OK ")
