"""The commands that change something, where it matters which server is asked: one of several, one whose rules
refuse, one that is not there; and those that are about a server itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from processes import PATIENCE, Server, Servers, free_port, run, txgear
from test_cli_act import CONFIG, Done, act, die, documents, failed, rows, states, submit
from txgear.security.tokens import Token, new_token
from wirepeer import P

pytestmark = pytest.mark.txgear_only


def test_reload(configured: tuple[Server, Path]) -> None:
    """It is in force then; a file with a mistake changes nothing."""
    server, config = configured
    config.write_text(CONFIG + '[[function]]\nname = "new.*"\ntimeout = "5s"\n')
    done = act(server, "reload")
    # What is surely not meant is said, too.
    assert done.stderr.count(b"\n") == done.stderr.count(b"never counts: ") == 1
    done.stderr = b""
    [row] = rows(done)
    assert (row["server"], row["config"], row["warnings"]) == (f"127.0.0.1:{server.port}", str(config), "1")
    assert [each[0] for each in server.list("policies")] == ["*", "new.*"]
    config.write_text("nonsense")
    failed(act(server, "reload"), 1, "line 1")
    assert [each[0] for each in server.list("policies")] == ["*", "new.*"]


@pytest.fixture
def configured(start_server: Servers, tmp_path: Path) -> tuple[Server, Path]:
    config = tmp_path / "txgear.toml"
    config.write_text(CONFIG)
    return start_server("--config", str(config)), config


def test_drain_and_shutdown(start_server: Servers) -> None:
    """They end where it is set that they may: when no job runs any more, or at once."""
    kept = start_server()
    for verb in ("drain", "shutdown"):
        failed(act(kept, verb, "-y"), 1, "--allow-shutdown")
    assert kept.status("anything") is None
    draining = start_server("--allow-shutdown")
    worker = draining.connect(PATIENCE)
    worker.can_do(b"work")
    submit(draining, "work")
    job = worker.grab_soon()
    [row] = rows(act(draining, "drain", "-y"))
    assert row == {"server": f"127.0.0.1:{draining.port}", "state": "draining", "running": "1"}
    # Nobody else comes in.
    failed(act(draining, "info"), 3, "")
    assert draining.running
    worker.complete(job, b"")
    assert draining.wait() == 0
    ending = start_server("--allow-shutdown")
    [found] = documents(act(ending, "shutdown", "-y", "--json"))
    assert (found["state"], found["graceful"]) == ("ending", False)
    assert ending.wait() == 0


def test_several_servers(start_server: Servers) -> None:
    """A job's act goes to the server that has it, a function's to each; each row says where."""
    one, two = start_server("--job-handle-prefix", "H:one"), start_server("--job-handle-prefix", "H:two")
    both = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"

    def at_both(*words: str, **more: Any) -> Done:
        return run([*txgear(), *words, "--server", both], **more)

    [first], [second] = submit(one, "work"), submit(two, "work")
    found = rows(at_both("cancel", "-", "-y", stdin=f"{second}\n{first}\n".encode()))
    assert [(row["server"], row["handle"]) for row in found] == [
        (f"127.0.0.1:{two.port}", second),
        (f"127.0.0.1:{one.port}", first),
    ]
    assert (states(one, [first]), states(two, [second])) == (["unknown"], ["unknown"])
    failed(at_both("cancel", "H:three:1", "-y"), 1, "there is no job H:three:1")
    assert {row["server"] for row in rows(at_both("pause", "work"))} == set(both.split(","))
    assert [[row[0] for row in each.list("functions paused=yes")] for each in (one, two)] == [["work"]] * 2
    submit(one, "many", 3), submit(two, "many", 2)
    counted = rows(at_both("cancel", "--function", "many", "--preview"))
    assert [row["matched"] for row in counted] == ["3", "2"]
    assert [row["done"] for row in rows(at_both("cancel", "--function", "many", "-y"))] == ["3", "2"]
    assert one.unused("many")
    assert two.unused("many")
    failed(at_both("steer", "pause", "1"), 2, "one server")
    failed(at_both("stop-task", "1"), 2, "one server")
    # One of them is away: what can be done is done.
    two.stop()
    done = at_both("resume", "work")
    assert (done.returncode, done.stdout.count(b"\n")) == (1, 2)
    assert f"127.0.0.1:{two.port}: Connection refused".encode() in done.stderr
    assert one.list("functions paused=yes") == []
    [handle] = submit(one, "again")
    done = at_both("pause", "--function", "*")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert [row[0] for row in one.list("functions paused=yes")] != []
    assert rows(at_both("cancel", f"127.0.0.1:{one.port}//{handle}", "-y"))[0]["handle"] == handle
    failed(at_both("cancel", "--function", "*", "-y"), 3, "Connection refused")
    one.stop()
    failed(at_both("pause", "work"), 3, *["Connection refused"] * 2)


def test_two_servers_have_such_a_job(start_server: Servers) -> None:
    """Then it is not guessed which one is meant."""
    one, two = (start_server("--job-handle-prefix", "H:same") for _ in range(2))
    [handle], [same] = submit(one, "work"), submit(two, "work")
    assert handle == same
    both = ["--server", f"127.0.0.1:{one.port}", "--server", f"127.0.0.1:{two.port}"]
    failed(run([*txgear(), "cancel", handle, "-y", *both]), 1, "name one of them by --server")
    assert states(one, [handle]) == states(two, [handle]) == ["queued"]
    assert run([*txgear(), "cancel", f"127.0.0.1:{two.port}//{handle}", "-y", *both]).returncode == 0
    assert (states(one, [handle]), states(two, [handle])) == (["queued"], ["unknown"])


def test_rules_refuse(start_server: Servers, tmp_path: Path) -> None:
    """Who may look, and not act, is told so by each act, and nothing changes; one who is unknown as well."""
    tokens = {name: new_token() for name in ("viewer", "ops")}
    config = tmp_path / "txgear.toml"
    config.write_text(
        CONFIG
        + "".join(
            f'[[identity]]\nname = "{name}"\ntokens = ["{Token.of(token.encode())}"]\n'
            for name, token in tokens.items()
        )
        + '[[access]]\nidentities = ["viewer"]\nallow = ["see", "peers", "settings"]\n'
        + '[[access]]\nidentities = ["ops"]\nallow = ["all"]\n'
        + '[[access]]\nidentities = ["nobody"]\nallow = ["submit", "work", "see", "peers"]\n'
    )
    server = start_server("--config", str(config), "--allow-shutdown")
    for name, token in {**tokens, "stranger": new_token()}.items():
        (tmp_path / name).write_text(f"{token}\n")
    live, [dead] = submit(server, "work", 2), die(server, "fails")
    worker = server.connect(PATIENCE)
    worker.send(P.SET_CLIENT_ID, b"busy")
    worker.can_do(b"busy")
    worker.sync()
    number = next(row[0] for row in server.list("connections") if row[2] == "busy")

    def refused(name: str, *words: str) -> None:
        done = act(server, *words, "--token-file", str(tmp_path / name), stdin=b"x")
        assert done.returncode == 4, done
        assert done.stderr.startswith(f"txgear {words[0]}: ".encode()), done

    every = (
        ["cancel", *live, "-y"],
        ["cancel", "--function", "*", "-y"],
        ["retry", dead],
        ["retry", "--function", "*", "-y"],
        ["forget", dead, "-y"],
        ["priority", "high", *live],
        ["move", "--to", "other", *live],
        ["move", "--to", "other", "--function", "*", "-y"],
        ["review", "--into", "odd", dead],
        ["copy", live[0], "--function", "other"],
        ["workload", dead, "--put", "-"],
        ["pause", "work"],
        ["resume", "work"],
        ["purge", "work", "-y"],
        ["maxqueue", "work", "--bound", "1"],
        ["create", "other"],
        ["drop", "work", "-y"],
        ["run-schedule", "nightly"],
        ["steer", "disconnect", number],
        ["drain", "-y"],
        ["shutdown", "-y"],
        ["reload"],
    )
    before = server.list("functions")
    for words in every:
        refused("viewer", *words)
    refused("stranger", "pause", "work")
    assert server.list("functions") == before
    assert states(server, [*live, dead]) == ["queued", "queued", "dead"]
    worker.sync()
    mine = ("--token-file", str(tmp_path / "ops"))
    assert act(server, "cancel", "--function", "*", "-y", *mine).returncode == 0
    assert states(server, live) == ["cancelled"] * 2
    [task] = documents(act(server, "cancel", "--function", "*", "--preview", "--json", *mine))
    assert task["by"] == "ops"
    failed(act(server, "stop-task", str(task["id"]), "--token-file", str(tmp_path / "stranger")), 4, "")


def test_no_server(tmp_path: Path) -> None:
    """Also of those that ask for many; nothing is asked of people before."""
    port = free_port()
    for words in (
        ["cancel", "--function", "*"],
        ["pause", "--function", "*"],
        ["purge", "a"],
        ["steer", "pause", "--function", "*"],
        ["cancel", "-", "-y"],
        ["pause", "a", "b"],
    ):
        failed(act(port, *words, stdin=b"H:a:1\nH:a:2\n"), 3, "refused")
