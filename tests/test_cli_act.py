"""The commands that change something, run as people run them: what each has done is what the server says by
its text commands, not what the command says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from operating import ALL_KEPT, NIGHTLY
from processes import PATIENCE, Programs, Server, Servers, programs_folder, run, txgear, wait_until
from terminals import Terminal
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only

Done = subprocess.CompletedProcess[bytes]

CONFIG: Final = ALL_KEPT + NIGHTLY + 'workload = "all of it"\n'

#: Jobs of a task that takes long enough to be stopped.
MANY: Final = 100_000


def act(server: Server | int, *words: str, **more: Any) -> Done:
    """Run a command that asks a server; it is not asked whether it means it."""
    port = server if isinstance(server, int) else server.port
    return run([*txgear(), *words, "--server", f"127.0.0.1:{port}"], **more)


def rows(done: Done) -> list[dict[str, str]]:
    """The rows of plain text, of a command that has done all."""
    assert (done.returncode, done.stderr) == (0, b""), done
    names, *lines = done.stdout.decode().splitlines() or [""]
    return [dict(zip(names.split("\t"), line.split("\t"), strict=True)) for line in lines]


def nothing(done: Done) -> None:
    """There was nothing that it could have been done to, which is said."""
    assert (done.returncode, done.stdout) == (0, b""), done
    assert done.stderr.endswith(b": nothing was done: none matches\n"), done


def documents(done: Done) -> list[dict[str, Any]]:
    """The same of JSON."""
    assert (done.returncode, done.stderr) == (0, b""), done
    return [json.loads(line) for line in done.stdout.splitlines()]


def failed(done: Done, status: int, *texts: str) -> None:
    """It has done nothing, and each line of its errors has one of these texts."""
    said = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(said)) == (status, b"", len(texts)), done
    for line, text in zip(said, texts, strict=True):
        assert line.startswith("txgear "), line
        assert text in line


def submit(server: Server, function: str, count: int = 1, unique: str = "") -> list[str]:
    """The handles of new background jobs."""
    with server.connect(PATIENCE) as peer:
        return [
            peer.submit(function.encode(), b"work %d" % number, unique.encode(), P.SUBMIT_JOB_BG).decode()
            for number in range(count)
        ]


def die(server: Server, function: str, count: int = 1, text: bytes = b"no such user") -> list[str]:
    """The handles of jobs that are dead."""
    handles = submit(server, function, count)
    with server.connect(PATIENCE) as worker:
        worker.can_do(function.encode())
        for _ in handles:
            worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, text)
        worker.sync()
    return handles


def finish(server: Server, function: str) -> str:
    """The handle of a job that is done, and kept."""
    [handle] = submit(server, function)
    with server.connect(PATIENCE) as worker:
        worker.can_do(function.encode())
        worker.complete(worker.grab_soon(), b"result")
        worker.sync()
    return handle


def fill(server: Server, function: str, count: int) -> None:
    """Submit a great many."""
    peer, part = server.connect(PATIENCE), 2000
    for _ in range(0, count, part):
        peer.send_raw(packet(P.SUBMIT_JOB_BG, function.encode(), b"", b"work") * part)
        for _ in range(part):
            assert peer.read().type == P.JOB_CREATED


def about(server: Server, handle: str) -> dict[str, str]:
    """What the server says of a job; nothing of one that is unknown."""
    with server.connect(PATIENCE) as peer:
        if (first := peer.ask(f"job {handle}")).startswith(b"ERR"):
            return {}
        lines = [first]
        while lines[-1] != b".\n":
            lines.append(peer.read_until(b"\n"))
    return dict(line.decode().rstrip("\n").split("\t")[:2] for line in lines[:-1])


def workload(server: Server, handle: str) -> str:
    """A job's workload, as the server shows it."""
    return dict(row[:2] for row in server.list(f"workload {handle}"))["workload"]


def states(server: Server, handles: list[str]) -> list[str]:
    return [about(server, handle).get("state", "unknown") for handle in handles]


def counts(server: Server, function: str) -> list[str]:
    """How many of its jobs are queued, wait, run, and are dead."""
    for name, queued, waiting, running, _, dead, *_ in server.list("functions"):
        if name == function:
            return [queued, waiting, running, dead]
    return []


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that can share one: each has functions of its own."""
    folder = tmp_path_factory.mktemp("act")
    config = folder / "txgear.toml"
    config.write_text(CONFIG)
    server = Server(folder, "--config", str(config))
    yield server
    assert server.calm(), server.log()
    server.stop()


# Jobs that are named


def test_cancel(operated: Server, function: str) -> None:
    """Those that are named, and no others; each is told of, and one that there is not as well."""
    one, two, three = submit(operated, function, 3)
    found = rows(act(operated, "cancel", one, "--yes"))
    assert found == [{"handle": one, "function": function, "state": "cancelled", "priority": "normal"}]
    assert states(operated, [one, two, three]) == ["cancelled", "queued", "queued"]
    done = act(operated, "cancel", "H:no:1", two, one, "-y", "--json")
    assert (done.returncode, [json.loads(line)["handle"] for line in done.stdout.splitlines()]) == (1, [two])
    assert done.stderr.decode().splitlines() == [
        "txgear cancel: job H:no:1: There is no such job",
        f"txgear cancel: job {one}: The job has ended",
    ]
    assert states(operated, [two, three]) == ["cancelled", "queued"]
    failed(act(operated, "cancel", "H:no:1", "-y"), 1, "There is no such job")


def test_what_cannot_be_undone_asks(operated: Server, function: str) -> None:
    """Without a terminal it does nothing, and says with which option it would."""
    [live], [dead] = submit(operated, function), die(operated, f"{function}.dead")
    for words in (
        ["cancel", live],
        ["cancel", "-"],
        ["cancel", "--function", function],
        ["retry", "--function", f"{function}.dead"],
        ["forget", dead],
        ["purge", function],
        ["drop", function],
        ["drain"],
        ["shutdown"],
    ):
        failed(act(operated, *words, stdin=live.encode()), 2, "--yes gives it")
    assert states(operated, [live, dead]) == ["queued", "dead"]


def test_it_asks_at_a_terminal(operated: Server, function: str) -> None:
    """Only a yes is a yes; the question has the count, and nothing that would move the cursor."""
    handles = submit(operated, function, 3)

    def asked(words: list[str], question: str, answer: str) -> int:
        with Terminal([*txgear(), *words, "--server", f"127.0.0.1:{operated.port}"]) as terminal:
            terminal.shows(f"{question} [y/N]")
            terminal.press(answer, "enter")
            return terminal.end()

    name = function + "\x1b[31m"
    for answer in ("n", "", "yellow", "\x04"):
        assert asked(["cancel", *handles], "Cancel 3 jobs?", answer) == 1
    assert asked(["drop", name], f"Drop function {function}\\x1b[31m?", "no") == 1
    assert asked(["purge", function], f"Purge function {function} of 3 jobs?", "n") == 1
    assert asked(["cancel", "--function", function], "Cancel 3 jobs?", "n") == 1
    assert states(operated, handles) == ["queued"] * 3
    assert asked(["cancel", handles[0]], f"Cancel job {handles[0]}?", "y") == 0
    assert asked(["cancel", "--function", function], "Cancel 2 jobs?", "YES") == 0
    assert states(operated, handles) == ["cancelled"] * 3


def test_it_asks_at_the_terminal_although_handles_come_from_elsewhere(
    operated: Server, function: str, tmp_path: Path
) -> None:
    handles = submit(operated, function, 2)
    (tmp_path / "handles").write_text("\n".join(handles))
    command = f"{' '.join(txgear())} cancel - --server 127.0.0.1:{operated.port} < {tmp_path}/handles"
    for answer, state in (("n", "queued"), ("y", "cancelled")):
        with Terminal(["/bin/sh", "-c", command]) as terminal:
            terminal.shows("Cancel 2 jobs? [y/N]")
            terminal.press(answer, "enter")
            terminal.end()
        assert states(operated, handles) == [state] * 2


def test_handles_from_standard_input(operated: Server, function: str) -> None:
    """One a line, as other commands write them; what is no handle keeps none of the others back."""
    handles = submit(operated, function, 5)
    listed = act(operated, "jobs", "--function", function, "--columns", "handle").stdout
    done = act(operated, "priority", "high", handles[0], "-", stdin=listed + b"\n  \nH:no:1\n\xff\n")
    assert done.returncode == 1
    # The line of names, and two that are none.
    assert [line.split(b": ")[1] for line in done.stderr.splitlines()] == [
        *(b"job handle", b"job H:no:1", rb"job \xff")
    ]
    assert [about(operated, handle)["priority"] for handle in handles] == ["high"] * 5
    failed(act(operated, "cancel", "-", "-y", stdin=b"H" * 5000), 2, "too long")
    assert rows(act(operated, "cancel", "-", "-y")) == []


def test_ten_thousand_handles(operated: Server, function: str) -> None:
    """They go over one connection, and none waits for an acknowledgement; where nobody reads what is said of
    them, all of it is done all the same."""
    fill(operated, function, 10_000)
    listed = act(operated, "jobs", "--function", function, "--all", "--columns", "handle").stdout
    handles = listed.split(b"\n", 1)[1]
    before = operated.list("connections")
    with subprocess.Popen(["head", "-n", "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as head:
        done = subprocess.run(
            [*txgear(), "priority", "low", "-", "--server", f"127.0.0.1:{operated.port}"],
            input=handles,
            stdout=head.stdin,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        assert head.communicate()[0].count(b"\n") == 2
    assert (done.returncode, done.stderr) == (1, b"")
    written = handles.decode().split()
    assert [about(operated, written[place])["priority"] for place in (0, 5000, -1)] == ["low"] * 3
    assert len(operated.list("connections")) <= len(before)


def test_retry(operated: Server, function: str) -> None:
    """A dead job, or one that waits; of one that is done it says how."""
    [dead] = die(operated, function)
    with operated.connect() as peer:
        peer.send(P.SUBMIT_JOB_EPOCH, function.encode(), b"", b"9999999999", b"later")
        waiting = peer.expect(P.JOB_CREATED).body.decode()
    assert states(operated, [dead, waiting]) == ["dead", "waiting"]
    assert [row["state"] for row in rows(act(operated, "retry", dead, waiting))] == ["queued", "queued"]
    assert states(operated, [dead, waiting]) == ["queued", "queued"]
    failed(act(operated, "retry", dead), 1, "not dead")
    done = finish(operated, f"{function}.done")
    failed(act(operated, "retry", done), 1, f"txgear copy {done} --workload FILE")


def test_forget(operated: Server, function: str) -> None:
    [dead], kept, [live] = die(operated, function), finish(operated, function), submit(operated, function)
    assert rows(act(operated, "forget", dead, kept, "-y")) == [
        {"handle": dead, "state": "forgotten"},
        {"handle": kept, "state": "forgotten"},
    ]
    failed(act(operated, "forget", live, "-y"), 1, "it can be cancelled")
    assert states(operated, [dead, kept, live]) == ["unknown", "unknown", "queued"]


def test_priority_and_move(operated: Server, function: str) -> None:
    """With a handle as Perl writes it, too."""
    one, two = submit(operated, function, 2)
    assert rows(act(operated, "priority", "low", f"127.0.0.1:{operated.port}//{one}"))[0]["handle"] == one
    assert [about(operated, each)["priority"] for each in (one, two)] == ["low", "normal"]
    assert rows(act(operated, "move", "--to", f"{function}.é", one))[0]["function"] == f"{function}.é"
    assert [about(operated, each)["function"] for each in (one, two)] == [f"{function}.é", function]
    failed(act(operated, "move", "--to", f"{function}.é", one), 1, "is one of that function")
    for words in (["priority", "highest", one], ["priority", one], ["move", one]):
        failed(act(operated, *words), 2, "--help")


def test_review(operated: Server, function: str) -> None:
    """Set aside and put back, one by one and all that match."""
    one, two, three = die(operated, function, 3)
    review = f"r{operated.port}"

    def aside() -> list[str]:
        return sorted(row[0] for row in operated.list(f"dead review={review}"))

    assert rows(act(operated, "review", "--into", review, two))[0]["handle"] == two
    assert aside() == [two]
    [row] = rows(act(operated, "review", "--into", review, "--function", function, "--most", "1", "-y"))
    assert (row["matched"], row["done"]) == ("2", "1")
    assert aside() == [one, two]
    assert rows(act(operated, "review", "--back", one))[0]["handle"] == one
    assert aside() == [two]
    failed(act(operated, "review", "--back", one), 1, "in no review")
    [found] = documents(act(operated, "review", "--back", "--review", review, "--preview", "--json"))
    assert (found["matched"], found["preview"]) == (1, True)
    assert aside() == [two]
    [row] = rows(act(operated, "review", "--back", "--review", review, "-y"))
    assert (row["matched"], row["done"]) == ("1", "1")
    assert operated.list("reviews") == []
    assert states(operated, [one, two, three]) == ["dead"] * 3
    failed(act(operated, "review", "--back", "--review", review, "-y"), 1, "no such review")
    for words in (
        [one],
        ["--into", "a", "--back", one],
        ["--into", "a", "--most", "3", one],
        ["--back", "--function", "*"],
        ["--into", "a", "--most", "1001", "--function", "*"],
    ):
        failed(act(operated, "review", *words), 2, "")


def test_copy(operated: Server, function: str, tmp_path: Path) -> None:
    """The same once more, or with something changed; several, and one that is done with a workload."""
    [original] = submit(operated, function, unique="one")
    [row] = rows(act(operated, "copy", original))
    copy = about(operated, row["handle"])
    assert row["original"] == original
    assert (copy["copy_of"], copy["function"], copy["priority"]) == (original, function, "normal")
    assert workload(operated, row["handle"]) == "work 0"
    other = f"{function}.other"
    words = ["--function", other, "--priority", "high", "--unique", "two", "--in", "1h"]
    [found] = documents(act(operated, "copy", original, *words, "--json"))
    told = about(operated, found["handle"])
    assert [told[name] for name in ("function", "priority", "unique", "state")] == [
        *(other, "high", "two", "waiting")
    ]
    [row] = rows(act(operated, "copy", original, "--at", "2999-12-24 18:30"))
    assert about(operated, row["handle"])["begins"].startswith("2999-12-24T")
    done = finish(operated, f"{function}.done")
    failed(act(operated, "copy", done), 1, "workload is not kept")
    (tmp_path / "new").write_bytes(b"\x00\xff")
    for given, stdin in ((str(tmp_path / "new"), b""), ("-", b"\x00\xff")):
        [row] = rows(act(operated, "copy", done, "--workload", given, stdin=stdin))
        assert workload(operated, row["handle"]) == "\\x00\\xff"
    assert len(rows(act(operated, "copy", "-", original, stdin=original.encode()))) == 2
    for words in (
        [original, original, "--unique", "x"],
        [original, "--workload", "/nowhere/file"],
        ["-", "--workload", "-"],
        [original, "--in", "soon"],
        [original, "--at", "soon"],
        [original, "--at", "12:00", "--in", "1h"],
        [],
    ):
        failed(act(operated, "copy", *words), 2, "")


def test_a_workload_is_corrected(operated: Server, function: str, tmp_path: Path) -> None:
    [dead] = die(operated, function)
    (tmp_path / "new").write_bytes(b"to: a@example.com")
    found = act(operated, "workload", dead, "--put", str(tmp_path / "new"), "--json")
    assert json.loads(found.stdout)["size"] == 17
    assert workload(operated, dead) == "to: a@example.com"
    assert act(operated, "workload", dead, "--put", "-", stdin=b"").returncode == 0
    assert about(operated, dead)["size"] == "0"
    failed(act(operated, "workload", "H:no:1", "--put", "-"), 1, "there is no job H:no:1")
    failed(act(operated, "workload", dead, "--put", "/nowhere/file"), 2, "cannot read /nowhere/file")
    failed(act(operated, "workload", dead, "--put", "-", "--output", "x"), 2, "one of the two")
    failed(act(operated, "workload", finish(operated, function), "--put", "-"), 1, "")


# Jobs that match


def test_all_that_match(operated: Server, function: str) -> None:
    """Each act by a filter, in the words of the lists; a preview changes nothing."""
    live, dead = submit(operated, f"{function}.live", 3), die(operated, f"{function}.dead", 3, b"550 who?")
    kept = finish(operated, f"{function}.kept")

    def matched(*words: str) -> tuple[str, str]:
        [row] = rows(act(operated, *words, "-y"))
        return row["matched"], row["done"]

    [row] = rows(act(operated, "cancel", "--function", f"{function}.*", "--preview"))
    assert (row["matched"], row["state"]) == ("3", "done")
    words = ["--kept", "--function", f"{function}.*"]
    [found] = documents(act(operated, "forget", *words, "--preview", "--json"))
    assert (found["matched"], found["done"], found["of"], found["act"]) == (1, 0, "kept", "forget")
    assert states(operated, [*live, *dead, kept]) == [*["queued"] * 3, *["dead"] * 3, "done"]

    assert matched("priority", "high", "--function", f"{function}.l*", "--text", "work 1") == ("1", "1")
    assert [about(operated, each)["priority"] for each in live] == ["normal", "high", "normal"]
    all_dead = ("--dead", "--function", f"{function}.*")
    assert matched("priority", "low", *all_dead, "--reason", "fail") == ("0", "0")
    assert matched("priority", "low", *all_dead) == ("3", "3")
    assert [about(operated, each)["priority"] for each in dead] == ["low"] * 3
    old = ("--function", f"{function}.live", "--older", "0s")
    assert matched("move", "--to", f"{function}.new", *old) == ("3", "3")
    assert about(operated, live[0])["function"] == f"{function}.new"
    assert matched("move", "--to", f"{function}.grave", *all_dead) == ("3", "3")
    assert counts(operated, f"{function}.grave") == ["0", "0", "0", "3"]
    assert matched("retry", *all_dead[1:], "--reason", "exception", "--text", "550") == ("3", "3")
    assert counts(operated, f"{function}.grave") == ["3", "0", "0", "0"]
    words = ["--function", f"{function}.*", "--state", "queued,waiting"]
    assert matched("cancel", *words, "--worker", "nobody") == ("0", "0")
    assert matched("cancel", *words) == ("6", "6")
    assert states(operated, live) == ["cancelled"] * 3
    assert matched("forget", "--kept", "--function", f"{function}.*") == ("7", "7")
    assert states(operated, [*live, kept]) == ["unknown"] * 4
    die(operated, f"{function}.dead", 2)
    assert matched("forget", "--function", f"{function}.dead", "--unique", "no") == ("0", "0")
    assert matched("forget", "--function", f"{function}.dead") == ("2", "2")
    assert rows(act(operated, "cancel", "--function", f"{function}.none"))[0]["matched"] == "0"


def test_filters_that_make_no_sense(operated: Server, function: str) -> None:
    [handle] = submit(operated, function)
    for words in (
        ["cancel"],
        ["cancel", handle, "--function", "*"],
        ["cancel", handle, "--preview"],
        ["cancel", "--preview"],
        ["cancel", "--state", "happy"],
        ["cancel", "--older", "soon"],
        ["cancel", "--reason", "fail"],
        ["retry", "--reason", "happy"],
        ["move", "--to", "x", "--dead", "--state", "queued"],
        ["forget", "--kept", "--reason", "fail"],
    ):
        failed(act(operated, *words, "-y"), 2, "")
    assert states(operated, [handle]) == ["queued"]


def test_some_of_those_that_match_cannot(operated: Server, function: str) -> None:
    """A line for each, the others are done, and the status says that something is wrong."""
    other = f"{function}.other"
    taken = submit(operated, other, unique="same")
    mine, free = submit(operated, function, unique="same"), submit(operated, function)
    done = act(operated, "move", "--to", other, "--function", function, "-y")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split(b"\t")[1:] == [b"done", b"2", b"1", b"0", b"1"]
    [line] = done.stderr.decode().splitlines()
    assert line.startswith(f"txgear move: job {mine[0]}: ")
    assert [about(operated, each)["function"] for each in (*taken, *mine, *free)] == [other, function, other]


def test_ten_thousand_that_match(operated: Server, function: str) -> None:
    """With a bar on a terminal, which is gone at the end."""
    fill(operated, function, 10_000)
    words = [*txgear(), "cancel", "--function", function, "--server", f"127.0.0.1:{operated.port}"]
    with Terminal(words) as terminal:
        terminal.shows("Cancel 10,000 jobs? [y/N]")
        terminal.press("y", "enter")
        assert terminal.end() == 0
        assert "10000" in terminal.text
    assert counts(operated, function)[:3] == ["0", "0", "0"]


def test_an_interrupt_stops_the_task(fresh_server: Server, programs: Programs) -> None:
    """On the server, and it says what stays done; before that it shows how far it is."""
    # With fewer it may be done before a busy machine shows that it has begun.
    most = 3 * MANY
    fill(fresh_server, "work", most)
    words = [*txgear(), "cancel", "--function", "work", "-y", "--server", f"127.0.0.1:{fresh_server.port}"]
    with Terminal(words) as terminal:
        terminal.shows("acting")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert "is stopped" in terminal.text
        assert "jobs are done" in terminal.text.replace("\n", " ")
    [task] = fresh_server.list("tasks")
    assert task[2] == "stopped"
    assert 0 < int(task[6]) < most
    assert fresh_server.status("work") == (most - int(task[6]), 0, 0)
    # Few may be left by now, which would be done before anybody could stop it.
    fill(fresh_server, "work", MANY)
    place = ["--server", f"127.0.0.1:{fresh_server.port}"]
    acting = programs.start([*txgear(), "priority", "high", "--function", "work", "-y", *place])
    wait_until(lambda: len(fresh_server.list("tasks")) == 2)
    watching = programs.start([*txgear(), "task", "2", "--follow", *place])
    wait_until(lambda: fresh_server.list("tasks")[1][2] == "acting")
    # By somebody else.
    stopped = rows(act(fresh_server, "stop-task", "2"))
    assert [(row["number"], row["state"]) for row in stopped] == [("2", "stopped")]
    for process in (acting, watching):
        assert process.wait() == 1
        assert b"stopped by somebody else" in process.stderr
    assert fresh_server.list("tasks")[1][2] == "stopped"
    [found] = documents(act(fresh_server, "task", "2", "--json"))
    assert (found["state"], found["act"]) == ("stopped", "prioritise")
    assert b"filter\tfunction=work\n" in act(fresh_server, "task", "2").stdout
    failed(act(fresh_server, "task", "99"), 1, "no such task")
    failed(act(fresh_server, "stop-task", "99"), 1, "no such task")


# Functions


def test_pause_and_resume(operated: Server, names: Callable[[str], str]) -> None:
    one, two, new = names("one"), names("two"), names("new")
    submit(operated, one), submit(operated, two)

    def paused() -> set[str]:
        return {row[0] for row in operated.list("functions paused=yes")} & {one, two, new}

    assert rows(act(operated, "pause", one, new)) == [
        {"function": one, "paused": "yes"},
        {"function": new, "paused": "yes"},
    ]
    assert paused() == {one, new}
    pattern = f"{one[:-3]}*"
    rows(act(operated, "pause", "--function", pattern))
    assert paused() == {one, two, new}
    assert {row["function"] for row in rows(act(operated, "resume", two))} == {two}
    assert paused() == {one, new}
    failed(act(operated, "resume", two), 1, "is not paused")
    found = documents(act(operated, "resume", "--function", pattern, "--json"))
    assert one in {row["function"] for row in found}
    assert one not in paused()
    nothing(act(operated, "pause", "--function", "no.such.*"))
    act(operated, "resume", new)
    for words in (["pause"], ["pause", one, "--function", "*"]):
        failed(act(operated, *words), 2, "one of the two")


def test_purge_create_drop_and_maxqueue(operated: Server, names: Callable[[str], str]) -> None:
    one, two = names("one"), names("two")
    handles = submit(operated, one, 2)
    assert rows(act(operated, "purge", one, "-y")) == [{"function": one, "jobs": "2"}]
    assert states(operated, handles) == ["cancelled"] * 2
    failed(act(operated, "purge", "no.such", "-y"), 1, "no such function")
    assert rows(act(operated, "create", two)) == [{"function": two, "paused": "no"}]
    assert operated.status(two) == (0, 0, 0)
    assert rows(act(operated, "maxqueue", two, "--bound", "2", "--high", "3")) == [
        {"function": two, "high": "3", "normal": "2", "low": "2"}
    ]
    [told] = [row[-1] for row in operated.list(f"functions function={two}")]
    assert json.loads(told) == {"high": 3, "normal": 2, "low": 2}
    rows(act(operated, "maxqueue", two, "--low", "9"))
    [told] = [row[-1] for row in operated.list(f"functions function={two}")]
    assert json.loads(told) == {"high": 0, "normal": 0, "low": 9}
    assert rows(act(operated, "drop", two, "-y")) == [{"function": two, "state": "dropped"}]
    assert operated.status(two) is None
    submit(operated, one)
    done = act(operated, "drop", one, "no.such", "-y")
    assert (done.returncode, done.stdout) == (1, b"")
    assert [b"workers or jobs" in done.stderr, b"no such function" in done.stderr] == [True, True]
    failed(act(operated, "maxqueue", one), 2, "--bound")
    failed(act(operated, "maxqueue", one, "--bound", "-1"), 2, "--bound")


def test_run_schedule(operated: Server) -> None:
    [row] = rows(act(operated, "run-schedule", "nightly"))
    assert (row["schedule"], row["function"], row["joined"]) == ("nightly", "report", "no")
    assert workload(operated, row["handle"]) == "all of it"
    done = act(operated, "run-schedule", "nightly", "never")
    assert done.returncode == 1
    assert done.stderr == b"txgear run-schedule: schedule never: There is no such schedule\n"


# Workers


def test_steer(operated: Server, function: str, programs: Programs) -> None:
    """By their numbers, or all that match: what a worker was told, it does."""
    program = programs_folder() / "steered_worker.py"
    worker = programs.start([sys.executable, program, str(operated.port), function, "mailer"], name="steered")
    operated.wait_for_workers(function)
    with operated.connect(PATIENCE) as classic:
        classic.can_do(function.encode())
        operated.wait_for_workers(function, 2)

        def number(name: str) -> str:
            return next(row[0] for row in operated.list("connections") if row[2] == name)

        def paused() -> Done | None:
            done = act(operated, "steer", "pause", number("mailer"))
            return done if done.returncode == 0 else None

        # A worker says what it understands only when it has heard that the server does, too.
        done = wait_until(paused, what="a worker that can be paused")
        assert done is not None
        [row] = rows(done)
        assert (row["number"], row["word"]) == (number("mailer"), "pause")
        [handle] = submit(operated, function)
        time.sleep(0.3)
        assert states(operated, [handle]) == ["queued"]
        classic.send(P.SET_CLIENT_ID, b"classic")
        classic.sync()
        done = act(operated, "steer", "resume", "--function", function, "-y")
        assert done.returncode == 1
        assert len(done.stdout.splitlines()) == 2
        assert f"worker {number('classic')}: ".encode() in done.stderr
        wait_until(lambda: states(operated, [handle]) == ["done"])
        [row] = rows(act(operated, "steer", "disconnect", "--worker", "classic", "-y"))
        assert row["word"] == "disconnect"
        assert classic.read_to_end() == b""
    [row] = rows(act(operated, "steer", "stop", "mailer"))
    assert (row["id"], row["word"]) == ("mailer", "stop")
    assert worker.wait() == 0
    failed(act(operated, "steer", "pause", "99999"), 1, "no such worker")
    failed(act(operated, "steer", "pause", "nobody"), 1, "there is no worker nobody at")
    nothing(act(operated, "steer", "pause", "--function", "no.such"))
    for words in (["pause"], ["pause", "1", "--worker", "x"], ["dance", "1"], ["pause", "-1"], ["register"]):
        failed(act(operated, "steer", *words), 2, "")


def test_one_worker(operated: Server, function: str, programs: Programs) -> None:
    """Which functions it does is changed by its id; of several that have it all are meant."""
    program = programs_folder() / "steered_worker.py"
    names = ["same", "same", "other"]
    for name in names:
        programs.start([sys.executable, program, str(operated.port), function, name], name="steered")
    operated.wait_for_workers(function, 3)

    def known(name: str = "same") -> list[dict[str, Any]]:
        return documents(act(operated, "worker", name, "--json"))

    def unused() -> list[str]:
        found = documents(act(operated, "workers", "--group", "steered", "--columns", "id,unused", "--json"))
        return sorted(row["id"] for row in found if row["unused"] == [function])

    assert [each["words"][:3] for each in known()] == [["pause", "resume", "stop"]] * 2
    failed(act(operated, "worker", "same", "unregister", function), 2, "--yes")
    done = rows(act(operated, "worker", "same", "unregister", function, "-y"))
    assert [(row["id"], row["word"], row["argument"]) for row in done] == [
        ("same", "unregister", function)
    ] * 2
    wait_until(lambda: unused() == ["same", "same"])
    assert {each["condition"] for each in known()} == {"unused"}
    [row] = rows(act(operated, "worker", "other", "grow"))
    assert row["text"] == "2 jobs at once"
    wait_until(lambda: [each["concurrency"] for each in known("other")] == [2])
    failed(act(operated, "worker", "other", "register", "no.such"), 1, "It does not know this function")
    failed(act(operated, "worker", "other", "dance"), 1, "it understands pause, resume, stop")
    [host] = {row["host"] for row in known()}
    done = rows(act(operated, "steer", "register", function, "--host", host, "--group", "steered", "-y"))
    assert len(done) == 3
    wait_until(lambda: unused() == [])
    assert len(rows(act(operated, "workers", "--id", "same", "--host", host))) == 2
    assert rows(act(operated, "workers", "--host", "elsewhere")) == []
    text = act(operated, "worker", "other").stdout.decode()
    assert "group\tsteered\n" in text
    assert rows(act(operated, "steer", "stop", "--group", "steered", "-y"))


# What ends before it is done


def test_a_server_that_goes_away_meanwhile(start_server: Servers, programs: Programs) -> None:
    """The command says of the task that it cannot be seen any more."""
    server = start_server()
    fill(server, "work", MANY)
    command = [*txgear(), "cancel", "--function", "work", "-y", "--server", f"127.0.0.1:{server.port}"]
    acting = programs.start(command)
    wait_until(lambda: [row for row in server.list("tasks") if row[2] == "acting"])
    server.kill()
    assert acting.wait() == 3
    assert b"it cannot be seen any more" in acting.stderr


def test_an_interrupt_ends_acts_on_handles(operated: Server, function: str) -> None:
    """After the one that is under way; it says how many are done."""
    [handle] = submit(operated, function)
    command = [*txgear(), "priority", "high", "-", "--server", f"127.0.0.1:{operated.port}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as acting:
        assert acting.stdin is not None
        acting.stdin.write(f"{handle}\n".encode())
        acting.stdin.flush()
        wait_until(lambda: about(operated, handle)["priority"] == "high")
        acting.send_signal(signal.SIGINT)
        out, said = acting.communicate(timeout=PATIENCE)
    assert acting.returncode == 130
    assert handle.encode() in out
    assert said == b"txgear priority: interrupted; 1 done before that\n"
