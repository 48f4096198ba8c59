"""Tests of L{txgear.broker.diagnosis.diagnosis}."""

from __future__ import annotations

import json

from txgear.broker.diagnosis.diagnosis import (
    MOST_MISNAMED,
    MOST_SURVEYED,
    MOST_TROUBLED,
    STEP,
    Survey,
    diagnose,
    known,
)
from txgear.broker.diagnosis.findings import OK, Trend
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import SEE
from txgear.broker.statistics import MOST_COUNTED
from txgear.test.support.broker import FakeRights
from txgear.test.support.diagnosis import MORNING, DiagnosisTestCase


class NothingTests(DiagnosisTestCase):
    def test_nothing_to_do(self) -> None:
        self.fixture.worker(b"f")
        words = "no job is due; none has ended since the server started; 1 worker"
        self.assertEqual(self.line("idle"), (OK, words))
        self.assertEqual(self.facts("idle"), {"running": 0, "workers": 1})

    def test_what_is_left_for_another_server_may_be_due(self) -> None:
        self.fixture.submit(None)
        self.fixture.drain()
        self.assertEqual(list(self.found()), ["draining"])

    def test_it_was_done(self) -> None:
        worker = self.fixture.worker(b"f")
        self.complete(worker, self.grabbed(worker, self.fixture.submit(None)))
        self.fixture.now += 240
        words = "no job is due; the last one ended at 09:00:00 UTC (4 min ago); 1 worker"
        self.assertEqual(self.line("idle"), (OK, words))
        self.assertEqual(self.facts("idle"), {"running": 0, "workers": 1, "last": moment(MORNING)})

    def test_it_is_counted_with_others(self) -> None:
        for number in range(MOST_COUNTED):
            self.broker.operations.create_function(b"f%d" % number)
        self.fixture.worker(b"f")
        self.assertEqual(self.line("idle"), (OK, "no job is due; 1 worker"))

    def test_it_is_being_done(self) -> None:
        worker = self.fixture.worker(b"f")
        self.grabbed(worker, self.fixture.submit(None))
        words = "1 job runs, and no other is due; 1 worker"
        self.assertEqual(self.line("at_work"), (OK, words))
        self.assertEqual(self.facts("at_work"), {"running": 1, "workers": 1})

    def test_what_is_worse_comes_first(self) -> None:
        self.fixture.set(max_queue=2, retries=0)
        worker = self.fixture.worker(b"f")
        self.fails(worker, self.grabbed(worker, self.fixture.submit(None)))
        for _ in range(2):
            self.fixture.submit(None)
        self.broker.operations.pause(b"f", self.fixture.now)
        self.assertEqual(list(self.found()), ["queue_full", "paused", "dead", "jobs_wait"])


class KnownTests(DiagnosisTestCase):
    def test_the_first_of_several_names_that_is_known(self) -> None:
        function = self.broker.functions.get(b"f")
        self.broker.functions.get(b"g")
        self.assertIs(known(self.broker, self.peer, (b"e", b"f", b"g")), function)
        self.assertIsNone(known(self.broker, self.peer, (b"e",)))

    def test_one_of_which_the_peer_may_not_know_is_passed_over(self) -> None:
        other = self.broker.functions.get(b"g")
        self.broker.functions.get(b"f")
        self.peer.rights = FakeRights((SEE, b"f"))
        self.assertIs(known(self.broker, self.peer, (b"f", b"g")), other)

    def test_one_that_nobody_uses_any_more(self) -> None:
        self.fixture.leave(self.fixture.worker(b"f"))
        self.assertNotIn(b"f", self.broker.functions.by_name)
        found = known(self.broker, self.peer, (b"f",))
        assert found is not None
        self.fixture.now += 240
        (finding,) = diagnose(self.broker, self.peer, found, self.fixture.now)
        words = "none has ended since the server started; no worker since 09:00:00 UTC (4 min)"
        self.assertEqual((finding.code, finding.text), ("idle", f"no job is due; {words}"))
        self.assertNotIn(b"f", self.broker.functions.by_name)

    def test_one_that_never_had_a_worker(self) -> None:
        self.fixture.cancel(self.fixture.submit(None))
        found = known(self.broker, self.peer, (b"f",))
        assert found is not None
        (finding,) = diagnose(self.broker, self.peer, found, self.fixture.now)
        self.assertTrue(finding.text.endswith("; no worker since the server started"), finding.text)


class SurveyTests(DiagnosisTestCase):
    def survey(self, trends: dict[bytes, Trend] | None = None) -> Survey:
        survey = Survey(self.broker, self.peer, self.fixture.now, (trends or {}).get)
        self.steps = sum(1 for _ in survey.steps())
        return survey

    def names(self) -> list[bytes]:
        return [function.name for function, _ in self.survey().functions]

    def test_all_is_well(self) -> None:
        survey = self.survey()
        self.assertEqual((survey.server, survey.functions, survey.complete), ([], [], True))
        worker = self.fixture.worker(b"f", b"g")
        self.grabbed(worker, self.fixture.submit(None))
        survey = self.survey()
        self.assertEqual((survey.server, survey.functions, survey.complete), ([], [], True))

    def test_the_worst_first(self) -> None:
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        self.fails(worker, self.grabbed(worker, self.fixture.submit(None)))
        self.fixture.submit(None, b"few")
        for _ in range(2):
            self.fixture.submit(None, b"many")
        self.fixture.worker(b"well")
        self.assertEqual(self.names(), [b"many", b"few", b"f"])
        (_, found), *_ = self.survey().functions
        self.assertEqual([finding.code for finding in found], ["never_a_worker"])

    def test_similar_names(self) -> None:
        """Of some functions that lack workers; it takes long."""
        self.fixture.worker(b"mail.send")
        self.fixture.submit(None, b"mail.sent")
        ((_, found),) = self.survey().functions
        self.assertEqual([finding.code for finding in found], ["never_a_worker", "similar_name"])
        for place in range(MOST_MISNAMED):
            self.fixture.submit(None, b"mail.sen%c" % (ord("A") + place))
        codes = [finding.code for _, found in self.survey().functions for finding in found]
        self.assertEqual(codes.count("never_a_worker"), MOST_MISNAMED + 1)
        self.assertEqual(codes.count("similar_name"), MOST_MISNAMED)

    def test_only_what_is_wrong(self) -> None:
        self.fixture.worker(b"f")
        self.broker.operations.pause(b"f", self.fixture.now)
        self.fixture.submit(None)
        ((_, found),) = self.survey().functions
        self.assertEqual([finding.code for finding in found], ["paused"])

    def test_what_is_of_the_server_is_said_once(self) -> None:
        for name in (b"f", b"g"):
            self.fixture.worker(name)
            self.fixture.submit(self.fixture.connect(), name)
        self.fixture.drain()
        survey = self.survey()
        self.assertEqual([finding.code for finding in survey.server], ["draining"])
        self.assertEqual(survey.functions, [])

    def test_what_is_of_the_server_is_said_without_functions(self) -> None:
        self.fixture.drain()
        (finding,) = self.survey().server
        words = "the server is to end: it takes no job, and hands out only what clients wait for"
        self.assertEqual(finding.text, words)

    def test_how_each_has_fared(self) -> None:
        for name in (b"f", b"g"):
            self.fixture.worker(name)
            self.fixture.submit(None, name)
        ((function, (finding,)),) = self.survey({b"g": Trend(300.0, 100, 0)}).functions
        self.assertEqual((function.name, finding.code), (b"g", "wait_grows"))

    def test_functions_of_which_the_peer_may_not_know(self) -> None:
        for name in (b"f", b"g"):
            self.fixture.submit(None, name)
        self.peer.rights = FakeRights((SEE, b"f"))
        self.assertEqual(self.names(), [b"g"])

    def test_not_more_than_so_many_rows(self) -> None:
        for number in range(MOST_TROUBLED):
            self.fixture.submit(None, b"f%d" % number)
        self.assertTrue(self.survey().complete)
        for _ in range(2):
            self.fixture.submit(None, b"worst")
        survey = self.survey()
        self.assertEqual((len(survey.functions), survey.complete), (MOST_TROUBLED, False))
        self.assertEqual(survey.functions[0][0].name, b"worst")

    def test_it_takes_many_steps(self) -> None:
        for number in range(3):
            self.fixture.submit(None, b"f%d" % number)
        for number in range(2 * STEP + 1):
            self.broker.operations.create_function(b"g%d" % number)
        self.survey()
        self.assertEqual(self.steps, 5)

    def test_not_more_than_so_many_functions_are_looked_at(self) -> None:
        worker = self.fixture.worker(*(b"f%d" % number for number in range(MOST_SURVEYED)))
        for number in range(MOST_SURVEYED):
            self.fixture.submit(None, b"f%d" % number)
        self.fixture.grab_all(worker)
        survey = self.survey()
        self.assertEqual((survey.functions, survey.complete, self.steps), ([], True, MOST_SURVEYED))
        self.fixture.submit(None, b"worst")
        survey = self.survey()
        self.assertEqual((survey.functions, survey.complete), ([], False))

    def test_whatever_was_found_is_plain(self) -> None:
        self.fixture.set(max_queue=1)
        self.fixture.submit(None)
        for finding in self.found().values():
            json.dumps(finding._asdict())
