"""Tests of L{txgear.broker.jobs}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker import jobs
from txgear.broker.jobs import DEAD, ENDINGS, MOVES, NEW, PAGED, QUEUED, RUNNING, STORING, WAITING
from txgear.broker.sleepers import Peer
from txgear.protocol.packets import Pieces
from txgear.test.support.broker import make_job

TABLES = {
    STORING: jobs.TO_STORING,
    WAITING: jobs.TO_WAITING,
    QUEUED: jobs.TO_QUEUED,
    PAGED: jobs.TO_PAGED,
    RUNNING: jobs.TO_RUNNING,
    **ENDINGS,
}


class MovesTests(SynchronousTestCase):
    def test_each_table_takes_the_moves_that_are_legal_and_no_other(self) -> None:
        for state, following in MOVES.items():
            for target, table in TABLES.items():
                if target in following:
                    self.assertEqual(table[state], target)
                else:
                    self.assertNotIn(state, table)

    def test_every_state_but_the_first_can_be_entered_and_the_last_ones_are_final(self) -> None:
        self.assertEqual({target for following in MOVES.values() for target in following}, set(TABLES))
        self.assertEqual(
            [state for state, following in MOVES.items() if not following], [*ENDINGS.keys() - {DEAD}]
        )
        self.assertEqual(MOVES[DEAD], (WAITING, QUEUED, PAGED))
        self.assertEqual(set(MOVES), {NEW, *TABLES})

    def test_only_a_queued_job_can_be_handed_out(self) -> None:
        self.assertEqual(jobs.TO_RUNNING, {QUEUED: RUNNING})

    def test_only_a_new_job_is_on_its_way_to_the_disk(self) -> None:
        self.assertEqual(jobs.TO_STORING, {NEW: STORING})


class JobTests(SynchronousTestCase):
    def test_its_handle_ends_with_its_number(self) -> None:
        job = make_job(number=17)
        self.assertEqual(job.handle, b"H:test:17")
        for kept in (True, False):
            self.assertEqual(job.keep_handle(kept), b"H:test:17")
            self.assertEqual(job.handle, b"H:test:17")

    def test_its_place_is_its_number_at_first(self) -> None:
        self.assertEqual(make_job(number=17).place, 17)

    def test_it_is_loaded_while_its_workload_is_in_memory_or_empty(self) -> None:
        for workload in (b"four", Pieces([b"fo", b"ur"])):
            job = make_job(workload=workload)
            self.assertEqual((job.size, job.loaded), (4, True))
            job.workload = b""
            self.assertEqual((job.size, job.loaded), (4, False))
        self.assertTrue(make_job().loaded)

    def test_it_is_wanted_while_anybody_would_miss_it(self) -> None:
        job = make_job(background=False)
        self.assertFalse(job.wanted)
        job.clients = (Peer(1, "-"),)
        self.assertTrue(job.wanted)
        self.assertTrue(make_job(background=True).wanted)

    def test_it_shows_its_state(self) -> None:
        self.assertEqual(repr(make_job()), "<Job b'H:test:1' of b'f', new>")
        self.assertEqual(len(jobs.STATE_NAMES), len(MOVES))
