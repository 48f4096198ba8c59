"""Tests of L{txgear.broker.model}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.limits import Throttle
from txgear.broker.model import Function, Job, Peer
from txgear.broker.states import QUEUED
from txgear.protocol.packets import Pieces
from txgear.test.support.broker import make_job


class JobTests(SynchronousTestCase):
    def test_its_handle_ends_with_its_number(self) -> None:
        job = make_job(number=17)
        self.assertEqual(job.handle, b"H:test:17")
        job.kept_handle = job.handle
        self.assertIs(job.handle, job.kept_handle)

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


class FunctionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.function = Function(b"f")

    def add(self) -> Job:
        job = make_job(self.function)
        job.state = QUEUED
        self.function.lanes.append(job)
        return job

    def test_its_total_is_of_every_state(self) -> None:
        self.add()
        self.function.delayed = dict.fromkeys([make_job(), make_job()])
        self.function.running = 3
        self.function.lanes.paged = 4
        self.assertEqual(self.function.total, 10)

    def test_it_is_unused_without_jobs_workers_and_settings(self) -> None:
        self.assertTrue(self.function.unused)
        paused = Throttle()
        paused.paused = True
        for attribute, used, unused in (
            ("delayed", {make_job(): None}, {}),
            ("kept", 1, 0),
            ("workers", {Peer(1, "-"): None}, {}),
            ("created", True, False),
            ("max_queued", (0, 1, 0), None),
            ("throttle", paused, Throttle()),
        ):
            setattr(self.function, attribute, used)
            self.assertFalse(self.function.unused, attribute)
            setattr(self.function, attribute, unused)
        self.add()
        self.assertFalse(self.function.unused)

    def test_its_jobs_that_no_worker_has(self) -> None:
        queued, delayed = self.add(), make_job(self.function, 2)
        self.function.delayed[delayed] = None
        self.assertEqual(self.function.unassigned(), [queued, delayed])
        self.assertEqual(repr(self.function), "<Function b'f'>")
