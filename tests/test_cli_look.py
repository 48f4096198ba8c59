"""The commands that show what servers have, run as people run them: what each list says is what the server
says by its text commands, or what was done to it over the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clilooks import LISTS, OTHERS, SHOWN, World, lines, look, of_text, succeeded, table, world
from processes import Servers, free_port, run, txgear
from txgear.security.tokens import Token, new_token
from wirepeer import P

__all__ = ["world"]

pytestmark = pytest.mark.txgear_only


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
