"""What is asked of every command: that rules refuse it, that whoever reads may go, that each list has what
all lists have; and that no command and no option is left out of the tests."""

from __future__ import annotations

import gc
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click
import pytest

from cliwords import Reading, read_tests, runs_it
from operating import ALL_KEPT, NIGHTLY, Operator, configured
from processes import PATIENCE, Server, Servers, run, txgear
from test_cli_start import ALL, ASKING, Found, name
from txgear.cli import main
from txgear.cli.base.options import server_options
from txgear.security.tokens import Token, new_token
from wirepeer import P, WirePeer

#: Commands leave it to the end of the process to close what is open.
pytestmark = [
    pytest.mark.txgear_only,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What commands have left open is closed here, and not amid the tests of another file."""
    yield
    gc.collect()


RULES: Final = f"""
[[function]]
name = "mail.*"
retries = 0
{ALL_KEPT}{NIGHTLY}[[schedule]]
name = "weekly"
cron = "0 5 * * 1"
function = "report"

[[identity]]
name = "guest"
tokens = ["{{token}}"]
[[identity]]
name = "ops"
addresses = ["unix"]
[[access]]
identities = ["guest"]
allow = ["http"]
[[access]]
identities = ["ops", "nobody"]
allow = ["all"]
"""

#: Commands that hold jobs themselves, or have statuses of their own: their own tests have all of this.
OWN: Final = {"bench", "check", "ping", "submit", "work"}

#: What each other command is told, in words that make sense where somebody may do it.
ORDERS: Final[dict[str, str]] = {
    "audit": "",
    "cancel": "{live} --yes",
    "cluster": "",
    "connections": "",
    "copy": "{live}",
    "create": "new",
    "dead": "",
    "diagnose": "",
    "drain": "--yes",
    "drop": "idle --yes",
    "forget": "{dead} {kept} --yes",
    "function": "live",
    "history": "",
    "identities": "",
    "info": "",
    "job": "{live}",
    "jobs": "",
    "kept": "",
    "maxqueue": "live --normal 7",
    "move": "--to other {live}",
    "pause": "live",
    "policies": "",
    "priority": "high {live}",
    "purge": "live --yes",
    "reload": "",
    "result": "{kept}",
    "resume": "paused",
    "retry": "{dead}",
    "review": "--into mine {dead}",
    "reviews": "",
    "run-schedule": "nightly",
    "schedules": "",
    "settings": "",
    "shutdown": "--yes",
    "status": "",
    "steer": "disconnect {number}",
    "stop-task": "{task}",
    "store": "",
    "task": "{task}",
    "tasks": "",
    "top": "--once",
    "worker": "{number}",
    "workers": "",
    "workload": "{live}",
}


class World(NamedTuple):
    """
    A server with two of everything, that nobody in particular may do anything to.

    @ivar guest: a file with the token of one who may ask, and nothing else.
    @ivar facts: handles and numbers, by what they are called in L{ORDERS}.
    """

    server: Server
    guest: Path
    facts: dict[str, str]

    def words(self, command: str) -> list[str]:
        """What a command is told."""
        return [*command.split(), *shlex.split(ORDERS[command].format(**self.facts))]

    def told(self, text: str) -> list[str]:
        """The first word of each row of a text command."""
        return [row[0] for row in self.server.list(text)]

    def state(self) -> list[object]:
        """All that a command could change, as the server tells it."""
        lists = ("functions", "dead", "kept", "dead review=one", "reviews", "policies", "schedules")
        jobs = [[*row[:4], *row[5:]] for row in self.server.list("jobs")]
        kept = [[row[0] for row in self.server.list(each)] for each in ("kept", "tasks", "connections")]
        return [jobs, kept[:2], *(self.server.list(each) for each in lists if each != "kept")]


def background(server: Server, function: str, count: int = 1) -> list[str]:
    with server.connect(PATIENCE) as peer:
        return [
            peer.submit(function.encode(), b"w %d" % each, b"", P.SUBMIT_JOB_BG).decode()
            for each in range(count)
        ]


def ended(server: Server, function: str, kind: P) -> str:
    """The handle of a job that a worker has ended so."""
    [handle] = background(server, function)
    with server.connect(PATIENCE) as worker:
        worker.can_do(function.encode())
        job = worker.grab_soon()
        worker.send(kind, job.handle, *([b"result"] if kind is P.WORK_COMPLETE else []))
        worker.sync()
    return handle


def worker_named(server: Server, called: str, *functions: str) -> WirePeer:
    peer = server.connect(PATIENCE)
    peer.send(P.SET_CLIENT_ID, called.encode())
    for each in functions:
        peer.can_do(each.encode())
    peer.sync()
    return peer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("every")
    token = new_token()
    (folder / "guest").write_text(f"{token}\n")
    server = Server(
        folder,
        *configured(folder, RULES.replace("{token}", str(Token.of(token.encode())))),
        "--allow-shutdown",
    )
    operator = Operator(server)
    live, _ = background(server, "live", 2)
    dead = [ended(server, "grave", P.WORK_FAIL) for _ in range(4)]
    kept = [ended(server, "done", P.WORK_COMPLETE) for _ in range(2)]
    workers = [worker_named(server, f"hand-{each}", f"mail.{each}") for each in (1, 2)]
    for order in (
        *("pause paused", "pause also-paused", f"review job {dead[2]} one", f"review job {dead[3]} two"),
        *("cancel jobs function=none.*", "move jobs other function=none.*", "create function idle"),
    ):
        assert operator.order(order).startswith("OK"), order
    number = next(row[0] for row in server.list("connections") if row[2] == "hand-1")
    facts = {"live": live, "dead": dead[0], "kept": kept[0], "number": number, "task": "1"}
    yield World(server, folder / "guest", facts)
    assert server.calm(), server.log()
    for worker in workers:
        worker.close()
    server.stop()


class Ran(NamedTuple):
    """What has come of a command."""

    status: int
    out: str
    err: str


@pytest.fixture
def here(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Runs a command in this process, at the server: a process for each would take most of the time."""
    monkeypatch.setenv("TXGEAR_SERVER", f"127.0.0.1:{world.server.port}")

    def ran(*words: str) -> Ran:
        status = main(words)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return ran


# None is left out


def test_no_command_is_left_out() -> None:
    assert {each.name for each in ASKING} | {"check", "ping", "work"} == set(ORDERS) | OWN


def shared() -> set[str]:
    """The options that tell commands of servers: they are the same code for all."""

    @click.command()
    @server_options
    def command() -> None:
        """Nothing."""

    return {option for param in command.params for option in param.opts}


def own_options(found: Found) -> Iterator[frozenset[str]]:
    """The options of a command: of each its names, of which one is enough."""
    for param in found.command.params:
        if isinstance(param, click.Option) and not shared() & set(param.opts):
            yield frozenset(param.opts)
            if param.secondary_opts:
                yield frozenset(param.secondary_opts)


def untested(command: tuple[str, ...], options: frozenset[str], tests: list[Reading]) -> bool:
    return not any({*command} <= each.words and options & each.words and not each.in_vain for each in tests)


@pytest.fixture(scope="module")
def readings() -> list[Reading]:
    """All of this folder that run the command."""
    texts = {path: path.read_text() for path in Path(__file__).parent.glob("test_*.py")}
    return [each for path, text in texts.items() if runs_it(text) for each in read_tests(path, text)]


@pytest.mark.parametrize("found", ALL, ids=name)
def test_no_option_is_left_out(found: Found, readings: list[Reading]) -> None:
    """There is a test that has the command and the option, and in which it is to do something."""
    assert [set(each) for each in own_options(found) if untested(found.words, each, readings)] == []


def test_what_counts_as_a_test() -> None:
    """Neither a docstring, nor another command's test, nor one of mistakes."""
    text = '''
WORDS = ["--whole"]

def helper():
    """It has --described, too."""
    run("info", "--helped=5")

def test_it():
    """All of `info --told`."""
    helper()
    run(*WORDS, f"--kind {odd}")

def test_mistakes():
    run("info", "--wrong")

def test_another():
    run("jobs", "--other")
'''
    found = list(read_tests(Path("test_cli_look.py"), text))
    for option, expected in (
        *(("--whole", False), ("--helped", False), ("--kind", False)),
        *(("--told", True), ("--described", True), ("--wrong", True), ("--other", True), ("--who", True)),
    ):
        assert untested(("info",), frozenset({option}), found) is expected, option
    [own] = read_tests(Path("test_cli_info.py"), "def test_it():\n    run('--json')\n")
    assert not untested(("info",), frozenset({"--json"}), [own])


# Rules


@pytest.mark.parametrize("command", ORDERS)
def test_refused(world: World, here: Callable[..., Ran], command: str) -> None:
    """Who may ask, and nothing else, is refused, or there is nothing for him; and nothing has changed."""
    before = world.state()
    ran = here(*world.words(command), "--token-file", str(world.guest))
    assert world.state() == before
    if command in IN_PART:
        assert (ran.status, ran.err.replace(f"127.0.0.1:{world.server.port}: nothing is wrong\n", "")) == (
            0,
            "",
        )
        shown = ran.out.splitlines()[1:]
        assert [line for line in shown if "guest" not in line] == [] or command == "top"
        handles = {each for each in world.facts.values() if ":" in each}
        assert not {"live", "grave", "mail.1", "hand-1", *handles} & {*" ".join(shown).split()}
        return
    assert (ran.status, ran.out) == (1 if command in UNSEEN else 4, "")
    said = "here is no " if command in UNSEEN else "Not allowed: "
    for line in ran.err.splitlines():
        assert line.startswith(f"txgear {command}: ")
        assert said in line


#: Lists that have what one may see, and
IN_PART: Final = {
    *("connections", "dead", "diagnose", "identities", "jobs", "kept", "reviews", "status", "tasks", "top"),
    "workers",
}
#: acts on what there is not, for whoever may not see it.
UNSEEN: Final = {
    *("cancel", "copy", "forget", "function", "job", "move", "priority", "result", "retry", "review"),
    *("steer", "stop-task", "task", "worker", "workload"),
}


# Lists


#: A column of each list, what tells its values, and more words for the list.
LISTS: Final[dict[str, tuple[str, str, list[str]]]] = {
    "status": ("function", "functions", []),
    "jobs": ("handle", "jobs", []),
    "dead": ("handle", "dead", []),
    "kept": ("handle", "kept", []),
    "reviews": ("name", "reviews", []),
    "tasks": ("number", "tasks", []),
    "connections": ("number", "connections worker=hand-", ["--worker", "hand-"]),
    "workers": ("number", "connections worker=hand-", ["--function", "mail.*"]),
    "identities": ("identity", "identities", []),
    "schedules": ("name", "schedules", []),
    "policies": ("pattern", "policies", []),
    "settings": ("name", "", ["--where", "place=--*"]),
    "audit": ("act", "", ["--identity", "nobody"]),
}


@pytest.mark.parametrize("command", LISTS)
def test_options_of_lists(world: World, here: Callable[..., Ran], command: str) -> None:
    """They choose from what the server has, whatever the list."""
    column, text, more = LISTS[command]
    if text:
        told = [each for each in world.told(text) if each not in ("total", "nobody")]
    elif command == "settings":
        words = Path(f"/proc/{world.server.pid}/cmdline").read_text().split("\0")
        own = words[words.index("txgear") + 1 :]
        told = [word[2:].partition("=")[0] for word in own if word.startswith("--")]
    else:
        told = AUDITED
    values: list[str] = sorted(told, key=int) if column == "number" else sorted(told)
    assert len(set(values)) > 1

    def shown(*words: str) -> list[str]:
        ran = here(command, *more, "--columns", column, *words)
        assert (ran.status, ran.err) == (0, ""), ran
        names, *rows = ran.out.splitlines()
        assert names == column
        return rows

    assert sorted(shown("--all")) == sorted(values)
    assert shown("--all", "--sort", column) == values
    assert shown("--all", "--sort", f"-{column}") == values[::-1]
    last = values[-1]
    assert shown("--all", "--where", f"{column}={last}") == [each for each in values if each == last]
    assert last not in shown("--all", "--where", f"{column}!={last}")
    ran = here(command, *more, "--columns", column, "--limit", "1", "--sort", f"-{column}", "--json")
    assert [str(json.loads(line)[column]) for line in ran.out.splitlines()] == [last]
    assert (ran.status, ran.err) == (0, "There are more than 1: --all, or --limit N, shows them.\n")


#: What the operator has done; tasks are written down when they begin, and when they end.
AUDITED: Final = ["cancel", "cancel", "create", "move", "move", "pause", "pause", "review", "review"]


# Whoever reads may go


def unread(server: Server, *words: str) -> tuple[int, bytes]:
    """Run a command whose reader has gone, as `head` has when it has seen enough: its status, and errors."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        done = subprocess.run(
            [*txgear(), *words, "--server", f"127.0.0.1:{server.port}"],
            stdin=subprocess.DEVNULL,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
    return done.returncode, done.stderr


def test_acts_are_done_for_nobody(start_server: Servers, tmp_path: Path) -> None:
    """Into `head` an act ends quietly, and all of it is done."""
    server = start_server(
        *configured(tmp_path, RULES.replace("{token}", "abcdefgh:" + "0" * 64)), "--allow-shutdown"
    )
    operator = Operator(server)
    jobs = background(server, "work", 12)
    dead = [ended(server, "grave", P.WORK_FAIL) for _ in range(7)]
    kept = ended(server, "done", P.WORK_COMPLETE)
    background(server, "purged", 3)
    worker = worker_named(server, "hand", "idle")
    number = next(row[0] for row in server.list("connections") if row[2] == "hand")
    assert operator.order("create function dropped").startswith("OK")
    for words in (
        ["cancel", *jobs[:2], "--yes"],
        ["priority", "high", *jobs[2:4]],
        ["move", "--to", "moved", *jobs[4:6]],
        ["copy", *jobs[6:8], "--function", "copied"],
        ["retry", *dead[:2]],
        ["review", "--into", "odd", *dead[2:4]],
        ["forget", *dead[4:6], kept, "--yes"],
        ["pause", "one", "two", "three"],
        ["resume", "two", "three"],
        ["purge", "purged", "--yes"],
        ["create", "new", "newer"],
        ["drop", "dropped", "--yes"],
        ["maxqueue", "new", "newer", "--normal", "7"],
        ["run-schedule", "nightly", "weekly"],
        ["steer", "disconnect", number],
        ["cancel", "--function", "copied", "--yes"],
        ["task", "1"],
        ["reload"],
        ["job", jobs[8]],
        ["workload", jobs[8]],
        ["workload", jobs[8], "--put", "-"],
    ):
        assert unread(server, *words) == (1, b""), words
    assert [operator.state(each) for each in jobs[:2]] == ["cancelled"] * 2
    assert [operator.job(each).facts["priority"] for each in jobs[2:5]] == ["high", "high", "normal"]
    assert [operator.job(each).facts["function"] for each in jobs[4:7]] == ["moved", "moved", "work"]
    assert [operator.state(each) for each in dead] == [*["queued"] * 2, *["dead"] * 2, "", "", "dead"]
    assert sorted(row[0] for row in server.list("dead review=odd")) == sorted(dead[2:4])
    assert operator.state(kept) == ""
    functions = {row[0]: row for row in server.list("functions")}
    assert {name for name, row in functions.items() if row[7] == "yes"} == {"one"}
    assert [functions[name][1] for name in ("purged", "report", "copied")] == ["0", "2", "0"]
    assert [json.loads(functions[name][8]) for name in ("new", "newer")] == [
        {"high": 0, "normal": 7, "low": 0}
    ] * 2
    assert "dropped" not in functions
    assert worker.read_to_end() == b""
    assert operator.workload(jobs[8]) == ""
    assert unread(server, "shutdown", "--yes") == (1, b"")
    assert server.wait() == 0


def test_into_head_without_a_server(tmp_path: Path) -> None:
    """Also what only reads a file."""
    configured(tmp_path, RULES.replace("{token}", "abcdefgh:" + "0" * 64))
    file = tmp_path / "txgear.toml"
    for words in ("access show --config", "access check guest http --config", "config check"):
        done = run(
            ["bash", "-c", f"{' '.join(txgear())} {words} {file} | head -n 1; echo ${{PIPESTATUS[0]}}"]
        )
        assert (done.stderr, done.stdout.count(b"\n")) == (b"", 2), done


# Options that nothing else tries


def test_acts_as_json(world: World, here: Callable[..., Ran]) -> None:
    """A line for each, with what the server says of it."""

    def documents(*words: str) -> list[dict[str, object]]:
        ran = here(*words, "--json")
        assert (ran.status, ran.err) == (0, "")
        return [json.loads(line) for line in ran.out.splitlines()]

    def functions() -> dict[str, list[str]]:
        return {row[0]: row for row in world.server.list("functions")}

    assert [each["function"] for each in documents("create", "json.one", "json.two")] == [
        "json.one",
        "json.two",
    ]
    assert {"json.one", "json.two"} <= set(functions())
    [found] = documents("maxqueue", "json.one", "--normal", "5", "--bound", "9")
    told = json.loads(functions()["json.one"][8])
    assert {key: found[key] for key in told} == told == {"high": 9, "normal": 5, "low": 9}
    background(world.server, "json.jobs", 3)
    [found] = documents("purge", "json.jobs", "--yes")
    assert (found["function"], found["jobs"], functions()["json.jobs"][1]) == ("json.jobs", 3, "0")
    documents("drop", "json.two", "--yes")
    assert "json.two" not in functions()
    [found] = documents("run-schedule", "weekly")
    assert Operator(world.server).job(str(found["handle"])).facts["function"] == "report"
    [found] = documents("reload")
    assert isinstance(found["config"], dict)
    with worker_named(world.server, "json-hand", "json.work") as peer:
        number = next(row[0] for row in world.server.list("connections") if row[2] == "json-hand")
        [found] = documents("steer", "disconnect", number)
        assert found["word"] == "disconnect"
        assert peer.read_to_end() == b""


@pytest.mark.parametrize(
    "words",
    [
        ["priority", "high", "--dead"],
        ["move", "--to", "moved.dead", "--dead"],
        ["review", "--into", "another"],
        ["retry"],
        ["forget"],
    ],
    ids=lambda words: words[0],
)
def test_acts_on_what_is_in_a_review(world: World, here: Callable[..., Ran], words: list[str]) -> None:
    """And on no others of the function."""
    operator, review = Operator(world.server), f"of-{words[0]}"
    function = f"review.{words[0]}"
    aside, other = (ended(world.server, function, P.WORK_FAIL) for _ in range(2))
    assert operator.order(f"review job {aside} {review}").startswith("OK")
    before = operator.job(other)
    ran = here(*words, "--review", review, "--yes", "--json")
    assert (ran.status, ran.err) == (0, "")
    [found] = [json.loads(line) for line in ran.out.splitlines()]
    assert (found["matched"], found["done"]) == (1, 1)
    assert operator.job(other).facts == before.facts
    after = operator.find(aside)
    facts = {} if after is None else after.facts
    if words[0] == "review":
        assert [row[0] for row in world.server.list("dead review=another")] == [aside]
    else:
        expected = {
            "priority": ("priority", "high"),
            "move": ("function", "moved.dead"),
            "retry": ("state", "queued"),
            "forget": ("state", None),
        }
        key, value = expected[words[0]]
        assert facts.get(key) == value


def test_access_as_the_server_has_it(world: World, here: Callable[..., Ran]) -> None:
    """What the file says is what the server does."""
    file = str(world.server.directory / "txgear.toml")
    for identity, token in (("guest", ["--token-file", str(world.guest)]), ("nobody", [])):
        for act, words in (("create access.new", ["create", "access.new"]), ("settings", ["settings"])):
            said = here("access", "check", identity, *act.split(), "--config", file, "--json")
            assert said.status == here(*words, *token).status
            assert json.loads(said.out)["allowed"] is (said.status == 0)
    shown = json.loads(here("access", "show", "--config", file, "--json").out)
    known = {row[0] for row in world.server.list("identities")} - {"total"}
    assert {each["identity"] for each in shown["identities"]} >= known
    found = json.loads(here("config", "check", file, "--json").out)
    assert found["file"] == file
