"""Peers that break the rules: they harm nobody but themselves, and learn nothing about others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from make_corpus import CORPUS, FOLDER, Nasty, Then
from processes import Server
from wirepeer import HEADER, REQ, RES, P, WirePeer, packet

#: Stands in the workloads and results of the peers that behave; nobody else may ever receive it.
SECRET: Final = b"a-secret-between-two-peers"


class Watch:
    """A client and a worker that behave, and that a fuzzing peer must not disturb."""

    def __init__(self, server: Server, function: str) -> None:
        self._client, self._worker = server.connect(), server.connect()
        self._function = function.encode()
        self._worker.can_do(self._function)
        self._cycles = 0

    def cycle(self) -> None:
        """One echo and one job, from submit to result."""
        self._cycles += 1
        secret = SECRET + b"-%d" % self._cycles
        handle = self._client.submit(self._function, secret, b"unique-%d" % self._cycles)
        job = self._worker.grab_soon()
        assert (job.handle, job.workload) == (handle, secret)
        self._worker.complete(job, secret + b"-result")
        self._client.expect(P.WORK_COMPLETE, handle, secret + b"-result")
        assert self._client.sync() == []


@pytest.fixture
def watch(server: Server) -> Watch:
    """Peers whose function nobody else can guess."""
    return Watch(server, f"watched-{id(server)}-by-nobody-else")


def well_formed(data: bytes) -> bool:
    """Whether what a server sent is packets and lines, the last perhaps cut."""
    while data:
        if data[0]:
            _, end, data = data.partition(b"\n")
            if not end:
                return True
            continue
        if len(data) < HEADER.size:
            return RES.startswith(data[:4]) or data[:4] == RES
        magic, kind, size = HEADER.unpack(data[: HEADER.size])
        if magic != RES or not 0 < kind <= 42 or size > 2**24:
            return False
        data = data[HEADER.size + size :]
    return True


def test_corpus_is_complete() -> None:
    """The folder holds what `make_corpus.py` makes, and nothing else."""
    assert {path.name: path.read_bytes() for path in FOLDER.glob("*.bin")} == {
        f"{nasty.name}.bin": nasty.data for nasty in CORPUS
    }


@pytest.mark.parametrize(
    "nasty",
    [
        pytest.param(nasty, id=nasty.name, marks=[pytest.mark.txgear_only] if nasty.ours_only else [])
        for nasty in CORPUS
    ],
)
def test_corpus(server: Server, watch: Watch, nasty: Nasty) -> None:
    """Each message of the corpus gets what it deserves, and the other peers notice nothing."""
    peer = server.connect()
    with contextlib.suppress(ConnectionError):
        peer.send_raw((FOLDER / f"{nasty.name}.bin").read_bytes())
    if nasty.then is Then.CLOSES:
        assert peer.read_to_end() == b""
    elif nasty.then is Then.REFUSES_AND_CLOSES:
        assert peer.expect(P.ERROR).args[0]
        assert peer.read_to_end() == b""
    elif nasty.then is Then.REFUSES:
        answer = peer.expect(P.ERROR)
        assert len(answer.args) == 2
        assert not nasty.code or answer.args[0] == nasty.code
        assert peer.sync() == []
    elif nasty.then is Then.ANSWERS:
        peer.read()
        assert peer.sync() == []
    elif nasty.then is Then.IGNORES:
        assert peer.sync() == []
    else:
        with contextlib.suppress(OSError):
            peer.shut_writing()
            peer.read_to_end()
    assert well_formed(peer.received)
    assert SECRET not in peer.received
    watch.cycle()


def test_unique_too_large_text(server: Server) -> None:
    """The refusal of a long unique has the reference's words."""
    peer = server.connect()
    peer.send(P.SUBMIT_JOB, b"function", b"u" * 65, b"data")
    peer.expect(P.ERROR, b"ARGUMENT_TOO_LARGE", b"Unique value too large")


@pytest.mark.parametrize(
    ("kind", "tail", "text"),
    [
        (P.WORK_STATUS, (b"1", b"2"), b"Job given in work result not found"),
        (P.WORK_COMPLETE, (b"stolen",), b"Job given in work result not found"),
        (P.WORK_FAIL, (), b"Job given in work result not found"),
        (P.WORK_DATA, (b"stolen",), b"Job does not exist on server"),
        (P.WORK_WARNING, (b"stolen",), b"Job does not exist on server"),
        (P.WORK_EXCEPTION, (b"stolen",), b"An exception was received for a job that does not exist"),
    ],
)
def test_only_the_owner_speaks_for_a_job(
    server: Server, function: str, kind: P, tail: tuple[bytes, ...], text: bytes
) -> None:
    """WORK_* for a job that another worker has: JOB_NOT_FOUND, and neither client nor worker hears of it."""
    client, worker, thief = server.connect(), server.connect(), server.connect()
    for peer in (worker, thief):
        peer.can_do(function.encode())
    handle = client.submit(function.encode(), SECRET)
    job = worker.grab_soon()
    thief.send(kind, handle, *tail)
    thief.expect(P.ERROR, b"JOB_NOT_FOUND", text)
    assert client.sync() == []
    worker.complete(job, b"mine")
    client.expect(P.WORK_COMPLETE, handle, b"mine")
    assert SECRET not in thief.received


def test_reset_of_a_thief_leaves_the_job(server: Server, function: str) -> None:
    """Another worker's CANT_DO, RESET_ABILITIES and end do not touch a running job."""
    client, worker, other = server.connect(), server.connect(), server.connect()
    for peer in (worker, other):
        peer.can_do(function.encode())
    handle = client.submit(function.encode(), b"data")
    job = worker.grab_soon()
    other.send(P.CANT_DO, function.encode())
    other.send(P.RESET_ABILITIES)
    other.sync()
    other.close()
    worker.complete(job, b"done")
    client.expect(P.WORK_COMPLETE, handle, b"done")
    assert worker.sync() == []


@pytest.mark.txgear_only
@pytest.mark.parametrize("size", [63, 64])
def test_longest_uniques_coalesce(server: Server, function: str, size: int) -> None:
    """A unique of up to 64 bytes is one job for two clients, and its workload arrives as it was sent."""
    first, second, worker = server.connect(), server.connect(), server.connect()
    unique = function.encode().ljust(size, b"u")
    handle = first.submit(function.encode(), b"workload", unique)
    assert second.submit(function.encode(), b"workload", unique) == handle
    second.send(P.GET_STATUS_UNIQUE, unique)
    second.expect(P.STATUS_RES_UNIQUE, unique, b"1", b"0", b"0", b"0", b"2")
    worker.can_do(function.encode())
    job = worker.grab_soon()
    assert (job.unique, job.workload) == (unique, b"workload")
    worker.complete(job, b"done")
    for peer in (first, second):
        peer.expect(P.WORK_COMPLETE, handle, b"done")


@pytest.mark.txgear_only
def test_newline_in_arguments_of_a_listing(server: Server, function: str) -> None:
    """Uniques with line ends and tabs do not break `show unique jobs`."""
    peer = server.connect()
    peer.submit(function.encode(), b"data", function.encode() + b"\n.\nforged\tx")
    rows = server.connect().ask_list("show unique jobs")
    assert "forged\tx" not in rows
    assert any(function in row for row in rows)


def resident(pid: int) -> int:
    """A process's resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@pytest.mark.txgear_only
def test_declared_length_takes_no_memory(server: Server, watch: Watch) -> None:
    """Twenty peers that announce the longest packet allowed, and send none of it, cost next to nothing."""
    before = resident(server.pid)
    for _ in range(20):
        server.connect().send_raw(HEADER.pack(REQ, P.SUBMIT_JOB, 64 * 2**20) + b"function\0\0")
    watch.cycle()
    assert resident(server.pid) - before < 16 * 2**20


@pytest.mark.txgear_only
def test_a_peer_that_never_reads_is_paused(server: Server, watch: Watch) -> None:
    """Hundreds of megabytes of echoes to a peer that reads none do not all stay in the server's memory."""
    before = resident(server.pid)
    peer = server.connect(timeout=1.0)
    request = packet(P.ECHO_REQ, bytes(2**20))
    sent = 0
    with contextlib.suppress(TimeoutError):
        for _ in range(300):
            peer.send_raw(request)
            sent += 1
    assert sent < 150
    assert resident(server.pid) - before < 150 * 2**20
    watch.cycle()
    peer.close()
    watch.cycle()


def test_many_connections_at_once(server: Server, watch: Watch) -> None:
    """Two hundred connections that say nothing, and then all go, disturb nobody."""
    peers = [WirePeer(server.port) for _ in range(200)]
    watch.cycle()
    for peer in peers:
        peer.close()
    watch.cycle()


# Random messages

NAMES = st.sampled_from([b"f", b"g", b"h", b""])
NUMBERS = st.sampled_from([b"0", b"1", b"-1", b"99999999999", b"x", b""])
HANDLES = st.sampled_from([b"H:a:1", b"H:", b"1", b""])
WORDS = st.one_of(NAMES, NUMBERS, HANDLES, st.binary(max_size=80), st.just(b"exceptions"))
TYPES = st.one_of(st.sampled_from([int(kind) for kind in P]), st.integers(0, 50))


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A packet that is right, or nearly."""
    kind = draw(TYPES)
    body = b"\0".join(draw(st.lists(WORDS, max_size=8)))
    magic = draw(st.sampled_from([REQ] * 12 + [RES, b"\0REX"]))
    size = len(body)
    lie = draw(st.sampled_from([0] * 12 + [-1, 1, 7, 200, 2**31, 2**32 - 1]))
    return HEADER.pack(magic, kind, min(max(0, size + lie), 2**32 - 1)) + body


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A text line that is right, or nearly."""
    commands = [
        b"status",
        b"workers",
        b"show jobs",
        b"show unique jobs",
        b"prioritystatus",
        b"version",
        b"maxqueue f",
    ]
    commands += [
        b"create function f",
        b"drop function f",
        b"cancel job",
        b"cancel",
        b"drop",
        b"verbose",
        b"getpid",
    ]
    command = draw(st.sampled_from(commands))
    tail = draw(st.one_of(st.just(b""), WORDS.map(lambda word: b" " + word)))
    return command + tail + draw(st.sampled_from([b"\n", b"\r\n"]))


MESSAGES = st.lists(
    st.one_of(packets(), packets(), packets(), lines(), st.binary(max_size=40)), min_size=1, max_size=8
)

#: Few enough for some ten seconds in all.
FUZZ = settings(max_examples=2500, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def fuzzed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the random messages alone: what they queue stays theirs."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()
    assert server.calm(), f"a traceback in the server's log:\n{server.log()}"


@pytest.fixture(scope="module")
def fuzz_watch(fuzzed_server: Server) -> Watch:
    return Watch(fuzzed_server, "watched-while-others-fuzz")


@pytest.mark.txgear_only  # The reference allocates what a header declares, and hands out memory.
@FUZZ
@given(messages=MESSAGES, piece=st.integers(1, 64), politely=st.booleans())
def test_random_messages(
    fuzzed_server: Server, fuzz_watch: Watch, messages: list[bytes], piece: int, politely: bool
) -> None:
    """Whatever a peer sends, in whatever pieces: the server lives, nothing of theirs leaks."""
    data = b"".join(messages)
    with WirePeer(fuzzed_server.port, timeout=5.0) as peer:
        with contextlib.suppress(OSError):
            if politely:
                peer.send_raw(data)
            else:
                for place in range(0, len(data), piece):
                    peer.send_raw(data[place : place + piece])
            peer.shut_writing()
            peer.read_to_end()
        received = peer.received
    assert SECRET not in received
    assert well_formed(received), received
    assert fuzzed_server.running, fuzzed_server.log()
    fuzz_watch.cycle()


@pytest.mark.txgear_only
@FUZZ
@given(
    kind=TYPES,
    arguments=st.lists(st.binary(max_size=30), max_size=8),
    following=st.binary(max_size=20),
)
def test_one_bad_packet_keeps_the_stream(
    fuzzed_server: Server, fuzz_watch: Watch, kind: int, arguments: list[bytes], following: bytes
) -> None:
    """A packet of a known type with any body leaves the stream in step: the next echo comes back whole."""
    if not 0 < kind <= 42:
        return
    with WirePeer(fuzzed_server.port, timeout=5.0) as peer:
        peer.send_raw(packet(kind, *arguments) + packet(P.ECHO_REQ, following + b"-mark"))
        packets_before = 0
        while True:
            got = peer.read()
            assert got.magic == RES
            if got.type == P.ECHO_RES and got.body == following + b"-mark":
                break
            packets_before += 1
            assert packets_before <= 3, got
        assert SECRET not in peer.received
    fuzz_watch.cycle()
