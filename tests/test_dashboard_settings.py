"""Settings with their source, schedules that are run at once, and what a store says of itself."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from processes import Programs, Servers, free_port, twistd, wait_until
from test_tls import Authority
from webpeer import Answer, WebPeer
from wirepeer import P

pytestmark = pytest.mark.txgear_only

CONFIG = """
[[function]]
name = "report.*"
retries = 2

[[schedule]]
name = "nightly"
cron = "30 2 * * MON-FRI"
timezone = "Europe/Berlin"
function = "report"
workload = "all of it"
unique = "nightly"
priority = "high"
"""
HTML = "text/html"


class Site:
    """The web of a server."""

    def __init__(self, start_server: Servers, *options: str, **how: Any) -> None:
        self.port = free_port()
        self.server = start_server(f"--web=127.0.0.1:{self.port}", *options, **how)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        return ask(self.port, method, path, body, **headers)


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    with WebPeer(port) as peer:
        return peer.ask(method, path, body, **headers)


def options(port: int) -> dict[str, tuple[str, str, str]]:
    """The options in force by name: value, source and place."""
    found = ask(port, "GET", "/api/v1/settings").json["options"]
    return {each["name"]: (each["value"], each["source"], each["place"]) for each in found}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    found = tmp_path / "txgear.toml"
    found.write_text(CONFIG)
    return found


def test_sources(start_server: Servers, tmp_path: Path, config: Path) -> None:
    """Each option says whether it was given, and where; what the environment says counts as that."""
    state = tmp_path / "state"
    state.mkdir()
    site = Site(
        start_server,
        f"--config={config}",
        "--max-packet=32M",
        "--job-retries=3",
        "-w2",
        "--exceptions",
        store=f"sqlite:///{state}/jobs.sqlite",
        env={"TXGEAR_STORE_PASSWORD": "hush"},
    )
    found = options(site.port)
    for name, expected in (
        ("max-packet", ("32 MiB", "command line", "--max-packet")),
        ("job-retries", ("3", "command line", "--job-retries")),
        ("worker-wakeup", ("2", "command line", "--worker-wakeup")),
        ("exceptions", ("on", "command line", "--exceptions")),
        ("config", (str(config), "command line", "--config")),
        ("store", (f"sqlite:///{state}/jobs.sqlite", "command line", "--store")),
        ("store-password", ("set; it is not shown", "environment", "TXGEAR_STORE_PASSWORD")),
        ("queue-memory", ("256 MiB", "default", "")),
        ("store-timeout", ("5 s", "default", "")),
    ):
        assert found[name] == expected, name
    answer = site.ask("GET", "/settings", Accept=HTML)
    page = answer.body.decode()
    assert "the environment: <code>TXGEAR_STORE_PASSWORD</code>" in page
    assert "hush" not in page
    assert "<code>report.*</code>" in page
    assert f"<code>127.0.0.1:{site.server.port}</code>" in page


def test_the_folder_that_the_environment_names(programs: Programs, tmp_path: Path) -> None:
    port, web = free_port(), free_port()
    words = ["-n", "--pidfile=", "txgear", f"--port={port}", "--listen=127.0.0.1", f"--web=127.0.0.1:{web}"]
    program = programs.start([*twistd(), *words], env={"STATE_DIRECTORY": str(tmp_path)})
    program.comes_up()
    assert options(web)["store"] == (
        f"sqlite:///{tmp_path}/jobs-{port}.sqlite",
        "environment",
        "STATE_DIRECTORY",
    )


def test_reload(start_server: Servers, tmp_path: Path, config: Path) -> None:
    """When the file was read, and by whom; and why it could not be read again."""
    site = Site(start_server, f"--config={config}")

    def read() -> Any:
        return site.ask("GET", "/api/v1/settings").json["config"]

    first = read()
    assert (first["by"], first["error"]) == ("start", None)
    config.write_text(CONFIG + "\n[[function]]\nname = 5\n")
    site.server.signal(signal.SIGHUP)
    wait_until(lambda: read()["error"] is not None, what="a mistake")
    assert "line 16: function.name" in read()["error"]
    assert read()["read"] == first["read"]
    assert "It could not be read again" in site.ask("GET", "/settings", Accept=HTML).body.decode()
    config.write_text(CONFIG.replace("retries = 2", "retries = 7"))
    site.server.signal(signal.SIGHUP)
    wait_until(lambda: read()["by"] == "signal", what="the file again")
    assert read()["error"] is None
    assert "tried again, up to 7 times" in site.ask("GET", "/settings", Accept=HTML).body.decode()


def test_certificate(start_server: Servers, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    authority = Authority(folder)
    until = datetime.now(timezone.utc) + timedelta(days=3, hours=12)
    authority.renew("localhost", until=until)
    site = Site(
        start_server, f"--tls-listen=127.0.0.1:{free_port()}", *authority.options(), "--listen=127.0.0.1"
    )
    found = site.ask("GET", "/api/v1/settings").json["certificate"]
    assert (found["days"], found["clients"]) == (3, None)
    page = site.ask("GET", "/settings", Accept=HTML).body.decode()
    assert "The certificate expires soon:</strong> 3 days" in page


def test_run_now(start_server: Servers, tmp_path: Path, config: Path) -> None:
    """By the page, the API and the command: with all that the job would have at its time, which stays."""
    site = Site(start_server, f"--config={config}", store=f"sqlite:///{tmp_path}/jobs.sqlite")
    (before,) = site.ask("GET", "/api/v1/schedules").json["schedules"]
    assert before["words"] == "At 02:30 on Monday through Friday"
    page = site.ask("GET", "/schedules", Accept=HTML)
    html = page.body.decode()
    assert ">Run now<" in html
    token = html.partition('name="form_token" value="')[2].partition('"')[0]
    cookie = str(page.headers["Set-Cookie"]).partition(";")[0]
    done = site.ask(
        "POST",
        "/schedules/run",
        urlencode({"form_token": token, "schedule": "nightly"}).encode(),
        Accept=HTML,
        Cookie=cookie,
        Origin="http://localhost",
        Content_Type="application/x-www-form-urlencoded",
    )
    assert (done.status, done.headers["Location"]) == (303, "/schedules")
    (after,) = site.ask("GET", "/api/v1/schedules").json["schedules"]
    handle = after["run"]["handle"]
    assert (after["next"], after["last"]) == (before["next"], before["last"])
    assert (after["run"]["by_hand"], after["run"]["state"]) == (True, "queued")
    job = site.ask("GET", f"/api/v1/jobs/{handle}").json
    assert (job["function"], job["unique"], job["priority"]) == ("report", "nightly", "high")
    assert job["stored"]
    again = site.ask("POST", "/api/v1/schedules/nightly/run")
    assert (again.status, again.json["handle"], again.json["joined"]) == (202, handle, True)
    with site.server.connect() as worker:
        worker.send(P.CAN_DO, b"report")
        worker.send(P.GRAB_JOB)
        assigned = worker.read()
        assert assigned.type == P.JOB_ASSIGN
        assert assigned.args[-1] == b"all of it"
        worker.send(P.WORK_COMPLETE, handle.encode(), b"")
        worker.sync()
    with site.server.connect() as operator:
        other = operator.ask("run schedule nightly")
    assert other.startswith(b"OK H:")
    assert other != b"OK %s\n" % handle.encode()
    acts = site.ask("GET", "/api/v1/audit?act=submit&text=nightly").json["acts"]
    assert [act["about"]["schedule"] for act in acts] == ["nightly"] * 3


def test_what_a_store_says_of_itself(start_server: Servers, tmp_path: Path) -> None:
    site = Site(start_server, store=f"sqlite:///{tmp_path}/jobs.sqlite")
    with site.server.connect() as client:
        client.send(P.SUBMIT_JOB_BG, b"f", b"", b"x")
        assert client.read().type == P.JOB_CREATED
    found = site.ask("GET", "/api/v1/store").json
    assert found["state"] == "ok"
    assert found["report"]["settings"] == {"journal_mode": "wal", "synchronous": "FULL"}
    assert found["report"]["doubts"] == []
    assert found["report"]["log_size"] > 0
    assert found["commits"]["count"] >= 1
    assert "<strong>Durable:</strong>" in site.ask("GET", "/store", Accept=HTML).body.decode()
