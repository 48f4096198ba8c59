"""Why nothing happens, as a real server says it: by its text command, and by its API."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

from operating import configured
from processes import PATIENCE, Servers, free_port, wait_until
from txgear.broker.diagnosis.diagnosis import CODES
from txgear.server import clusterfindings
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

PAGE: Final = Path(__file__).parent.parent / "docs" / "web" / "diagnosis.md"

POLICIES: Final = """
[[function]]
name = "bounded"
max_queue = 2

[[function]]
name = "slow"
rate = "1/h"

[[function]]
name = "one"
concurrency = 1

[[function]]
name = "dies"
retries = 0
"""

AGO: Final = r"(\d+ s|less than 1 s)"
CLOCK: Final = r"(\d{4}-\d\d-\d\d )?\d\d:\d\d(:\d\d)? UTC"


class Asked:
    """A server with a web and a store, and somebody who asks it why nothing happens."""

    def __init__(self, start_server: Servers, folder: Path) -> None:
        self._start = start_server
        self._options = configured(folder, POLICIES)
        self._store = f"sqlite:///{folder}/jobs.db"
        self._port = free_port()
        self.begin()

    def begin(self) -> None:
        web = f"tcp:{self._port}:interface=127.0.0.1"
        self.server = self._start("--web", web, *self._options, store=self._store)

    def get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return json.load(answer)

    def found(self, function: str) -> dict[str, str]:
        """What is found of a function, by code; both ways find the same."""
        lines = {code: text for _, code, text in self.server.list(f"diagnose {function}")}
        findings = self.get(f"functions/{function}/diagnosis")["findings"]
        assert [finding["code"] for finding in findings] == list(lines)
        return lines

    def wait_for(self, code: str, function: str) -> None:
        """Wait until this is found."""
        wait_until(lambda: any(row[1] == code for row in self.server.list(f"diagnose {function}")), what=code)

    def worker(self, *functions: bytes) -> WirePeer:
        peer = self.server.connect()
        peer.send(P.SET_CLIENT_ID, b"mailer-1")
        peer.can_do(*functions)
        return peer

    def submit(self, *functions: bytes) -> None:
        """Background jobs that are on disk."""
        with WirePeer(self.server.port) as peer:
            for function in functions:
                peer.submit(function, type=P.SUBMIT_JOB_BG)


def assert_like(text: str, pattern: str) -> None:
    assert re.fullmatch(pattern, text), text


@pytest.fixture
def asked(start_server: Servers, tmp_path: Path) -> Asked:
    return Asked(start_server, tmp_path)


def test_workers(asked: Asked) -> None:
    """None, one of nearly the same name, one that is busy, one that does not come, none any more."""
    worker = asked.worker(b"send_mail", b"other")
    asked.submit(b"sendmail")
    found = asked.found("sendmail")
    assert found["never_a_worker"] == "1 job waits, and there has been no worker since the server started"
    assert found["similar_name"] == 'the name may be a mistake: "send_mail" has 1 worker'

    asked.submit(b"other", b"send_mail")
    job = worker.grab_soon()
    other = "other" if job.function == b"send_mail" else "send_mail"
    assert asked.found(other)["all_busy"] == "the only worker is busy"
    assert (
        asked.found(other)["jobs_wait"] == "1 job waits; 1 worker knows the function: 1 is busy with others"
    )
    (row,) = asked.get(f"workers?function={other}")["workers"]
    assert (row["client_id"], row["condition"], row["jobs"]) == ("mailer-1", "busy", 1)
    assert row["heard"] is not None
    assert row["heard"] < PATIENCE
    assert asked.get(f"workers/{row['descriptor']}")["in_hand"][0]["handle"] == job.handle.decode()

    worker.complete(job)
    worker.complete(worker.grab_soon())
    worker.send(P.PRE_SLEEP)
    worker.sync()
    assert_like(
        asked.found(other)["idle"], rf"no job is due; the last one ended at {CLOCK} \({AGO} ago\); 1 worker"
    )
    asked.submit(other.encode())
    asked.wait_for("workers_late", other)
    late = asked.found(other)["workers_late"]
    assert_like(late, rf"the only worker was woken {AGO} ago and has not asked: mailer-1")

    worker.close()
    asked.wait_for("no_worker", other)
    gone = asked.found(other)["no_worker"]
    assert_like(gone, rf"1 job waits, and there is no worker since {CLOCK} \({AGO}\)")
    troubles = asked.get("diagnosis")
    assert {row["function"] for row in troubles["functions"]} == {"sendmail", other}
    assert troubles["complete"]
    rows = asked.server.list("diagnose")
    assert {(name, code) for name, _, code, _ in rows} == {
        (row["function"], finding["code"]) for row in troubles["functions"] for finding in row["findings"]
    }


def test_what_somebody_has_decided(asked: Asked) -> None:
    worker = asked.worker(b"slow", b"one", b"dies", b"paused")
    asked.submit(b"dies")
    worker.send(P.WORK_FAIL, worker.grab_soon().handle)
    worker.sync()
    assert_like(
        asked.found("dies")["dead"],
        rf"1 job is dead, 1 of the last hour; the last one died at {CLOCK} \({AGO} ago\)",
    )
    asked.submit(b"slow", b"slow", b"one", b"one")
    for _ in range(2):
        worker.grab_soon()
    assert_like(asked.found("slow")["rate"], rf"the rate \(1/h\) allows the next at {CLOCK}, in (59 min|1 h)")
    assert asked.found("one")["concurrency"] == "1 job runs, and 1 may at once"

    asked.submit(b"bounded", b"bounded")
    with WirePeer(asked.server.port) as client:
        client.send(P.SUBMIT_JOB_BG, b"bounded", b"", b"")
        client.expect(P.ERROR)
    full = r"submits are refused: Job queue is full: max_queue is 2; 2 jobs of 0 bytes"
    assert_like(asked.found("bounded")["queue_full"], rf"{full}; 1 submit was refused, the last {AGO} ago")

    with WirePeer(asked.server.port) as operator:
        assert operator.ask("purge bounded") == b"OK 2\n"
        assert operator.ask("pause paused").startswith(b"OK")
    asked.wait_for("purged", "bounded")
    purged = rf"2 jobs were purged by 127\.0\.0\.1 at {CLOCK} \({AGO} ago\)"
    assert_like(asked.found("bounded")["purged"], purged)
    asked.submit(b"paused")
    by = rf"paused by 127\.0\.0\.1 since {CLOCK} \({AGO}\); 1 job waits"
    assert_like(asked.found("paused")["paused"], by)
    asked.server.stop()
    asked.begin()
    assert_like(asked.found("paused")["paused"], by)


def test_the_page_has_each_code_with_an_example_and_no_other() -> None:
    page = PAGE.read_text()
    codes = (*CODES, *clusterfindings.CODES)
    assert sorted(re.findall(r"^### `(\w+)`\n\n\*.+\*\n", page, re.MULTILINE)) == sorted(codes)
    assert page.count("\n### ") == len(codes)
    # And what links to one leads somewhere.
    assert set(re.findall(r"\(#(\w+)\)", page)) <= set(codes)
