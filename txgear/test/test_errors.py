"""Tests of L{txgear.errors}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear import errors
from txgear.errors import ServerError, server_error

CODES = {
    b"INVALID_MAGIC": errors.InvalidMagic,
    b"INVALID_COMMAND": errors.InvalidCommand,
    b"INVALID_PACKET": errors.InvalidPacket,
    b"INVALID_ARGUMENT": errors.InvalidArgument,
    b"ARGUMENT_TOO_LARGE": errors.ArgumentTooLarge,
    b"QUEUE_ERROR": errors.QueueError,
    b"JOB_NOT_FOUND": errors.JobNotFound,
    b"UNKNOWN_OPTION": errors.UnknownOption,
}


class ServerErrorTests(SynchronousTestCase):
    def test_each_code_has_its_class(self) -> None:
        for code, kind in CODES.items():
            error = server_error(code, b"no")
            self.assertIs(type(error), kind)
            self.assertEqual((error.code, error.text), (code.decode(), "no"))

    def test_each_class_knows_its_code(self) -> None:
        for code, kind in CODES.items():
            self.assertEqual(kind("no").code, code.decode())

    def test_an_unknown_code_is_kept(self) -> None:
        error = server_error(b"TIMEOUT", b"too \xff late")
        self.assertIs(type(error), ServerError)
        self.assertEqual(error.code, "TIMEOUT")
        self.assertEqual(str(error), "TIMEOUT: too \ufffd late")


class TreeTests(SynchronousTestCase):
    def test_there_is_one_root(self) -> None:
        kinds = [
            kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
        ]
        self.assertIn(errors.JobFailed, kinds)
        for kind in kinds:
            self.assertTrue(issubclass(kind, errors.TxgearError), kind)

    def test_a_packet_that_is_too_large_knows_the_figures(self) -> None:
        error = errors.PacketTooLarge(11, 10)
        self.assertIsInstance(error, errors.ProtocolError)
        self.assertEqual((error.declared, error.limit), (11, 10))
        self.assertEqual(str(error), "a packet of 11 bytes is over the limit of 10")

    def test_what_clients_are_told_of_a_store_is_in_our_words(self) -> None:
        """Whatever the database says."""
        for error, told in (
            (errors.StoreUnavailable, "The store takes no jobs at present: the server tries it again"),
            (errors.StoreUnusable, "The store cannot be used at present"),
            (errors.StoreTaken, "The store cannot be used at present"),
            (errors.StoreRefused, "The store does not keep this job: the log of the server says why"),
        ):
            self.assertEqual(
                (error("db1: no route").told, str(error("db1: no route"))), (told, "db1: no route")
            )
        large = errors.ValueTooLarge("11 bytes are over the 10")
        self.assertEqual((large.told, str(large)), ("11 bytes are over the 10",) * 2)

    def test_a_policy_error_knows_its_setting_and_the_tables_around_it(self) -> None:
        for key, inside in (("fail", "retries.fail"), ("", "retries")):
            error = errors.PolicyError(key, "no").within("retries")
            self.assertEqual((error.key, error.problem, str(error)), (inside, "no", f"{inside}: no"))
        self.assertEqual(str(errors.PolicyError("", "no")), "no")

    def test_a_refusal_knows_what_was_asked_for(self) -> None:
        error = errors.AccessDenied("Not allowed: purge f", act="purge", name=b"f")
        self.assertEqual((error.act, error.name), ("purge", b"f"))
        self.assertEqual(str(error), "ACCESS_DENIED: Not allowed: purge f")
        bare = errors.AccessDenied("no", "OTHER")
        self.assertEqual((bare.code, bare.act, bare.name), ("OTHER", "", b""))

    def test_a_missing_ability_is_named(self) -> None:
        error = errors.MissingAbility("jobs.example", "the results of jobs", "UNKNOWN_OPTION: no")
        self.assertEqual(error.ability, "the results of jobs")
        self.assertEqual(str(error), "jobs.example knows nothing of the results of jobs: UNKNOWN_OPTION: no")

    def test_an_error_of_a_job_knows_its_handle(self) -> None:
        for kind in (errors.JobFailed, errors.JobLost, errors.JobTimeout):
            self.assertEqual(kind("gone", b"H:1").handle, b"H:1")

    def test_an_exception_of_a_job_shows_what_the_worker_sent(self) -> None:
        error = errors.JobRaised(b"no \xff disk", None)
        self.assertEqual(error.data, b"no \xff disk")
        self.assertEqual(str(error), "no \ufffd disk")
        self.assertEqual(str(errors.JobRaised(b"", None)), "an exception without a text")
