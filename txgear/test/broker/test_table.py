"""Tests of L{txgear.broker.table}."""

from __future__ import annotations

from sys import getsizeof

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.history import History
from txgear.broker.model import AskedReply, Function, Job, Peer, Reply
from txgear.broker.records import LAST_NUMBER
from txgear.broker.states import DONE
from txgear.broker.table import LONG, MAX_PREFIX, JobTable, check_prefix, job_of_handle, naming_of
from txgear.broker.tenants import Tenant
from txgear.broker.uniques import APART
from txgear.errors import ConfigurationError
from txgear.protocol.constants import MAX_HANDLE
from txgear.test.support.broker import make_job


class PrefixTests(SynchronousTestCase):
    def test_it_has_room_for_the_longest_number(self) -> None:
        longest = b"x" * MAX_PREFIX
        self.assertEqual(check_prefix(longest), longest)
        self.assertEqual(len(naming_of(longest) % LAST_NUMBER), MAX_HANDLE)

    def test_what_is_none(self) -> None:
        for prefix in (b"", b"x" * (MAX_PREFIX + 1)):
            with self.assertRaisesRegex(ConfigurationError, f"has 1 to {MAX_PREFIX} bytes"):
                check_prefix(prefix)
        for prefix in (b"H: x", b"H:\n", b"H:\0", b"H:\x7f"):
            with self.assertRaisesRegex(ConfigurationError, "no spaces and no control characters"):
                check_prefix(prefix)

    def test_a_percent_sign_is_one(self) -> None:
        self.assertEqual(naming_of(b"H:50%d") % 7, b"H:50%d:7")


class HandleTests(SynchronousTestCase):
    def test_only_its_very_handle(self) -> None:
        """There are other ways to write a number."""
        job = make_job(number=12)
        jobs = {12: job}
        for handle in (b"H:test:12", b"127.0.0.1:4730//H:test:12"):
            self.assertIs(job_of_handle(jobs, handle), job)
        others = (
            b"H:test:012",
            b"H:test:+12",
            b"H:test:13",
            b"H:other:12",
            b"H:test:",
            b"",
            b"12",
            b"H:test:1\xb2",
        )
        for handle in (*others, b"H:test:" + b"1" * MAX_HANDLE):
            self.assertIsNone(job_of_handle(jobs, handle))


class TableTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = JobTable(b"H:test")
        self.function = Function(b"f")

    def add(self, number: int, unique: bytes = b"", function: Function | None = None) -> Job:
        job = make_job(function or self.function, number, unique=unique, workload=b"four")
        self.table.add(job)
        return job

    def tearDown(self) -> None:
        self.table.check()


class JobsTests(TableTestCase):
    def test_a_job_is_found_by_its_names(self) -> None:
        job = self.add(1, b"u")
        self.assertEqual(self.table.jobs, {1: job})
        self.assertIs(self.table.by_handle(b"H:test:1"), job)
        self.assertIs(self.table.by_unique(b"u"), job)
        self.assertIsNone(self.table.by_handle(b"H:test:2"))
        self.assertIsNone(self.table.by_unique(b"v"))

    def test_it_counts_for_its_tenant(self) -> None:
        """As long as it is here."""
        tenant = Tenant("web")
        job = make_job(self.function, 1, workload=b"four")
        job.tenant = tenant
        self.table.add(job)
        self.add(2)
        self.assertEqual((tenant.queued, tenant.bytes), (1, 4))
        self.table.check()
        self.table.remove(job)
        self.assertEqual((tenant.queued, tenant.bytes), (0, 0))

    def test_without_a_unique_it_has_none(self) -> None:
        self.add(1)
        self.assertIsNone(self.table.by_unique(b""))

    def test_the_bytes_are_its_functions(self) -> None:
        job = self.add(1)
        self.add(2)
        self.assertEqual(self.function.bytes, 8)
        self.table.remove(job)
        self.assertEqual(self.function.bytes, 4)

    def test_one_with_another_workload(self) -> None:
        """It is counted by its size, and may have another name."""
        job, other = self.add(1, b"u"), self.add(2)
        job.tenant = tenant = Tenant("web")
        tenant.queued, tenant.bytes = 1, 4
        self.table.correct(job, b"u", 7)
        self.table.correct(other, b"w", 1)
        self.assertEqual((self.function.bytes, tenant.bytes), (8, 7))
        self.table.correct(job, b"v", 7)
        self.assertEqual([self.table.by_unique(name) for name in (b"u", b"v", b"w")], [None, job, other])
        self.table.correct(job, None, 7)
        self.assertIsNone(self.table.by_unique(b"v"))

    def test_what_is_removed_is_found_no_more(self) -> None:
        job, client = self.add(1, b"u"), Peer(1, "-")
        job.join(client)
        self.table.remove(job)
        self.assertEqual((self.table.jobs, list(self.table.uniques)), ({}, []))
        self.assertEqual((client.attached, tuple(job.clients)), ({}, ()))

    def test_one_that_is_kept_is_found_by_its_unique_as_before(self) -> None:
        """As one that has ended: others do not join it."""
        job = self.add(1, b"u")
        job.state = DONE
        self.table.remove(job, kept=True)
        self.assertEqual((self.table.jobs, self.table.by_unique(b"u")), ({}, None))
        self.assertIs(self.table.uniques.find_ended(self.function, b"u"), job)
        other = self.add(2, b"u")
        self.assertIs(self.table.by_unique(b"u"), other)
        self.assertIs(self.table.uniques.find_ended(self.function, b"u"), job)
        self.table.check()
        self.table.remove(other)
        self.assertIsNone(self.table.by_unique(b"u"))
        self.assertIs(self.table.uniques.find_ended(self.function, b"u"), job)

    def test_one_that_is_moved_is_one_of_the_other_function(self) -> None:
        """It has its unique there, and not here, where one may have ended."""
        function, other = self.function, Function(b"g")
        ended, named, nameless = self.add(1, b"u"), self.add(2, b"v"), self.add(3)
        ended.state = DONE
        self.table.remove(ended, kept=True)
        again = self.add(4, b"u")
        for job in (again, named, nameless):
            size = function.bytes, other.bytes
            self.table.move(job, other)
            self.assertIs(job.function, other)
            self.assertEqual((function.bytes, other.bytes), (size[0] - job.size, size[1] + job.size))
            self.table.check()
            self.table.uniques.check()
        uniques = self.table.uniques
        self.assertEqual([uniques.find(each, b"u") for each in (function, other)], [None, again])
        self.assertEqual([uniques.find_ended(each, b"u") for each in (function, other)], [ended, None])

    def test_what_was_long_takes_no_room_when_it_is_empty(self) -> None:
        empty = getsizeof(self.table.jobs), getsizeof(self.table.uniques.jobs)
        jobs = [make_job(number=number, unique=b"u%d" % number) for number in range(1, 1001)]
        for job in jobs:
            self.table.add(job)
        for job in jobs:
            self.table.remove(job)
        self.assertEqual((getsizeof(self.table.jobs), getsizeof(self.table.uniques.jobs)), empty)

    def test_what_was_long_takes_no_room_for_one_that_is_kept(self) -> None:
        """It is found by its unique for as long as that; others come and go meanwhile."""
        kept = self.add(1, b"kept")
        jobs = [self.add(number, b"u%d" % number) for number in range(2, 1001)]
        kept.state = DONE
        self.table.remove(kept, kept=True)
        for job in jobs:
            self.table.remove(job)
        self.assertEqual(getsizeof(self.table.jobs), getsizeof({}))
        self.assertLess(getsizeof(self.table.uniques.jobs), 500)
        self.assertIs(self.table.uniques.newest_ended(b"kept"), kept)

    def test_the_newest_of_those_that_share_a_unique(self) -> None:
        first, second = self.add(1, b"u"), self.add(2, b"u", Function(b"g"))
        self.assertIs(self.table.by_unique(b"u"), second)
        self.table.remove(second)
        self.assertIs(self.table.by_unique(b"u"), first)

    def test_the_newest_of_those_that_are_wanted(self) -> None:
        first = self.add(1, b"u")
        self.add(2, b"u", Function(b"g"))
        self.assertIs(self.table.by_unique(b"u", lambda job: job is first), first)

    def test_one_that_comes_again_yields_its_unique(self) -> None:
        """By now there is another of its name: both are to be done."""
        first, again = self.add(1, b"u"), make_job(self.function, 2, unique=b"u")
        self.table.add_again(again)
        self.assertEqual((again.key, self.table.by_unique(b"u")), (None, first))
        other = make_job(self.function, 3, unique=b"v")
        self.table.add_again(other)
        self.assertIs(self.table.by_unique(b"v"), other)
        self.table.add_again(make_job(self.function, 4))
        self.assertEqual(len(self.table.jobs), 4)


class HistoryTests(TableTestCase):
    """How many jobs in memory have a history."""

    def setUp(self) -> None:
        super().setUp()
        self.job = make_job(self.function, 1, unique=b"u")
        self.job.history = History()
        self.table.add(self.job)
        self.add(2)

    def test_while_it_is_in_memory(self) -> None:
        for again in (self.table.take_in, lambda job: self.table.take_all_in([job])):
            self.table.let_go((self.job,))
            self.assertEqual(self.table.histories, 0)
            again(self.job)
            self.assertEqual(self.table.histories, 1)
        self.table.remove(self.job)
        self.assertEqual(self.table.histories, 0)

    def test_once(self) -> None:
        assert self.job.history is not None
        self.table.count_history(self.job.history)
        self.assertEqual(self.table.histories, 1)

    def test_one_that_nobody_has_counted(self) -> None:
        other = self.add(3)
        other.history = History()
        self.table.remove(other)
        self.assertEqual(self.table.histories, 1)


class RowTests(TableTestCase):
    """Jobs that are in memory no more, and again."""

    def let_go(self, number: int, unique: bytes = b"u") -> Job:
        job = self.add(number, unique)
        self.table.let_go((job,))
        self.assertNotIn(number, self.table.jobs)
        return job

    def test_it_is_counted_as_before(self) -> None:
        job, other = self.let_go(1), self.let_go(2, b"")
        self.assertEqual((len(self.table), self.table.rows, self.function.bytes), (2, 2, 8))
        self.assertIsNone(self.table.by_unique(b"u"))
        for each in (job, other):
            self.assertIsNone(self.table.take_in(each))
        self.assertEqual((len(self.table), self.table.rows), (2, 0))
        self.assertIs(self.table.by_unique(b"u"), job)

    def test_a_name_that_functions_share(self) -> None:
        other = self.add(2, b"u", Function(b"other"))
        self.let_go(1)
        self.assertIs(self.table.by_unique(b"u"), other)

    def test_the_tables_of_very_many_grow_in_different_turns(self) -> None:
        """Nobody is served meanwhile; each of them copies all that it has."""
        for number in range(1, LONG + 2):
            self.add(number, b"%d" % number)
        tables = self.table.jobs, self.table.uniques.jobs
        self.let_go(LONG + 2, b"apart")
        sizes, grown = [*map(getsizeof, tables)], list[list[int]]()
        for number in range(LONG + 3, 3 * LONG):
            job = self.add(number, b"%d" % number)
            for index, table in enumerate(tables):
                if getsizeof(table) != sizes[index]:
                    sizes[index] = getsizeof(table)
                    grown.append([number, index])
            self.table.let_go((job,))
        (first, names), (last, numbers) = grown
        self.assertEqual((names, numbers), (1, 0))
        self.assertGreater(last - first, len(APART) / 2)
        self.assertEqual(len(list(self.table.uniques)), LONG + 1)
        self.table.remove(self.table.jobs[1])
        self.assertIsNone(self.table.by_unique(b"1"))

    def test_those_of_very_many_that_come_again_do_as_well(self) -> None:
        """The dead, when all of them are queued at once."""
        tables = self.table.jobs, self.table.uniques.jobs
        for number in range(1, LONG + 2):
            self.table.add_again(make_job(self.function, number, unique=b"%d" % number))
        sizes, grown = [*map(getsizeof, tables)], list[list[int]]()
        for number in range(LONG + 2, 2 * LONG):
            self.table.add_again(make_job(self.function, number, unique=b"%d" % number))
            for index, table in enumerate(tables):
                if getsizeof(table) != sizes[index]:
                    sizes[index] = getsizeof(table)
                    grown.append([number, index])
        (first, names), (last, numbers) = grown
        self.assertEqual((names, numbers), (1, 0))
        self.assertGreater(last - first, len(APART) / 2)

    def test_another_has_its_name_by_now(self) -> None:
        """Both are to be done; that one may be on its way to the store."""
        for reply in (None, Reply(0)):
            self.setUp()
            job, other = self.let_go(1), self.add(2, b"u")
            other.reply = reply
            self.assertIsNone(self.table.take_in(job))
            self.assertEqual((job.key, self.table.by_unique(b"u")), (None, other))
            self.table.check()

    def test_another_may_be_the_same(self) -> None:
        """Of that the store was asked."""
        job, other = self.let_go(1), self.add(2, b"u")
        other.reply = AskedReply(0)
        self.assertIs(self.table.take_in(job), other)
        self.assertEqual((other.key, self.table.by_unique(b"u")), (None, job))

    def test_several(self) -> None:
        job, free, other = self.let_go(1), self.let_go(2, b"v"), self.add(3, b"u")
        other.reply = AskedReply(0)
        self.assertEqual(self.table.take_all_in([job, free]), [(other, job)])
        self.assertEqual((self.table.by_unique(b"u"), self.table.by_unique(b"v")), (job, free))
        self.assertEqual(self.table.rows, 0)

    def test_several_whose_names_others_have_or_nobody(self) -> None:
        job, nameless, other = self.let_go(1), self.let_go(2, b""), self.add(3, b"u")
        self.assertEqual(self.table.take_all_in([job, nameless]), [])
        self.assertEqual((job.key, self.table.by_unique(b"u")), (None, other))
        self.assertEqual((self.table.rows, sorted(self.table.jobs)), (0, [1, 2, 3]))


class NumbersTests(TableTestCase):
    def test_at_first_all_are_free(self) -> None:
        self.assertEqual((self.table.next_number, self.table.numbers_left), (1, LAST_NUMBER))

    def test_those_that_are_reserved(self) -> None:
        self.table.reserve(1000, 10)
        self.assertEqual((self.table.next_number, self.table.numbers_left), (1000, 10))

    def test_more_of_them_before_the_last_is_used(self) -> None:
        self.table.reserve(1000, 10)
        self.table.last_number = 1004
        self.table.reserve(1010, 10)
        self.assertEqual((self.table.next_number, self.table.numbers_left), (1005, 15))

    def test_a_gap_is_left_out(self) -> None:
        """Another server has had them."""
        self.table.reserve(1000, 10)
        self.table.reserve(2000, 10)
        self.assertEqual((self.table.next_number, self.table.numbers_left), (2000, 10))

    def test_a_place_behind_the_others_is_a_number_that_no_job_gets(self) -> None:
        self.table.reserve(5, 10)
        job = self.add(2)
        self.table.put_last(job)
        self.assertEqual((job.place, self.table.next_number), (5, 6))

    def test_it_is_found_by_its_place(self) -> None:
        """As long as it is in memory, and wherever it comes from."""
        self.table.reserve(2, 10)
        table, job = self.table, self.add(1)
        self.assertEqual(table.moved, {})
        for place in (2, 3):
            table.put_last(job)
            self.assertEqual(table.moved, {place: job})
        table.let_go((job,))
        self.assertEqual(table.moved, {})
        table.take_in(job)
        self.assertEqual(table.moved, {3: job})
        table.let_go((job,))
        table.take_all_in([job])
        self.assertEqual(table.moved, {3: job})
        table.remove(job)
        self.assertEqual(table.moved, {})
        # Of one that is over, and is to be done again.
        table.put_last(job)
        self.assertEqual(table.moved, {})
        table.add_again(job)
        self.assertEqual(table.moved, {4: job})


class CheckTests(TableTestCase):
    def assert_found(self) -> None:
        """The check finds that something is wrong."""
        self.assertRaises(AssertionError, self.table.check)

    def test_a_job_of_another_number(self) -> None:
        job = self.table.jobs[2] = self.add(1)
        self.assert_found()
        del self.table.jobs[2]
        job.state = DONE
        self.assert_found()
        self.table.remove(job)

    def test_bytes_that_are_not_counted(self) -> None:
        self.add(1)
        self.function.bytes += 1
        self.assert_found()
        self.function.bytes -= 1

    def test_histories_that_are_not_counted(self) -> None:
        job = self.add(1)
        job.history = History()
        job.history.counted = True
        self.assert_found()
        job.history.counted = False

    def test_a_unique_of_nobody(self) -> None:
        stray = make_job(self.function, 9, unique=b"u")
        self.table.uniques.add(b"u", stray)
        self.assert_found()
        self.table.uniques.remove(b"u", stray)

    def test_a_client_that_does_not_know_what_it_waits_for(self) -> None:
        job, client = self.add(1), Peer(1, "-")
        job.join(client)
        self.table.check()
        client.attached.clear()
        self.assert_found()
        client.attached[job] = None


class ChangeTests(TableTestCase):
    def test_only_what_the_server_before_has_left(self) -> None:
        """Nobody has got any other of somebody else."""
        self.table.restored = 2
        for number in (2, 3):
            self.table.note_change(make_job(number=number))
        self.assertEqual(self.table.changed, {2})
