"""Tests of L{txgear.web.problems}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import AccessDenied, ArgumentTooLarge, JobNotFound, PolicyError, QueueError, ServerError
from txgear.web.answers import Problem
from txgear.web.problems import details, problem_of


class ProblemTests(SynchronousTestCase):
    def test_errors(self) -> None:
        for error, status, code in (
            (AccessDenied("no"), 403, "access_denied"),
            (ArgumentTooLarge("no"), 400, "argument_too_large"),
            (JobNotFound("no"), 404, "job_not_found"),
            (QueueError("no"), 503, "queue_error"),
            (ServerError("no", "UNKNOWN_FUNCTION"), 404, "unknown_function"),
            (ServerError("no", "NOT_DEAD"), 409, "not_dead"),
        ):
            problem = problem_of(error)
            assert problem is not None
            self.assertEqual((problem.status, problem.code, problem.detail), (status, code, "no"))
            self.assertEqual("Retry-After" in problem.headers, status == 503)

    def test_settings(self) -> None:
        problem = problem_of(PolicyError("retry.delay", "a time is wanted"))
        assert problem is not None
        self.assertEqual((problem.status, problem.extra), (422, {"setting": "retry.delay"}))

    def test_defects(self) -> None:
        for error in (KeyError("x"), ValueError("x"), AssertionError()):
            self.assertIsNone(problem_of(error))

    def test_details(self) -> None:
        problem = Problem(421, "elsewhere", "not here", {"host": "x", "status": 7})
        self.assertIs(problem_of(problem), problem)
        self.assertEqual(
            details(problem, "urn:1"),
            {
                "type": "urn:txgear:problem:elsewhere",
                "title": "Misdirected Request",
                "status": 421,
                "detail": "not here",
                "instance": "urn:1",
                "host": "x",
            },
        )
