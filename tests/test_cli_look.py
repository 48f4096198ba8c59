"""The commands that show what servers have, run as people run them: what each says is what the server says by
its text commands, or what was done to it over the wire."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from climemory import MOST_MEMORY, memory
from operating import ALL_KEPT, NIGHTLY
from processes import PATIENCE, Program, Programs, Server, Servers, free_port, run, txgear, wait_until
from txgear.security.tokens import Token, new_token
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

Done = subprocess.CompletedProcess[bytes]

HOSTILE: Final = b"caf\xe9/\x1b[2J \\x41%2F"
SHOWN: Final = r"caf\xe9/\x1b[2J \x5cx41%2F"
"""The same as lists have it."""
BINARY: Final = bytes(range(256))

CONFIG: Final = ALL_KEPT + NIGHTLY

LISTS: Final = (
    *("status", "workers", "jobs", "dead", "kept", "reviews", "tasks", "connections", "identities"),
    *("schedules", "settings", "policies", "audit", "history"),
)
OTHERS: Final = ("function mail.send", "info", "store", "policies mail.send", "history mail.send")


class World(NamedTuple):
    """
    A server with something of everything.

    @ivar handles: of its jobs, by their uniques.
    @ivar worker: who runs C{order 3}.
    """

    server: Server
    handles: dict[str, str]
    worker: WirePeer

    def look(self, *words: str, **more: Any) -> Done:
        """Run a command."""
        return look(self.server, *words, **more)

    def rows(self, *words: str) -> list[dict[str, str]]:
        """A list as plain text has it."""
        return table(self.look(*words))

    def json(self, *words: str) -> Any:
        """A document."""
        return json.loads(succeeded(self.look(*words, "--json")).stdout)


def look(server: Server | int, *words: str, **more: Any) -> Done:
    """Run a command that asks a server."""
    port = server if isinstance(server, int) else server.port
    return run([*txgear(), *words, "--server", f"127.0.0.1:{port}"], **more)


def succeeded(done: Done) -> Done:
    assert (done.returncode, done.stderr) == (0, b""), done
    return done


def table(done: Done) -> list[dict[str, str]]:
    """The rows of plain text by the names of their columns."""
    names, *lines = succeeded(done).stdout.decode().splitlines()
    return [dict(zip(names.split("\t"), line.split("\t"), strict=True)) for line in lines]


def lines(done: Done) -> list[dict[str, Any]]:
    """A list as JSON has it."""
    return [json.loads(line) for line in succeeded(done).stdout.splitlines()]


def of_text(row: list[str]) -> list[str]:
    """A row of a text command, where spaces within words are escaped."""
    return [value.replace("\\x20", " ") for value in row]


def fill(server: Server) -> World:
    """Have jobs in each state."""
    client, worker = server.connect(PATIENCE), server.connect(PATIENCE)
    client.send(P.SET_CLIENT_ID, b"shop")
    worker.send(P.SET_CLIENT_ID, b"mailer-1")
    worker.can_do(b"mail.send")
    handles: dict[str, str] = {}

    def submit(unique: str, function: bytes, workload: bytes, kind: P = P.SUBMIT_JOB_BG) -> None:
        handles[unique] = client.submit(function, workload, unique.encode(), kind).decode()

    submit("order 1", b"mail.send", b"one")
    job = worker.grab_soon()
    worker.send(P.WORK_DATA, job.handle, b"part ")
    worker.complete(job, b"sent")
    submit("order 2", b"mail.send", b"two")
    worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, b"550 no such user")
    submit("order 3", b"mail.send", b"three")
    worker.send(P.WORK_STATUS, worker.grab_soon().handle, b"1", b"3")
    client.send(P.SUBMIT_JOB_EPOCH, b"mail.send", b"order 4", b"9999999999", b"four")
    handles["order 4"] = client.expect(P.JOB_CREATED).body.decode()
    for number in (5, 6, 7):
        submit(f"order {number}", b"mail.bulk", b"text of %d" % number)
    submit("hostile", HOSTILE, BINARY, P.SUBMIT_JOB_HIGH_BG)
    submit("order 8", b"mail.send", b"eight")
    worker.sync()
    with server.connect(PATIENCE) as peer:
        assert peer.ask(f"cancel job {handles['order 8']}").strip() == b"OK"
        assert peer.ask("pause mail.bulk").strip() == b"OK"
        assert peer.ask(f"review job {handles['order 2']} looked-at").strip() == b"OK"
        # It dies as well, and is set aside by nobody.
        submit("order 9", b"mail.send", b"nine")
        other = server.connect(PATIENCE)
        other.can_do(b"mail.send")
        other.send(P.WORK_FAIL, other.grab_soon().handle)
        other.sync()
        other.close()
        assert peer.ask("cancel jobs function=none.* preview=yes").startswith(b"OK")
    return World(server, handles, worker)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("look")
    config = folder / "txgear.toml"
    config.write_text(CONFIG)
    server = Server(
        folder, "--config", str(config), "--job-handle-prefix", "H:vm", store=f"sqlite:///{folder}/q.db"
    )
    yield fill(server)
    assert server.calm(), server.log()
    server.stop()


# Lists


def test_status_counts_what_there_is(world: World) -> None:
    """As the text command `functions` does, which has no rates."""
    found = {row["function"]: row for row in world.rows("status")}
    for name, queued, waiting, running, workers, dead, kept, paused, *_ in world.server.list("functions"):
        row = found.pop(of_text([name])[0])
        assert [row[each] for each in ("queued", "waiting", "running", "workers", "dead", "kept")] == [
            *(queued, waiting, running, workers, dead, kept)
        ]
        assert row["paused"] == ("yes" if paused == "yes" else "-")
        assert (row["oldest"] == "-") == (queued == "0")
    assert not found
    assert {row["function"] for row in world.rows("status", "--paused")} == {"mail.bulk"}
    assert {row["function"] for row in world.rows("status", "--function", "mail.*", "--not-paused")} == {
        "mail.send"
    }


def test_status_ends_with_a_total(world: World) -> None:
    *rows, total = world.rows(
        "status", "--total", "--columns", "function,queued,dead,paused", "--function", "*a*"
    )
    assert [row["function"] for row in rows] == [SHOWN, "mail.bulk", "mail.send"]
    assert total == {"function": "3 functions", "queued": "4", "dead": "2", "paused": "1"}
    *_, last = lines(world.look("status", "--total", "--json"))
    assert last["function"] is None
    # Of all of them, whether or not they are shown.
    assert (
        world.look("status", "--total", "--limit", "1")
        .stdout.splitlines()[-1]
        .startswith(b"3 functions\t4\t")
    )
    assert (last["queued"], last["submitted"], last["completed"], last["failed"]) == (4, 10, 1, 3)


def test_status_has_rates_and_times(world: World) -> None:
    row = world.rows(
        "status", "--function", "mail.send", "--columns", "rate,submitted,completed,run_p95,wait_p50"
    )[0]
    assert float(row["rate"]) > 0
    assert (row["submitted"], row["completed"]) == ("6", "1")
    assert row["run_p95"].endswith("s")
    assert row["wait_p50"].endswith("s")


def test_jobs_are_those_of_the_server(world: World) -> None:
    def seen(*words: str) -> list[list[str]]:
        rows = world.rows("jobs", *words)
        return [[value for name, value in row.items() if name != "age"] for row in rows]

    def told(text: str = "") -> list[list[str]]:
        return [of_text([*row[:4], *row[5:]]) for row in world.server.list(f"jobs {text}".strip())]

    assert len(seen()) == 6
    assert seen() == told()
    for words, text in (
        (("--function", "mail.b*"), "function=mail.b*"),
        (("--state", "queued,waiting"), "state=queued,waiting"),
        (("--unique", "order 6"), "unique=order\\x206"),
        (("--worker", "mailer"), "worker=mailer"),
        (("--text", "text of 7"), "text=text\\x20of\\x207"),
    ):
        assert seen(*words) == told(text) != [], words
    assert seen("--older", "1h") == told("older=1h") == []


def test_dead_jobs_and_their_groups(world: World) -> None:
    """Those that are in a review are listed with it only."""
    handle = world.handles["order 9"]
    assert [row["handle"] for row in world.rows("dead")] == [handle]
    (row,) = world.rows(
        "dead", "--review", "looked-at", "--columns", "handle,function,attempts,reason,text,unique,size"
    )
    assert list(row.values()) == [
        *(world.handles["order 2"], "mail.send", "1", "exception", "550 no such user", "order 2", "3")
    ]
    assert world.rows("dead", "--reason", "exception") == []
    assert [row["handle"] for row in world.rows("dead", "--reason", "exception,fail")] == [handle]
    assert [row["handle"] for row in world.rows("dead", "--unique", "order 9", "--text", "order")] == [handle]
    assert world.rows("dead", "--function", "pdf") == []
    (group,) = world.rows("dead", "--groups", "--function", "mail.*", "--reason", "fail")
    assert (group["function"], group["reason"], group["jobs"], group["handle"]) == (
        "mail.send",
        "fail",
        "1",
        handle,
    )
    assert world.look("dead", "--groups", "--unique", "order 9").returncode == 2


def test_kept_jobs(world: World) -> None:
    rows = world.rows("kept")
    told = [of_text([row[0], row[1], row[2], row[4], row[6]]) for row in world.server.list("kept")]
    assert [[row[n] for n in ("handle", "function", "outcome", "size", "unique")] for row in rows] == told
    assert [row["outcome"] for row in rows] == ["done", "cancelled"]
    assert [row["unique"] for row in world.rows("kept", "--where", "outcome!=done")] == ["order 8"]
    assert [row["unique"] for row in world.rows("kept", "--unique", "order 1")] == ["order 1"]
    assert world.rows("kept", "--function", "mail.b*") == world.rows("kept", "--text", "nothing") == []


def test_workers(world: World) -> None:
    (row,) = world.rows("workers", "--columns", "number,worker,condition,jobs,doing,handle,progress,names")
    descriptor = next(found[0] for found in world.server.list("connections") if found[2] == "mailer-1")
    assert list(row.values()) == [
        *(descriptor, "mailer-1", "busy", "1", "mail.send", world.handles["order 3"], "1/3", "mail.send")
    ]
    for words in (("--function", "mail.s*"), ("--worker", "mailer"), ("--condition", "busy")):
        assert len(world.rows("workers", *words)) == 1
    for words in (("--function", "pdf"), ("--worker", "shop"), ("--condition", "asleep")):
        assert world.rows("workers", *words) == []
    found = world.json("worker", descriptor)
    assert (found["client_id"], found["in_hand"][0]["handle"]) == ("mailer-1", world.handles["order 3"])
    assert (
        f"in_hand.0.handle\t{world.handles['order 3']}\n" in world.look("worker", descriptor).stdout.decode()
    )
    done = world.look("worker", "99999")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"'txgear workers' lists those that there are" in done.stderr


def test_connections(world: World) -> None:
    """The command itself is one of them."""
    told = {row[2]: row for row in world.server.list("connections")}
    rows = {row["client_id"]: row for row in world.rows("connections", "--kind", "gearman")}
    for name in ("shop", "mailer-1"):
        row = rows[name]
        found = [row["number"], row["address"], row["client_id"], row["functions"]]
        assert found == [told[name][place] for place in (0, 1, 2, 6)]
    assert "web" in {row["kind"] for row in world.rows("connections")}
    assert {row["kind"] for row in world.rows("connections", "--kind", "web")} == {"web"}
    assert [row["client_id"] for row in world.rows("connections", "--worker", "shop")] == ["shop"]
    assert world.rows("connections", "--quickack") == []
    assert {"shop", "mailer-1"} < {row["client_id"] for row in world.rows("connections", "--no-quickack")}


def test_reviews_tasks_and_schedules(world: World) -> None:
    (review,) = world.rows("reviews")
    assert (review["name"], review["jobs"], review["bytes"]) == ("looked-at", "1", "3")
    (task,) = world.rows("tasks", "--columns", "number,act,of,state,matched,preview,filter")
    told = world.server.list("tasks")[0]
    assert list(task.values())[:3] == [told[0], "cancel", "jobs"]
    assert list(task.values())[3:] == ["done", "0", "yes", '{"function": "none.*"}']
    (schedule,) = world.rows("schedules", "--columns", "name,cron,timezone,function,words")
    assert list(schedule.values()) == ["nightly", "0 5 * * *", "UTC", "report", "At 05:00 every day"]
    assert world.rows("schedules")[0]["next"].endswith("T05:00:00Z")


def test_what_is_set(world: World) -> None:
    settings = {
        row["name"]: row for row in world.rows("settings", "--columns", "name,value,source,place,about")
    }
    assert settings["port"]["value"] == str(world.server.port)
    assert settings["job-handle-prefix"]["place"] == "--job-handle-prefix"
    assert settings["max-packet"]["source"] == "default"
    assert not any(row["source"] == "default" for row in world.rows("settings", "--where", "source!=default"))
    (rule,) = world.rows("policies")
    assert rule["pattern"] == "*"
    assert "retries=0" in rule["settings"]
    assert "dead.keep=3600" in rule["settings"]
    told = dict(row[:2] for row in world.server.list("policy mail.bulk"))
    found = world.json("policies", "mail.bulk")
    assert (found["pattern"], found["paused"], found["jobs"]) == ("*", True, int(told["jobs"]))
    assert world.json("policies", "not.yet")["jobs"] == 0
    assert world.look("policies", "mail.bulk", "--sort", "pattern").returncode == 2


def test_audit(world: World) -> None:
    """The newest first."""
    rows = world.rows("audit", "--columns", "number,act,outcome,address,about")
    assert [row["act"] for row in rows][-3:] == ["review", "pause", "cancel"]
    assert f"handle={world.handles['order 8']}" in rows[-1]["about"]
    assert [row["act"] for row in world.rows("audit", "--act", "pause")] == ["pause"]
    assert [row["act"] for row in world.rows("audit", "--text", world.handles["order 8"])] == ["cancel"]
    assert world.rows("audit", "--outcome", "refused") == world.rows("audit", "--identity", "ops") == []


def test_identities(world: World) -> None:
    """Without any there are none."""
    assert world.rows("identities") == []


# One thing


def test_function(world: World) -> None:
    found = world.json("function", "mail.send")
    assert (found["running"], found["dead"], found["kept"], found["counts"]["submitted"]) == (1, 2, 2, 6)
    assert "counts.failed.exception\t1\n" in world.look("function", "mail.send").stdout.decode()
    done = world.look("function", "no.such")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"'txgear status' lists those that there are" in done.stderr


def test_names_that_hold_anything(world: World) -> None:
    """As they are, byte by byte, or as they are shown; and what is shown does nothing to a terminal."""
    for name in (SHOWN.encode(), HOSTILE):
        command: list[Any] = [
            *txgear(),
            "function",
            name,
            "--json",
            "--server",
            f"127.0.0.1:{world.server.port}",
        ]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
        assert json.loads(done.stdout)["queued"] == 1
    assert [row["unique"] for row in world.rows("jobs", "--function", SHOWN.replace("[", "[[]"))] == [
        "hostile"
    ]
    assert world.rows("status", "--where", "function=caf*")[0]["function"] == SHOWN
    for words in ("status", "jobs", "function " + SHOWN.replace(" ", "\\x20")):
        assert b"\x1b" not in world.look(*words.split(" ", 1)).stdout


def test_job(world: World) -> None:
    """What the text command says of it, and how its attempts ended."""
    for unique in ("order 2", "order 3", "order 4", "order 5", "hostile"):
        handle = world.handles[unique]
        told = {row[0]: row[1] for row in world.server.list(f"job {handle}") if len(row) == 2}
        plain = dict(
            line.split("\t", 1) for line in succeeded(world.look("job", handle)).stdout.decode().splitlines()
        )
        for name in ("handle", "number", "function", "unique", "state", "priority", "background", "attempts"):
            assert plain[name] == of_text([told[name]])[0], (unique, name)
    assert plain["priority"] == "high"
    found = world.json("job", world.handles["order 2"])
    assert [(each["reason"], each["worker"], each["text"]) for each in found["history"]] == [
        ("exception", "mailer-1", "550 no such user")
    ]
    assert world.json("job", world.handles["order 3"])["numerator"] == 1


def test_handles_as_libraries_write_them(world: World) -> None:
    handle = world.handles["order 1"]
    for written in (handle, f"127.0.0.1:{world.server.port}//{handle}", f"gear.example:4730//{handle}"):
        assert world.json("job", written)["unique"] == "order 1"
        assert succeeded(world.look("result", written)).stdout == b"part sent"


def test_a_job_that_there_is_not(world: World) -> None:
    for command in (("job",), ("job", "--follow"), ("workload",), ("result",), ("result", "--wait", "5")):
        for handle in ("H:vm:999", "nonsense", "a//b//c", "\x1b[2J", "\udce9"):
            done = run([*txgear(), *command, "--server", f"127.0.0.1:{world.server.port}", "--", handle])
            assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1), done
            assert b"'txgear jobs', 'dead' and 'kept' list" in done.stderr
            assert b"\x1b" not in done.stderr


def test_workload(world: World, tmp_path: Path) -> None:
    assert succeeded(world.look("workload", world.handles["order 5"])).stdout == b"text of 5"
    assert succeeded(world.look("workload", world.handles["hostile"])).stdout == BINARY
    assert world.json("workload", world.handles["order 2"]) == {
        "handle": world.handles["order 2"],
        "size": 3,
        "shown": 3,
        "workload": "two",
    }
    path = tmp_path / "workload"
    succeeded(world.look("workload", world.handles["hostile"], "--output", str(path)))
    assert path.read_bytes() == BINARY
    done = world.look("workload", world.handles["order 1"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"its workload is not kept" in done.stderr
    for words in (("--json", "--output", str(path)), ("--output", "/no/such/folder/file")):
        assert world.look("workload", world.handles["order 5"], *words).returncode in (1, 2)


def test_result(world: World, tmp_path: Path) -> None:
    assert succeeded(world.look("result", world.handles["order 1"])).stdout == b"part sent"
    assert (
        succeeded(world.look("result", "--unique", "order 1", "--function", "mail.send")).stdout
        == b"part sent"
    )
    assert world.json("result", "--unique", "order 1") == {
        "handle": world.handles["order 1"],
        "outcome": "done",
        "size": 9,
        "data_size": 5,
        "text": "part sent",
    }
    failed: tuple[tuple[tuple[str, ...], bytes], ...]
    failed = (
        ((world.handles["order 2"],), b"550 no such user"),
        ((world.handles["order 8"],), b"cancelled"),
        ((world.handles["order 3"],), b"it is running: --wait"),
        (("--unique", "order 1", "--function", "mail.bulk"), b"there is no job with the unique order 1"),
    )
    for words, said in failed:
        done = world.look("result", *words)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
        assert said in done.stderr
    wrong: tuple[tuple[str, ...], ...]
    wrong = ((), ("H:1", "--unique", "x"), ("H:1", "--function", "x"), ("H:1", "--wait", "-1"))
    for mistake in wrong:
        assert world.look("result", *mistake).returncode == 2


def test_a_file_is_replaced_when_all_is_there(world: World, tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"before")
    assert world.look("result", world.handles["order 3"], "--output", str(path)).returncode == 1
    assert path.read_bytes() == b"before"
    succeeded(world.look("result", world.handles["order 1"], "--output", str(path)))
    assert path.read_bytes() == b"part sent"
    assert list(tmp_path.iterdir()) == [path]
    assert (
        succeeded(world.look("result", world.handles["order 1"], "--output", "/dev/stdout")).stdout
        == b"part sent"
    )


def test_info_and_store(world: World) -> None:
    found = world.json("info")
    with world.server.connect() as peer:
        assert peer.ask("version").split()[1].decode() == found["version"]
    assert (found["prefix"], found["jobs"], found["functions"], found["store"]["available"]) == (
        "H:vm",
        6,
        3,
        True,
    )
    assert found["server"] == f"127.0.0.1:{world.server.port}"
    assert {port["place"] for port in found["ports"]} >= {f"127.0.0.1:{world.server.port}"}
    assert f"jobs\t{found['jobs']}\n" in world.look("info").stdout.decode()
    store = world.json("store")
    assert (store["state"], store["jobs"]) == ("ok", 6)
    assert store["report"]["settings"]["synchronous"] == "FULL"
    assert "report.settings.synchronous\tFULL\n" in world.look("store").stdout.decode()


# What all lists share


def test_order_columns_and_limit(world: World) -> None:
    told = [of_text(row) for row in world.server.list("jobs")]
    by_function = sorted(range(len(told)), key=lambda place: (told[place][1], place))
    rows = world.rows("jobs", "--sort", "function", "--columns", "handle,function")
    assert [list(row.values()) for row in rows] == [told[place][:2] for place in by_function]
    down = sorted(range(len(told)), key=lambda place: [-ord(c) for c in told[place][7]] + [1])
    assert [row["unique"] for row in world.rows("jobs", "--sort", "-unique")] == [
        told[place][7] for place in down
    ]
    done = world.look("jobs", "--limit", "2")
    assert [line.split(b"\t")[0].decode() for line in done.stdout.splitlines()[1:]] == [
        row[0] for row in told[:2]
    ]
    assert done.stderr == b"There are more than 2: --all, or --limit N, shows them.\n"
    assert len(world.rows("jobs", "--limit", "6")) == 6
    assert len(world.rows("jobs", "--all")) == 6


def test_conditions(world: World) -> None:
    queued = {row[0] for row in world.server.list("jobs state=queued")}
    assert {row["handle"] for row in world.rows("jobs", "--where", "state=que*")} == queued
    assert {row["handle"] for row in world.rows("jobs", "--where", "state!=que*", "--where", "age<1d")} == {
        *(world.handles["order 3"], world.handles["order 4"])
    }
    assert world.rows("jobs", "--where", "age>1d") == []
    assert [row["function"] for row in world.rows("status", "--where", "dead>0")] == ["mail.send"]


def test_json(world: World) -> None:
    rows = lines(world.look("jobs", "--json"))
    assert [row["handle"] for row in rows] == [row[0] for row in world.server.list("jobs")]
    assert rows[-1]["function"] == SHOWN.replace("\\x1b", "\x1b")
    assert lines(world.look("jobs", "--json", "--columns", "unique,worker", "--where", "state=running")) == [
        {"unique": "order 3", "worker": "mailer-1"}
    ]


def test_what_makes_no_sense(world: World) -> None:
    """It is one line that says what is wanted, and exit status 2."""
    for words in (
        ("jobs", "--sort", "nothing"),
        ("jobs", "--columns", "handle,nothing"),
        ("jobs", "--where", "nothing=1"),
        ("jobs", "--where", "age"),
        ("jobs", "--where", "age>old"),
        ("jobs", "--limit", "0"),
        ("jobs", "--state", "sleeping"),
        ("jobs", "--older", "long"),
        ("workers", "--condition", "tired"),
        ("connections", "--kind", "pigeon"),
        ("dead", "--reason", "boredom"),
        ("worker", ""),
        ("worker", "", "stop"),
        ("steer", "stop", "", "--yes"),
        ("history", "--span", "year"),
        ("jobs", "extra"),
        ("job",),
        ("job", ""),
        ("function", ""),
    ):
        done = world.look(*words)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1), done


@pytest.mark.parametrize("words", [*LISTS, *OTHERS, "worker 7", "job H:1", "workload H:1", "result H:1"])
def test_without_a_server(words: str) -> None:
    done = look(free_port(), *words.split())
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (3, b"", 1), done
    assert b"Connection refused" in done.stderr


def test_into_head(world: World) -> None:
    """They end quietly, whatever head has left."""
    script = " && ".join(f"{' '.join(txgear())} {words} | head -n 1" for words in (*LISTS, *OTHERS))
    done = run(["bash", "-c", script], env={"TXGEAR_SERVER": f"127.0.0.1:{world.server.port}"}, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == len(LISTS) + len(OTHERS)


# Rules


def test_what_rules_refuse(start_server: Servers, tmp_path: Path) -> None:
    """Of what one may not see there is nothing; what one may not know of the server is exit status 4."""
    token = new_token()
    config = tmp_path / "txgear.toml"
    config.write_text(
        f'[[identity]]\nname = "ops"\ntokens = ["{Token.of(token.encode())}"]\nqueued = 7\n'
        '[[access]]\nidentities = ["ops"]\nallow = ["all"]\n'
        '[[access]]\nidentities = ["nobody"]\nallow = ["submit", "http"]\n'
    )
    server = start_server("--config", str(config))
    handle = server.connect().submit(b"mail", b"secret", b"", P.SUBMIT_JOB_BG).decode()
    for words in ("settings", "policies", "policies mail", "schedules", "info", "store", "audit", "history"):
        done = look(server, *words.split())
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (4, b"", 1), words
    for words in ("status", "jobs", "dead", "kept", "workers", "reviews", "tasks"):
        assert table(look(server, *words.split())) == [], words
    for words in (f"job {handle}", f"workload {handle}", f"result {handle}", "function mail", "worker 1"):
        assert look(server, *words.split()).returncode == 1
    secret = tmp_path / "token"
    secret.write_text(f"{token}\n")
    assert succeeded(look(server, "workload", handle, "--token-file", str(secret))).stdout == b"secret"
    for words in (*LISTS, "info", "store", "function mail", "policies mail", "history mail"):
        assert look(server, *words.split(), "--token-file", str(secret)).returncode == 0, words
    identities = {
        row["identity"]: row
        for row in table(
            look(
                server,
                "identities",
                "--columns",
                "identity,queued,most_queued,refused",
                "--token-file",
                str(secret),
            )
        )
    }
    assert (identities["ops"]["queued"], identities["ops"]["most_queued"]) == ("0/7", "7")
    assert int(identities["nobody"]["refused"]) > 0
    secret.write_text(f"{new_token()}\n")
    assert look(server, "jobs", "--token-file", str(secret)).returncode == 4


# Several servers


def test_several_servers(world: World, start_server: Servers) -> None:
    """Lists have all rows, and say where they are from; a job is found where it is."""
    other = start_server("--job-handle-prefix", "H:other")
    handle = other.connect().submit(b"other.function", b"there", b"", P.SUBMIT_JOB_BG).decode()
    here, there = f"127.0.0.1:{world.server.port}", f"127.0.0.1:{other.port}"
    both = {"TXGEAR_SERVER": f"{here} {there}"}
    rows = table(run([*txgear(), "jobs"], env=both))
    assert {(row["server"], row["handle"]) for row in rows} == {
        *((here, row[0]) for row in world.server.list("jobs")),
        (there, handle),
    }
    first = table(run([*txgear(), "jobs", "--sort", "-function"], env=both))[0]
    assert (first["server"], first["function"]) == (there, "other.function")
    assert {
        row["server"] for row in table(run([*txgear(), "jobs", "--where", f"server={there}"], env=both))
    } == {there}
    assert json.loads(run([*txgear(), "job", handle, "--json"], env=both).stdout)["server"] == there
    assert run([*txgear(), "workload", handle], env=both).stdout == b"there"
    assert run([*txgear(), "result", world.handles["order 1"]], env=both).stdout == b"part sent"
    assert len(run([*txgear(), "info", "--json"], env=both).stdout.splitlines()) == 2
    done = run([*txgear(), "function", "no.such"], env=both)
    assert done.returncode == 1
    assert f"at {here}, {there}".encode() in done.stderr
    assert run([*txgear(), "worker", "7"], env=both).returncode == 2


def test_of_several_servers_one_is_away(world: World) -> None:
    """What others have is shown, and the exit status tells."""
    here, away = f"127.0.0.1:{world.server.port}", f"127.0.0.1:{free_port()}"
    both = {"TXGEAR_SERVER": f"{away},{here}"}
    done = run([*txgear(), "jobs", "--sort", "handle"], env=both)
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 7)
    assert done.stderr == f"{away}: Connection refused\n".encode()
    assert run([*txgear(), "result", world.handles["order 1"]], env=both).stdout == b"part sent"
    done = run([*txgear(), "job", "H:vm:999"], env=both)
    assert (done.returncode, done.stdout) == (3, b"")


def test_a_handle_that_two_servers_have(world: World, start_server: Servers) -> None:
    """The server in front of it decides, as Perl's client writes it; else both are shown, none is read."""
    other = start_server("--job-handle-prefix", "H:vm")
    handle = other.connect().submit(b"other.function", b"other", b"", P.SUBMIT_JOB_BG).decode()
    assert handle in world.handles.values()
    here, there = f"127.0.0.1:{world.server.port}", f"127.0.0.1:{other.port}"
    both = {"TXGEAR_SERVER": f"{here} {there}"}
    assert len(run([*txgear(), "job", handle, "--json"], env=both).stdout.splitlines()) == 2
    done = run([*txgear(), "workload", handle], env=both)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"name one of them by --server" in done.stderr
    assert run([*txgear(), "workload", f"{there}//{handle}"], env=both).stdout == b"other"


# What takes time


class Follower(NamedTuple):
    """One who follows a job, and its worker."""

    program: Program
    worker: WirePeer
    handle: bytes

    def said(self, text: bytes) -> None:
        wait_until(lambda: text in self.program.stdout, what=self.program.log())


def begun(server: Server, function: str) -> tuple[WirePeer, bytes]:
    """A job that a worker has."""
    worker = server.connect(PATIENCE)
    worker.can_do(function.encode())
    server.connect(PATIENCE).submit(function.encode(), b"x", b"", P.SUBMIT_JOB_BG)
    return worker, worker.grab_soon().handle


def test_history(world: World, function: str) -> None:
    """The newest step is at the top; the submits of a moment ago are in one of them."""
    # Without an open web it begins with the first who asks.
    world.rows("history")
    client = world.server.connect(PATIENCE)
    for _ in range(5):
        client.submit(function.encode(), b"", b"", P.SUBMIT_JOB_BG)
    words = ("history", function, "--all", "--where", "submitted>0", "--columns", "submitted,queued")

    def submitted() -> float:
        return sum(10 * float(row["submitted"]) for row in world.rows(*words))

    wait_until(lambda: round(submitted()) == 5, 30.0)
    assert world.rows(*words)[0]["queued"] == "5"
    assert len(world.rows("history", "--where", "submitted>0")) >= 1
    times = [row["time"] for row in world.rows("history", "--all", "--columns", "time")]
    assert times == sorted(times, reverse=True)
    oldest = world.look("history", "--sort", "time", "--limit", "1", "--columns", "time").stdout
    assert oldest.decode().splitlines()[1] == times[-1]
    assert len(world.rows("history", function, "--span", "day")) <= 288
    done = world.look("history", "no.such")
    assert (done.returncode, done.stdout) == (1, b"")


def test_follow(world: World, programs: Programs, function: str) -> None:
    """What its worker says comes as it says it, what it had said before included."""
    worker, handle = begun(world.server, function)
    worker.send(P.WORK_DATA, handle, b"before\n")
    worker.sync()
    words = [*txgear(), "job", handle.decode(), "--follow", "--server", f"127.0.0.1:{world.server.port}"]
    follower = Follower(programs.start(words), worker, handle)
    as_json = programs.start([*words, "--json"])
    follower.said(b"data\tbefore\\x0a\n")
    wait_until(lambda: b"before" in as_json.stdout)
    worker.send(P.WORK_STATUS, handle, b"3", b"10")
    follower.said(b"progress\t3/10\n")
    worker.send(P.WORK_WARNING, handle, b"\x1b[2J\xff")
    follower.said(b"warning\t\\x1b[2J\\xff\n")
    worker.complete(handle, b"all is done")
    assert follower.program.wait() == 0
    assert follower.program.stdout.splitlines()[-1] == b"ended\tdone\tall is done"
    assert as_json.wait() == 0
    events = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [event["event"] for event in events if event["event"] != "job"] == [
        "data",
        "progress",
        "warning",
        "ended",
    ]
    assert (
        base64.b64decode(next(event for event in events if event["event"] == "warning")["base64"])
        == b"\x1b[2J\xff"
    )
    assert events[-1]["result"]["text"] == "all is done"


def test_follow_to_a_bad_end(world: World, programs: Programs, function: str) -> None:
    """The exit status tells; of a job that is over it does at once."""
    worker, handle = begun(world.server, function)
    words = [*txgear(), "job", handle.decode(), "--follow", "--server", f"127.0.0.1:{world.server.port}"]
    follower = Follower(programs.start(words), worker, handle)
    follower.said(b"job\trunning")
    worker.send(P.WORK_FAIL, handle)
    assert follower.program.wait() == 1
    assert follower.program.stdout.splitlines()[-1] == b"ended\tdead"
    done = run(words)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, b"ended\tdead")


def test_follow_until_it_is_enough(world: World, programs: Programs, function: str) -> None:
    _, handle = begun(world.server, function)
    words = [*txgear(), "job", handle.decode(), "--follow", "--server", f"127.0.0.1:{world.server.port}"]
    program = programs.start(words)
    wait_until(lambda: b"job\trunning" in program.stdout)
    program.signal(2)  # type: ignore[arg-type]
    assert program.wait() == 130
    assert b"Traceback" not in program.stderr


def test_follow_over_a_restart(programs: Programs, start_server: Servers, tmp_path: Path) -> None:
    """It asks again, and has the end of the job from the server that comes after."""
    store, port = f"sqlite:///{tmp_path}/q.db", free_port()
    server = start_server(port=port, store=store)
    handle = server.connect().submit(b"slow", b"x", b"", P.SUBMIT_JOB_BG).decode()
    program = programs.start([*txgear(), "job", handle, "--follow", "--server", f"127.0.0.1:{port}"])
    wait_until(lambda: b"job\tqueued" in program.stdout)
    server.stop()
    wait_until(lambda: b"has hung up" in program.stderr)
    server = start_server(port=port, store=store)
    wait_until(lambda: program.stdout.count(b"job\tqueued") == 2, what=program.log())
    worker = server.connect(PATIENCE)
    worker.can_do(b"slow")
    worker.complete(worker.grab_soon(), b"at last")
    assert program.wait() == 0
    assert program.stdout.splitlines()[-1] == b"ended\tdone\tat last"


def test_result_that_is_waited_for(world: World, programs: Programs, function: str) -> None:
    worker, handle = begun(world.server, function)
    words = [*txgear(), "result", handle.decode(), "--server", f"127.0.0.1:{world.server.port}"]
    program = programs.start([*words, "--wait", "60", "--timeout", "1"])
    before = time.monotonic()
    done = run([*words, "--wait", "1.5", "--timeout", "0.5"])
    # It waits longer than for other answers.
    assert done.returncode == 1
    assert b"not over" in done.stderr
    assert time.monotonic() - before > 1.5
    worker.complete(handle, BINARY)
    assert program.wait() == 0
    assert program.stdout == BINARY


def test_large_results_in_bounded_memory(world: World, function: str, tmp_path: Path) -> None:
    """As bytes, to a file, and as JSON; a connection that ends meanwhile is no whole result."""
    whole = os.urandom(1024) * 48 * 1024
    worker, handle = begun(world.server, function)
    worker.complete(handle, whole)
    worker.sync()
    path = tmp_path / "result"
    out = tmp_path / "out"
    for words in (("--output", str(path)), ("--json",), ()):
        assert memory(world.server, ["result", handle.decode(), *words], out) < MOST_MEMORY, words
    assert path.read_bytes() == out.read_bytes() == whole
    done = world.look("result", handle.decode(), "--json", timeout=30)
    found = json.loads(done.stdout)
    assert (found["size"], base64.b64decode(found["base64"])) == (len(whole), whole)


# On a terminal


def on_terminal(
    server: Server, *words: str, columns: int = 80, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command in a terminal; its exit status, and what it has shown without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [*txgear(), *words, "--server", f"127.0.0.1:{server.port}"]
    environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            shown += piece
        status = process.wait(PATIENCE)
    os.close(ours)
    return status, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("words", [*LISTS, *OTHERS])
def test_no_line_is_too_long(world: World, words: str) -> None:
    """In a terminal of 80 columns, nothing is cut off either: the names of all columns are there."""
    status, shown = on_terminal(world.server, *words.split())
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 80, shown
    if words in LISTS:
        names = world.look(words).stdout.decode().splitlines()[0].split("\t")
        header = shown.splitlines()[0].split()
        assert header == names, shown


def test_status_on_a_terminal(world: World) -> None:
    _, shown = on_terminal(world.server, "status", "--function", "[cm]a*")
    last = shown.splitlines()[-1].split()
    assert last[:5] == ["3", "functions", "4", "1", "1"]
    assert last[5:7] == ["2", "2"]


def test_no_binary_on_a_terminal(world: World) -> None:
    """Unless it is asked for."""
    status, shown = on_terminal(world.server, "workload", world.handles["hostile"])
    assert status == 1
    assert "these bytes are no text: --output FILE" in " ".join(shown.split())
    assert "\xff" not in shown
    assert on_terminal(world.server, "workload", world.handles["order 5"]) == (0, "text of 5\n")
    status, shown = on_terminal(world.server, "result", world.handles["order 1"], "--output", "-")
    assert (status, shown) == (0, "part sent")


def test_follow_on_a_terminal(world: World, function: str) -> None:
    worker, handle = begun(world.server, function)
    worker.send(P.WORK_DATA, handle, b"one\ntwo \x1b[2J\n")
    worker.send(P.WORK_STATUS, handle, b"4", b"10")
    worker.complete(handle, b"the end")
    worker.sync()
    status, shown = on_terminal(world.server, "job", handle.decode(), "--follow")
    assert status == 0
    assert "done" in shown
