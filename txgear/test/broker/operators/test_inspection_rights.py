"""Tests of L{txgear.broker.operators.inspection}: what is shown to peers that may not know everything."""

from __future__ import annotations

import json
from typing import Any

from txgear.broker.model import Job
from txgear.broker.operators import inspection
from txgear.broker.operators.search import OF_FUNCTIONS, Search
from txgear.broker.rights import PEERS, READ, SEE
from txgear.broker.tenants import Tenant
from txgear.test.broker.operators.test_inspection import InspectionTestCase
from txgear.test.support.broker import FakeRights


def handles(page: dict[str, Any]) -> list[str]:
    return [job["handle"] for job in page["jobs"]]


class RightsTestCase(InspectionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.rights = self.peer.rights = FakeRights()

    def deny(self, *denied: tuple[str, bytes]) -> None:
        """From now on all but this is allowed."""
        self.rights.denied = set(denied)


class LiveTests(RightsTestCase):
    def test_those_of_functions_that_may_be_known(self) -> None:
        mine, others = self.fixture.submit(None, b"f"), self.fixture.submit(None, b"g")
        self.assertEqual(len(handles(self.jobs())), 2)
        self.deny((SEE, b"g"))
        self.assertEqual(handles(self.jobs()), [mine.handle.decode()])
        self.assertEqual(self.jobs(function=b"g"), {"jobs": [], "next": None})
        self.assertIs(inspection.find(self.broker, self.peer, mine.handle), mine)
        for word in (others.handle, b"192.0.2.1:4730//" + others.handle):
            self.assertIsNone(inspection.find(self.broker, self.peer, word))

    def test_a_page_takes_no_longer(self) -> None:
        """Jobs that are not shown are looked at, too."""
        for _ in range(5):
            self.fixture.submit(None, b"g")
        mine = self.fixture.submit(None, b"f")
        self.deny((SEE, b"g"))
        self.bounds = self.bounds._replace(few=0, work=3)
        self.assertEqual(self.jobs(), {"jobs": [], "next": 3})
        self.assertEqual(handles(self.jobs(after=b"3")), [mine.handle.decode()])

    def test_copies_of_other_functions(self) -> None:
        """A job does not tell of others of which one may not know; of what is forgotten nobody can say."""
        original, copy, gone = (self.fixture.submit(None, name) for name in (b"f", b"g", b"g"))
        for each in (copy, gone):
            self.broker.operations.link_copy(original, each)
        self.fixture.cancel(gone)
        known = [each.handle.decode() for each in (original, copy, gone)]
        for denied, originals, copies in ((), known[0], known[1:]), (((SEE, b"g"),), None, known[2:]):
            self.deny(*denied)
            self.assertEqual(self.job(original)["copies"], copies)
            self.deny(*((SEE, b"f") if name == b"g" else (act, name) for act, name in denied))
            self.assertEqual(self.job(copy)["copy_of"], originals)

    def test_no_guessing_at_workloads(self) -> None:
        """Whoever may not read them cannot find jobs by what they have; by their uniques it can."""
        job = self.fixture.submit(None, b"f", b"order 17", b"the secret")
        shown = [job.handle.decode()]
        self.assertEqual(handles(self.jobs(text=b"secret")), shown)
        self.deny((READ, b"f"))
        self.assertEqual(handles(self.jobs(text=b"secret")), [])
        self.assertEqual(handles(self.jobs(text=b"17")), shown)

    def test_who_runs_it(self) -> None:
        """Another identity's workers are not named to those who may not know who is connected."""
        worker = self.fixture.worker(b"f")
        worker.client_id = b"me"
        self.fixture.submit(None, b"f")
        job = self.run_one(worker)
        self.deny((PEERS, b""))
        for name, tenants in (
            (None, (Tenant("web"), Tenant("mail"))),
            ("me", (web := Tenant("web"), web)),
        ):
            self.peer.tenant, worker.tenant = tenants
            self.assertEqual(self.jobs()["jobs"][0]["worker"], name)
            self.assertEqual(self.job(job)["worker"], name)
            self.assertEqual(len(handles(self.jobs(worker=b"me"))), name is not None)

    def test_who_waits(self) -> None:
        """Those of others are counted, and not named."""
        mine, other = self.fixture.connect(), self.fixture.connect()
        self.peer.tenant = mine.tenant = Tenant("web")
        for client in (mine, other):
            job = self.fixture.submit(client, unique=b"u")
        self.assertEqual(len(self.job(job)["waiters"]), 2)
        self.deny((PEERS, b""))
        found = self.job(job)
        self.assertEqual(found["clients"], 2)
        self.assertEqual([waiter["address"] for waiter in found["waiters"]], [mine.address])


class EndedTests(RightsTestCase):
    def dies(self, function: bytes = b"f", text: bytes = b"no such user") -> Job:
        worker = self.fixture.worker(function)
        worker.client_id = b"me"
        self.fixture.submit(None, function, b"u", b"the workload")
        job = self.run_one(worker)
        self.broker.reports.work_exception(worker, job.handle, text, self.fixture.now)
        self.fixture.leave(worker)
        return job

    def test_the_dead(self) -> None:
        self.set_policy(retries=0, dead={"keep": 100})
        job, _ = self.dies(), self.dies(b"g")
        self.assertEqual(len(handles(self.dead())), 2)
        self.deny((SEE, b"g"))
        (found,) = self.dead()["jobs"]
        self.assertEqual((found["handle"], found["text"]), (job.handle.decode(), "no such user"))
        for text in (b"user", b"workload", b"u"):
            self.assertEqual(len(handles(self.dead(text=text))), 1)
        self.deny((READ, b"f"), (SEE, b"g"))
        (found,) = self.dead()["jobs"]
        self.assertEqual((found["reason"], found["text"]), ("exception", None))
        self.assertEqual(len(handles(self.dead(text=b"u"))), 1)
        for text in (b"user", b"workload"):
            self.assertEqual(handles(self.dead(text=text)), [])

    def test_the_history(self) -> None:
        self.set_policy(retries=0, dead={"keep": 100})
        job = self.dies()
        for denied, worker, text in (
            ((), "me", "no such user"),
            (((PEERS, b""),), None, "no such user"),
            (((READ, b"f"),), "me", None),
        ):
            self.deny(*denied)
            (attempt,) = self.job(job)["history"]
            self.assertEqual((attempt["worker"], attempt["text"]), (worker, text))

    def test_the_kept(self) -> None:
        self.set_policy(results={"keep": 100})
        worker = self.fixture.worker(b"f", b"g")
        for function in (b"f", b"g"):
            self.fixture.submit(None, function, b"u")
            job = self.complete(worker, b"the result")
        self.assertEqual(len(handles(self.kept(text=b"result"))), 2)
        self.deny((SEE, b"f"))
        self.assertEqual(handles(self.kept()), [job.handle.decode()])
        self.deny((READ, b"f"))
        self.assertEqual(handles(self.kept(text=b"result")), [job.handle.decode()])
        self.assertEqual(len(handles(self.kept(text=b"u"))), 2)


class FunctionTests(RightsTestCase):
    def test_those_that_may_be_known(self) -> None:
        for name in (b"f", b"g"):
            self.fixture.submit(None, name)
        self.deny((SEE, b"g"))
        found = inspection.functions(self.broker, self.peer, Search.parse({}, OF_FUNCTIONS))
        self.assertEqual([function.name for function in found], [b"f"])

    def test_a_policy(self) -> None:
        """Its settings, and nothing of the function itself: that is as if there were none."""
        self.set_policy(concurrency=4)
        nothing = inspection.policy(self.broker, self.peer, b"f", self.fixture.now)
        self.fixture.submit(None, b"f")
        found = inspection.policy(self.broker, self.peer, b"f", self.fixture.now)
        self.assertEqual((found["jobs"], found["room"]), (1, 4))
        self.deny((SEE, b"f"))
        self.assertEqual(inspection.policy(self.broker, self.peer, b"f", self.fixture.now), nothing)
        json.dumps(nothing)
