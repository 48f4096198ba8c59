"""
What workers say of the jobs that they run: how far they are, and how they end.

It is passed on to the clients that wait, kept for those who ask later, and it counts as a sign of life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txgear.broker.history import History
from txgear.broker.states import DONE
from txgear.errors import JobNotFound
from txgear.policies import EXCEPTION, FAIL
from txgear.protocol.constants import WORK_COMPLETE, WORK_DATA, WORK_STATUS, WORK_WARNING

if TYPE_CHECKING:
    from txgear.broker.functions import Functions
    from txgear.broker.life.lifecycle import Lifecycle
    from txgear.broker.model import Job, Peer
    from txgear.broker.ports import Outbox
    from txgear.protocol.packets import Data


class WorkReports:
    """For each packet that tells of a job, what follows from it."""

    __slots__ = ("_end", "_functions", "_lifecycle", "_send")

    def __init__(self, functions: Functions, lifecycle: Lifecycle, outbox: Outbox) -> None:
        self._functions = functions
        self._lifecycle = lifecycle
        # Used for each job: found at once.
        self._send = outbox.send
        self._end = lifecycle.end

    @staticmethod
    def _job_of(worker: Peer, handle: bytes, complaint: str) -> Job:
        job = worker.running.get(handle)
        if job is None:
            raise JobNotFound(complaint)
        return job

    def beat(self, worker: Peer, handle: bytes, now: float) -> None:
        """
        The worker is still at it.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        self._heard(self._job_of(worker, handle, "Job does not exist on server"), now)

    @staticmethod
    def _heard(job: Job, now: float) -> None:
        if job.history is not None:
            job.history.beat = now

    def work_data(self, worker: Peer, handle: bytes, data: Data, now: float) -> None:
        """
        Pass a part of the result on, and keep it where results are kept.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._job_of(worker, handle, "Job does not exist on server")
        self._lifecycle.send_clients(job, WORK_DATA, handle, data)
        self._heard(job, now)
        if (history := job.history) is None:
            # Made with the first part, also where results are not kept: should they be later, it is missing.
            history = job.history = History()
        results = self._functions.policy_of(job).results if job.background else None
        if results is None:
            history.discard_data()
        else:
            history.collect(data, results.bytes)

    def work_warning(self, worker: Peer, handle: bytes, data: Data, now: float) -> None:
        """
        Pass a warning on.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._job_of(worker, handle, "Job does not exist on server")
        self._lifecycle.send_clients(job, WORK_WARNING, handle, data)
        self._heard(job, now)

    def work_status(
        self,
        worker: Peer,
        handle: bytes,
        numerator: bytes,
        denominator: bytes,
        progress: tuple[int, int],
        now: float,
    ) -> None:
        """
        Keep the progress for those who ask, and pass it on as it came.

        @param progress: both as numbers.
        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._job_of(worker, handle, "Job given in work result not found")
        job.progress = progress
        self._lifecycle.send_clients(job, WORK_STATUS, handle, numerator, denominator)
        self._heard(job, now)

    def work_complete(self, worker: Peer, handle: bytes, result: Data, now: float) -> None:
        """
        The job is done.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = worker.running.get(handle)
        if job is None:
            raise JobNotFound("Job given in work result not found")
        for client in job.clients:
            self._send(client, WORK_COMPLETE, handle, result)
        if job.history is None and job.function.policy is None:
            self._end(job, DONE, now)
        else:
            self._lifecycle.done(job, now, result)

    def work_fail(self, worker: Peer, handle: bytes, now: float) -> None:
        """
        The job has failed.

        For the job that the worker has just ended with an exception it is ignored: Perl's worker sends
        both packets, and an ERROR would end it.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        if handle == worker.raised:
            worker.raised = None
            return
        job = self._job_of(worker, handle, "Job given in work result not found")
        self._lifecycle.attempt_ended(job, FAIL, now)

    def work_exception(self, worker: Peer, handle: bytes, data: Data, now: float) -> None:
        """
        The job has failed, with a reason: clients that asked for
        exceptions hear it, the others hear that it failed.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._job_of(worker, handle, "An exception was received for a job that does not exist")
        self._lifecycle.attempt_ended(job, EXCEPTION, now, data)
        worker.raised = handle

    def work_retry(self, worker: Peer, handle: bytes, seconds: float, data: Data, now: float) -> None:
        """
        The attempt has failed, with a reason, and the job had better be tried again after so many seconds: so
        it is, where its policy allows one more at all. Otherwise it is as if the worker had sent an
        exception.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._job_of(worker, handle, "An exception was received for a job that does not exist")
        self._lifecycle.attempt_ended(job, EXCEPTION, now, data, seconds)
        worker.raised = handle
