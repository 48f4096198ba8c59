"""Metrics: what Prometheus and its tools make of them; pages, board and rules name what is served."""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from databases import Postgres
from needs import requires
from processes import Programs, Server, Servers, free_port, programs_folder, run, wait_until
from startup import answers
from txgear.web.metrics.families import COUNTER, FAMILIES, HISTOGRAM
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

ROOT: Final = Path(__file__).parent.parent
MONITORING: Final = ROOT / "examples" / "monitoring"
RULES: Final = MONITORING / "txgear-rules.yml"
BOARD: Final = MONITORING / "grafana-txgear.json"
PAGE: Final = ROOT / "docs" / "monitoring.md"

OPENMETRICS: Final = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

CONFIG: Final = """
[[function]]
name = "dying"
retries = 0
dead = "1h"
"""


def scrape(port: int, accept: str = "", token: str = "") -> tuple[int, str, str]:
    """Status, type and text of what is at /metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    headers = {"Accept": accept} if accept else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8")
    connection.close()
    return answer.status, answer.getheader("Content-Type", ""), text


def values(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All values, by name and labels."""
    _, _, text = scrape(port)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def make_trouble(server: Server) -> None:
    """Have at least one of each: a job that is done, one that dies, one that waits, one that is refused."""
    peer = server.connect()
    peer.send(P.SUBMIT_JOB_BG, b"good", b"", b"x")
    peer.send(P.SUBMIT_JOB_BG, b"dying", b"", b"x")
    peer.send(P.SUBMIT_JOB_BG, b"other", b"", b"x")
    handles = {}
    for name in ("good", "dying", "other"):
        handles[name] = peer.expect(P.JOB_CREATED).body
    worker = server.connect()
    worker.send(P.CAN_DO, b"good")
    worker.send(P.CAN_DO, b"dying")
    for _ in range(2):
        worker.send(P.GRAB_JOB)
        handle, function, _ = worker.expect(P.JOB_ASSIGN).args
        if function == b"good":
            worker.send(P.WORK_COMPLETE, handle, b"")
        else:
            worker.send(P.WORK_FAIL, handle)
    worker.sync()
    assert peer.ask("maxqueue other 1") == b"OK\r\n"
    peer.send(P.SUBMIT_JOB_BG, b"other", b"", b"y")
    peer.expect(P.ERROR)


@pytest.fixture
def web_port() -> int:
    return free_port()


@pytest.fixture
def server(start_server: Servers, web_port: int, tmp_path: Path) -> Server:
    """A server with a store and metrics, and some trouble."""
    config = tmp_path / "txgear.toml"
    config.write_text(CONFIG)
    server = start_server(
        *("--web", f"127.0.0.1:{web_port}", "--config", str(config)),
        store=f"sqlite:///{tmp_path / 'jobs.db'}",
    )
    make_trouble(server)
    return server


# Formats


def test_promtool_finds_nothing_wrong_with_a_scrape(server: Server, web_port: int) -> None:
    promtool = requires("promtool")
    for strange in (b"\xff\xfe", b'a "quoted" <b>name</b>', b"back\\slash", b"line\nend", b"x" * 8000):
        peer = server.connect()
        peer.send(P.SUBMIT_JOB_BG, strange, b"", b"")
        peer.expect(P.JOB_CREATED)
    status, content_type, text = scrape(web_port)
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    done = run([promtool, "check", "metrics"], stdin=text.encode("utf-8"))
    # It finds fault with what the exporter calls its metrics, and with nothing of ours.
    complaints = [line for line in (done.stdout + done.stderr).decode().splitlines() if line]
    assert not complaints, complaints


def test_both_formats_say_the_same(server: Server, web_port: int) -> None:
    texts = {accept: scrape(web_port, accept) for accept in ("", OPENMETRICS)}
    assert texts[OPENMETRICS][1] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    names = [
        {(sample.name, *sample.labels.values()) for family in parse(text) for sample in family.samples}
        for parse, (_, _, text) in zip((parse_text, parse_openmetrics), texts.values(), strict=True)
    ]
    assert names[0] == names[1]


# What is named


def served(web_port: int) -> dict[str, set[str]]:
    """The labels of each metric that may be asked for, histograms by all their names."""
    found: dict[str, set[str]] = {}
    for family in parse_text(scrape(web_port)[2]):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    for family_ in FAMILIES.values():
        names = [family_.name]
        if family_.kind == HISTOGRAM:
            names = [family_.name + end for end in ("_bucket", "_count", "_sum")]
        for name in names:
            found.setdefault(name, set(family_.labels) | ({"le"} if name.endswith("_bucket") else set()))
    return found


def test_all_that_is_served_is_on_the_page(server: Server, web_port: int) -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| ([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    page = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(page) == len(rows), "a metric stands there twice"
    known = {name: (family.kind, set(family.labels)) for name, family in FAMILIES.items()}
    for family in parse_text(scrape(web_port)[2]):
        name = family.name + "_total" * (family.type == COUNTER)
        if name.startswith(("process_", "python_")):
            labels = {label for sample in family.samples for label in sample.labels}
            known[name] = family.type, labels
        else:
            assert name in FAMILIES, name
    assert page == known


def used(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics that an expression of PromQL asks for, and the labels that it wants of each."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    groups = {
        label.strip()
        for words in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", plain)
        for label in words.split(",")
    }
    for name, selector in re.findall(
        r"\b((?:gearman|txgear|process|python)_[a-z_]+|up)\b(\{[^}]*\})?", plain
    ):
        yield name, set(re.findall(r"(\w+)\s*[=!]~?", selector)) | groups


def assert_served(expression: str, names: dict[str, set[str]]) -> None:
    of_prometheus = {"job", "instance"}
    found = list(used(expression))
    assert found, expression
    for name, _ in found:
        assert name in names, (name, expression)
    # What several are grouped by, each need not have; but each label is one of some metric in it.
    for name, labels in found:
        selected = {label for other, of in found if other == name for label in of}
        missing = labels - of_prometheus - set().union(*(names[other] for other, _ in found))
        assert not missing, (name, missing, selected, expression)


def expressions_of_board() -> list[str]:
    board = json.loads(BOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def test_the_board_asks_for_what_is_served(server: Server, web_port: int, tmp_path: Path) -> None:
    names = served(web_port)
    expressions = expressions_of_board()
    assert len(expressions) > 50
    for expression in expressions:
        assert_served(expression, names)
    board = json.loads(BOARD.read_text())
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.findall(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["definition"])[0]
            assert name in names
            assert label in names[name] | {"instance"}
    # Each is right for Prometheus as well.
    plain = [
        re.sub(r"\$\w+", lambda found: {"$__rate_interval": "1m"}.get(found[0], ".*"), each)
        for each in expressions
    ]
    rules = {
        "groups": [{"name": "board", "rules": [{"record": f"r:{n}", "expr": e} for n, e in enumerate(plain)]}]
    }
    path = tmp_path / "board.yml"
    path.write_text(json.dumps(rules))
    done = run([requires("promtool"), "check", "rules", path])
    assert done.returncode == 0, done.stderr.decode()


def test_the_board_is_laid_out(server: Server) -> None:
    board = json.loads(BOARD.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["targets"], panel["title"]


def rule_expressions() -> list[str]:
    """The expressions of the rules, as their file has them."""
    blocks = re.findall(r"^        expr: (\|\n(?:          .*\n)+|.*\n)", RULES.read_text(), re.MULTILINE)
    return [block.removeprefix("|\n") for block in blocks]


def test_the_rules_ask_for_what_is_served(server: Server, web_port: int) -> None:
    names = {**served(web_port), "up": {"job", "instance"}}
    expressions = rule_expressions()
    assert len(expressions) == RULES.read_text().count("- alert:")
    for expression in expressions:
        assert_served(expression, names)
    on_page = set(re.findall(r"^\| `(Txgear\w+)` \|", PAGE.read_text(), re.MULTILINE))
    assert on_page == set(re.findall(r"- alert: (\w+)", RULES.read_text()))


def test_promtool_finds_nothing_wrong_with_the_files() -> None:
    promtool = requires("promtool")
    for words in (
        ("check", "rules", "txgear-rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "txgear-rules-test.yml"),
    ):
        done = run([promtool, *words], cwd=MONITORING)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()


# Prometheus itself


class Prometheus:
    """A Prometheus that looks five times a second, with the rules that are shipped but for their ``for``."""

    def __init__(self, programs: Programs, folder: Path, targets: list[str]) -> None:
        rules = re.sub(r"^        for: .*$", "        for: 0s", RULES.read_text(), flags=re.MULTILINE)
        (folder / "rules.yml").write_text(rules)
        (folder / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {
                        "scrape_interval": "200ms",
                        "scrape_timeout": "200ms",
                        "evaluation_interval": "200ms",
                    },
                    "rule_files": [str(folder / "rules.yml")],
                    "scrape_configs": [{"job_name": "txgear", "static_configs": [{"targets": targets}]}],
                }
            )
        )
        self._port = free_port()
        self.program = programs.start(
            [
                requires("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=warn",
            ]
        )
        wait_until(self._ready, what="Prometheus")

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, path: str) -> Any:
        return json.loads(self._get(path)[1])["data"]

    def _ready(self) -> bool:
        assert self.program.running, self.program.log()
        try:
            return self._get("/-/ready")[0] == 200
        except ConnectionError:
            return False

    def has_scraped(self) -> bool:
        """Whether the server has been reached."""
        return [target["health"] for target in self.ask("/api/v1/targets")["activeTargets"]] == ["up"]

    def firing(self) -> set[tuple[str, str]]:
        """The names of the alerts, each with its function."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("function", ""))
            for alert in self.ask("/api/v1/alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def wait_for(self, name: str, function: str = "", what: Callable[[], object] = lambda: None) -> None:
        def fires() -> bool:
            what()
            return (name, function) in self.firing()

        wait_until(fires, timeout=20, what=f"the alert {name} {function}")


def test_alerts_of_a_prometheus(
    postgres: Postgres, start_server: Servers, programs: Programs, web_port: int, tmp_path: Path
) -> None:
    config = tmp_path / "txgear.toml"
    config.write_text(CONFIG)
    port = free_port()
    server = programs.start(
        [
            *(sys.executable, programs_folder() / "impatient_server.py", "-n", "--pidfile=", "txgear"),
            *("--port", str(port), "--store", postgres.url, "--store-timeout", "1"),
            *("--web", f"127.0.0.1:{web_port}", "--config", config),
        ],
        name="server",
    )
    wait_until(lambda: answers(port), what="a server")
    prometheus = Prometheus(programs, tmp_path, [f"127.0.0.1:{web_port}"])
    wait_until(prometheus.has_scraped)
    assert prometheus.firing() == set()

    with WirePeer(port) as client, WirePeer(port) as worker:

        def submit(function: bytes) -> None:
            client.send(P.SUBMIT_JOB_BG, function, b"", b"")
            client.expect(P.JOB_CREATED)

        prometheus.wait_for("TxgearNoWorker", "growing", lambda: submit(b"growing"))
        prometheus.wait_for("TxgearQueueGrows", "growing", lambda: submit(b"growing"))

        submit(b"dying")
        worker.send(P.CAN_DO, b"dying")
        worker.send(P.GRAB_JOB)
        handle = worker.expect(P.JOB_ASSIGN).args[0]
        worker.send(P.WORK_FAIL, handle)
        prometheus.wait_for("TxgearDeadJobs", "dying")

        # The worker is awake, has nothing to do, and asks for nothing.
        prometheus.wait_for("TxgearWorkersSilent", "dying")
        worker.send(P.PRE_SLEEP)
        wait_until(lambda: ("TxgearWorkersSilent", "dying") not in prometheus.firing())

        postgres.kill()
        client.send(P.SUBMIT_JOB_BG, b"growing", b"", b"")
        client.expect(P.ERROR)
        prometheus.wait_for("TxgearStoreAway")

    server.stop()
    prometheus.wait_for("TxgearDown")
