"""Tests of L{txgear.broker.diagnosis.diagnosisworkers}: each line from a state that was made."""

from __future__ import annotations

from txgear.broker.diagnosis.diagnosisworkers import LONGEST_ALIKE, MOST_ALIKE, USUAL_FROM
from txgear.broker.diagnosis.findings import CRITICAL, INFO, WARNING
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import PEERS, SEE
from txgear.broker.statistics import MOST_COUNTED
from txgear.test.support.broker import BrokerFixture, FakeRights
from txgear.test.support.diagnosis import MORNING, DiagnosisTestCase


class NoWorkerTests(DiagnosisTestCase):
    def test_never_since_the_server_started(self) -> None:
        self.fixture.submit(None)
        self.fixture.now += 5
        words = "1 job waits, and there has been no worker since the server started"
        self.assertEqual(self.line("never_a_worker"), (CRITICAL, words))
        self.assertEqual(self.facts("never_a_worker"), {"jobs": 1, "longest": 5.0})
        self.assertNotIn("jobs_wait", self.found())

    def test_since_the_last_one_left(self) -> None:
        worker = self.fixture.worker(b"f")
        for _ in range(12):
            self.fixture.submit(None)
        self.fixture.now += 600
        self.fixture.leave(worker)
        self.fixture.now += 11520
        words = "12 jobs wait, and there is no worker since 09:10 UTC (3 h 12 min)"
        self.assertEqual(self.line("no_worker"), (CRITICAL, words))
        facts = {"jobs": 12, "longest": 12120.0, "since": moment(MORNING + 600), "seconds": 11520.0}
        self.assertEqual(self.facts("no_worker"), facts)

    def test_jobs_that_are_still_to_come(self) -> None:
        self.fixture.submit(None, delay=600.0)
        words = "1 job is to come, and there has been no worker since the server started"
        self.assertEqual(self.line("never_a_worker"), (WARNING, words))

    def test_nobody_misses_one_where_there_is_nothing_to_do(self) -> None:
        self.broker.operations.create_function(b"f")
        self.assertEqual(list(self.found()), ["idle"])

    def test_what_is_counted_with_others_has_no_time_of_its_own(self) -> None:
        for number in range(MOST_COUNTED):
            self.broker.operations.create_function(b"f%d" % number)
        self.fixture.leave(self.fixture.worker(b"f"))
        self.fixture.submit(None)
        self.assertEqual(self.line("no_worker"), (CRITICAL, "1 job waits, and there is no worker"))
        self.assertNotIn("never_a_worker", self.found())


class SimilarNameTests(DiagnosisTestCase):
    def similar(self, name: bytes) -> str | None:
        """Which function may be meant by a name."""
        self.fixture.submit(None, name)
        found = self.found(name).get("similar_name")
        return None if found is None else found.facts["function"]

    def test_another_one_has_workers(self) -> None:
        for _ in range(2):
            self.fixture.worker(b"send_mail")
        self.fixture.worker(b"resize")
        self.fixture.submit(None, b"sendmail")
        words = 'the name may be a mistake: "send_mail" has 2 workers'
        self.assertEqual(self.line("similar_name", b"sendmail"), (WARNING, words))
        facts = {"function": "send_mail", "workers": 2}
        self.assertEqual(self.facts("similar_name", b"sendmail"), facts)

    def test_what_is_alike(self) -> None:
        self.fixture.worker(b"Resize-Image", b"resize_video")
        for name, meant in (
            (b"resize-image", "Resize-Image"),
            (b"resize-iamge", "Resize-Image"),
            (b"resize_vide", "resize_video"),
            (b"resize", None),
            (b"image-resize", None),
            (b"zzzzzzzzzzzz", None),
        ):
            self.assertEqual(self.similar(name), meant, name)

    def test_the_one_that_is_most_alike(self) -> None:
        self.fixture.worker(b"import_user", b"import_users_", b"import_uses")
        self.assertEqual(self.similar(b"import_users"), "import_users_")

    def test_one_that_has_no_workers_is_not_meant(self) -> None:
        self.fixture.submit(None, b"send_mail")
        self.assertIsNone(self.similar(b"sendmail"))

    def test_one_of_which_the_peer_may_not_know_is_not_told(self) -> None:
        self.fixture.worker(b"send_mail")
        self.peer.rights = FakeRights((SEE, b"send_mail"))
        self.assertIsNone(self.similar(b"sendmail"))

    def test_long_names_are_not_compared(self) -> None:
        self.fixture.worker(b"m" * LONGEST_ALIKE)
        self.assertIsNone(self.similar(b"m" * (LONGEST_ALIKE + 1)))

    def test_not_more_than_so_many_are(self) -> None:
        self.fixture.worker(b"name")
        # Of the same letters, and not alike enough; these are looked at first.
        self.fixture.worker(*(b"eman" + b"%c" % (97 + number) for number in range(MOST_ALIKE)))
        self.assertIsNone(self.similar(b"Name"))

    def test_a_hostile_name_forges_no_line(self) -> None:
        self.fixture.worker(b"send\nmail")
        self.fixture.submit(None, b"send mail")
        self.assertIn('"send\\x0amail"', self.line("similar_name", b"send mail")[1])


class WaitTests(DiagnosisTestCase):
    def test_what_all_do_meanwhile(self) -> None:
        busy, other, late = (
            self.fixture.worker(b"f"),
            self.fixture.worker(b"f", b"g"),
            self.fixture.sleeper(b"f"),
        )
        for function in (b"f", b"g"):
            self.fixture.submit(None, function)
        self.fixture.grab(busy)
        self.fixture.grab(other)
        for _ in range(12):
            self.fixture.submit(None)
        self.fixture.pass_time(1)
        words = (
            "12 jobs wait; 3 workers know the function: 2 are busy (1 of them with this function),"
            " 1 was woken 1 s ago and has not asked yet"
        )
        self.assertEqual(self.line("jobs_wait"), (INFO, words))
        self.fixture.pass_time(3)
        words = (
            "12 jobs wait; 3 workers know the function: 2 are busy (1 of them with this function),"
            " 1 was woken 4 s ago and has not asked"
        )
        self.assertEqual(self.line("jobs_wait"), (INFO, words))
        self.assertEqual(late.missed, MORNING)
        self.assertEqual(
            self.facts("jobs_wait"),
            {
                "jobs": 12,
                "longest": 4.0,
                "workers": 3,
                "busy": 2,
                "busy_here": 1,
                "asleep": 0,
                "woken": 0,
                "awake": 0,
                "late": 1,
                "silent": 0,
                "unread": 0,
                "paused": 0,
            },
        )

    def test_of_very_many_workers_some_are_looked_at(self) -> None:
        for _ in range(5001):
            self.fixture.worker(b"f")
        self.broker.operations.pause(b"f", self.fixture.now)
        self.fixture.submit(None)
        words = "5,001 workers know the function: 5,000 have just asked (of the 5,000 that were looked at)"
        self.assertEqual(self.line("jobs_wait")[1], f"1 job waits; {words}")

    def test_all_are_busy(self) -> None:
        worker = self.fixture.worker(b"f", b"g")
        for function in (b"g", b"f"):
            self.fixture.submit(None, function)
        self.fixture.grab(worker)
        self.assertEqual(self.line("all_busy"), (INFO, "the only worker is busy"))
        self.assertIn("1 is busy with others", self.line("jobs_wait")[1])
        self.fixture.grab(self.fixture.worker(b"f"))
        self.assertNotIn("all_busy", self.found())
        self.fixture.submit(None)
        self.fixture.now += 60
        self.assertEqual(self.line("all_busy"), (WARNING, "all 2 workers are busy"))
        facts = {"workers": 2, "busy": 2, "busy_here": 1, "longest": 60.0}
        self.assertEqual(self.facts("all_busy"), facts)

    def test_one_of_others_that_is_not_busy_is_enough(self) -> None:
        for _ in range(2):
            self.fixture.submit(None)
        self.fixture.grab(self.fixture.worker(b"f"))
        self.fixture.worker(b"f")
        self.assertNotIn("all_busy", self.found())

    def test_what_is_throttled_needs_no_other_worker(self) -> None:
        self.fixture.set(concurrency=1)
        for _ in range(2):
            self.fixture.submit(None)
        self.fixture.grab(self.fixture.worker(b"f"))
        self.assertNotIn("all_busy", self.found())
        self.assertIn("1 is busy with this function", self.line("jobs_wait")[1])


class SilentTests(DiagnosisTestCase):
    def silent(self, *names: bytes) -> None:
        """Workers of these names that have not asked for six minutes."""
        for name in names:
            self.fixture.worker(b"f").client_id = name
        self.fixture.pass_time(370)

    def test_registered_but_has_not_asked(self) -> None:
        self.silent(b"mailer-1")
        words = "the only worker is registered but has not asked for work for 6 min: mailer-1"
        self.assertEqual(self.line("workers_silent"), (INFO, words))
        self.fixture.submit(None)
        self.assertEqual(self.line("workers_silent"), (CRITICAL, words))
        facts = {"workers": 1, "count": 1, "seconds": 370.0, "names": ["mailer-1"]}
        self.assertEqual(self.facts("workers_silent"), facts)

    def test_others_ask(self) -> None:
        self.silent(b"a", b"b", b"c", b"d")
        self.fixture.grab(self.fixture.worker(b"f"))
        self.fixture.submit(None)
        words = (
            "4 of 5 workers are registered but have not asked for work for up to 6 min: d, c, b and 1 more"
        )
        self.assertEqual(self.line("workers_silent"), (WARNING, words))

    def test_others_are_busy(self) -> None:
        self.silent(b"a")
        for _ in range(2):
            self.fixture.submit(None)
        self.fixture.grab(self.fixture.worker(b"f"))
        self.assertEqual(self.line("workers_silent")[0], WARNING)

    def test_names_are_for_those_who_may_know_them(self) -> None:
        self.silent(b"mailer-1")
        self.peer.rights = FakeRights((PEERS, b""))
        words = "the only worker is registered but has not asked for work for 6 min"
        self.assertEqual(self.line("workers_silent"), (INFO, words))
        self.assertEqual(self.facts("workers_silent")["names"], [])

    def test_a_name_forges_no_line(self) -> None:
        self.silent(b"a\r\nb")
        self.assertIn(": a\\x0d\\x0ab", self.line("workers_silent")[1])

    def test_woken_in_vain(self) -> None:
        for _ in range(2):
            self.fixture.sleeper(b"f")
        for _ in range(2):
            self.fixture.submit(None)
        self.fixture.pass_time(240)
        self.assertEqual(self.line("workers_late")[0], CRITICAL)
        self.assertIn(
            "all 2 workers were woken up to 4 min ago and have not asked: ", self.line("workers_late")[1]
        )

    def test_the_store_is_behind(self) -> None:
        self.fixture.worker(b"f").unread = True
        words = "1 worker is not read for now, as the store is behind"
        self.assertEqual(self.line("workers_unread"), (WARNING, words))
        self.assertEqual(self.facts("workers_unread"), {"workers": 1, "count": 1})

    def test_told_to_take_none(self) -> None:
        first, second = self.fixture.worker(b"f"), self.fixture.worker(b"f")
        self.broker.dispatcher.set_paused(first, True, self.fixture.now)
        words = "1 of 2 workers is paused, until somebody tells it to go on"
        self.fixture.submit(None)
        self.assertEqual(self.line("workers_paused"), (INFO, words))
        self.broker.dispatcher.set_paused(second, True, self.fixture.now)
        words = "all 2 workers are paused, until somebody tells them to go on"
        self.assertEqual(self.line("workers_paused"), (WARNING, words))
        self.assertEqual(self.facts("workers_paused"), {"workers": 2, "count": 2})
        self.assertIn("2 are paused", self.line("jobs_wait")[1])


class AbsentTests(DiagnosisTestCase):
    def test_jobs_at_workers_that_may_come_back(self) -> None:
        self.fixture = BrokerFixture(grace=60.0)
        self.fixture.now = MORNING
        workers = [self.fixture.known_worker(key, b"f", b"g") for key in ("a", "b")]
        for worker, name in zip((*workers, workers[1]), (b"f", b"f", b"g"), strict=True):
            self.fixture.submit(None, name)
            self.fixture.grab(worker)
        self.assertNotIn("workers_absent", self.found())
        for worker in workers:
            self.fixture.leave(worker)
            self.fixture.now += 10.0
        where = "2 jobs are at workers whose connections are lost, the first for 20 s"
        words = f"{where}; they may come back until 09:01:10 UTC"
        self.assertEqual(self.line("workers_absent"), (INFO, words))
        self.assertEqual(self.facts("workers_absent")["jobs"], 2)
        self.assertTrue(self.line("workers_absent", b"g")[1].startswith("1 job is at workers"))
        self.fixture.pass_time(60.0)
        self.assertNotIn("workers_absent", self.found())


class RunTests(DiagnosisTestCase):
    def run_many(self, seconds: float) -> Peer:
        """A worker that has done many jobs, each in so many seconds."""
        worker: Peer = self.fixture.worker(b"f")
        for _ in range(USUAL_FROM):
            job = self.grabbed(worker, self.fixture.submit(None))
            self.fixture.now += seconds
            self.complete(worker, job)
        return worker

    def test_far_longer_than_others(self) -> None:
        worker = self.run_many(3.0)
        worker.client_id = b"mailer-1"
        began = self.fixture.now
        job = self.grabbed(worker, self.fixture.submit(None))
        self.fixture.now += 9
        self.assertNotIn("job_slow", self.found())
        self.fixture.now += 3591
        handle = job.handle.decode()
        words = f"{handle} has run at mailer-1 for 1 h; 99 of 100 take no more than 2 s"
        self.assertEqual(self.line("job_slow"), (WARNING, words))
        facts = self.facts("job_slow")
        self.assertEqual((facts["handle"], facts["worker"], facts["seconds"]), (handle, "mailer-1", 3600.0))
        self.assertEqual(facts["began"], moment(began))
        self.peer.rights = FakeRights((PEERS, b""))
        words = f"{handle} has run for 1 h; 99 of 100 take no more than 2 s"
        self.assertEqual(self.line("job_slow"), (WARNING, words))
        self.assertNotIn("worker", self.facts("job_slow"))

    def test_the_others_are_very_fast(self) -> None:
        worker = self.run_many(0.0)
        self.grabbed(worker, self.fixture.submit(None))
        self.fixture.now += 10
        self.assertIn("99 of 100 take no more than 0.1 ms", self.line("job_slow")[1])

    def test_the_others_take_as_long(self) -> None:
        worker = self.run_many(600.0)
        self.grabbed(worker, self.fixture.submit(None))
        self.fixture.now += 700
        self.assertNotIn("job_slow", self.found())

    def test_of_few_jobs_nobody_knows_what_is_usual(self) -> None:
        worker = self.fixture.worker(b"f")
        self.grabbed(worker, self.fixture.submit(None))
        self.fixture.now += 86400
        self.assertNotIn("job_slow", self.found())

    def test_nor_where_they_are_counted_with_others(self) -> None:
        for number in range(MOST_COUNTED):
            self.broker.operations.create_function(b"f%d" % number)
        self.test_of_few_jobs_nobody_knows_what_is_usual()

    def test_it_has_taken_longer_than_it_may(self) -> None:
        worker = self.fixture.worker(b"f", timeout=60.0)
        job = self.grabbed(worker, self.fixture.submit(None))
        self.fixture.now += 59
        self.assertNotIn("job_overdue", self.found())
        # What it has sent is not read: so the job stays its own.
        worker.unread = True
        self.fixture.pass_time(62)
        words = (
            f"{job.handle.decode()} has run at 192.0.2.1 1 for 2 min, and may take 60 s:"
            " it is taken back when its worker is read again"
        )
        self.assertEqual(self.line("job_overdue"), (WARNING, words))
        self.assertEqual(self.facts("job_overdue")["allowed"], 60.0)

    def test_the_same_with_a_policy(self) -> None:
        self.fixture.set(timeout=60, results="1d")
        worker = self.fixture.worker(b"f")
        self.grabbed(worker, self.fixture.submit(None))
        worker.unread = True
        self.fixture.pass_time(120)
        self.assertIn("and may take 60 s: it is taken back", self.line("job_overdue")[1])
        self.assertEqual(self.facts("job_overdue")["allowed"], 60.0)
