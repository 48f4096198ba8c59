"""Tests of L{txgear.broker.history}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.history import (
    MOST_ATTEMPTS,
    MOST_COPIES,
    MOST_EARLIER,
    MOST_TEXT,
    Aside,
    Attempt,
    History,
    as_text,
    check_settings,
    ended_as,
    owned_by,
    owner_of,
)
from txgear.broker.states import DONE
from txgear.broker.tenants import Tenant
from txgear.errors import InvalidArgument
from txgear.policies import CLASSIC, Policies, Retention
from txgear.protocol.constants import WORK_DATA
from txgear.protocol.packets import Pieces
from txgear.protocol.traces import Trace
from txgear.test.support.broker import Told
from txgear.test.support.extras import PROPERTY, given, st

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def attempt(number: int, reason: str = "fail") -> Attempt:
    return Attempt(float(number), number + 0.5, reason, "worker", f"text {number}")


class FollowerTests(SynchronousTestCase):
    def test_they_are_told_if_there_are_any(self) -> None:
        history = History()
        history.tell(WORK_DATA, b"nobody hears it")
        told: list[object] = []
        history.followers = {1: lambda kind, arguments: told.append((kind, arguments))}
        history.tell(WORK_DATA, b"handle", b"data")
        self.assertEqual(told, [(WORK_DATA, (b"handle", b"data"))])


class OwnerTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        """On whose account a job is stands with the rest, or alone."""
        # What other tests have asked for is remembered.
        owned_by.cache_clear()
        web = Tenant("web")
        self.assertEqual(owner_of(owned_by("web")), "web")
        self.assertEqual(History().to_bytes(web), owned_by("web"))
        kept = History({"timeout": 3}).to_bytes(web) or b""
        self.assertEqual((owner_of(kept), History.from_bytes(kept).settings), ("web", {"timeout": 3}))

    def test_there_is_nothing_to_say_but_that_the_result_is_kept(self) -> None:
        """It is as if there were a history without anything."""
        for tenant in (None, Tenant("web")):
            for size in (0, 12_345):
                history = History()
                history.result_size = size
                kept = ended_as(None if tenant is None else tenant.name, size)
                self.assertEqual(kept, history.to_bytes(tenant) or b"{}")
                read = History.from_bytes(kept)
                self.assertEqual((read.data_size, read.result_size, read.complete), (0, size, True))

    def test_nobodys(self) -> None:
        """Even where the word stands in it."""
        for kept in (b"{}", b'{"settings": {"tenant": 1}}', History({"timeout": 3}).to_bytes() or b""):
            self.assertIsNone(owner_of(kept))

    def test_what_is_damaged(self) -> None:
        """It is said to be."""
        for damaged in (b'{"tenant"', b'["tenant"]', b'{"tenant": 7}'):
            self.assertRaises(ValueError, owner_of, damaged)


class CheckSettingsTests(SynchronousTestCase):
    def test_what_a_job_can_have(self) -> None:
        """A function can have more."""
        check_settings({"timeout": 3})
        for wrong in ({"timeout": "soon"}, {"max_queue": 3}):
            self.assertRaises(InvalidArgument, check_settings, wrong)


class CopiesTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        life = History()
        life.copy_of = "H:x:1"
        for number in range(MOST_COPIES + 2):
            life.add_copy(f"H:x:{number}")
        again = History.from_bytes(life.to_bytes() or b"")
        self.assertEqual(again.copy_of, "H:x:1")
        self.assertEqual(again.copies, tuple(f"H:x:{number}" for number in range(2, MOST_COPIES + 2)))

    def test_of_most_jobs_nothing_is_kept(self) -> None:
        self.assertIsNone(History().to_bytes())
        life = History.from_bytes(b"{}")
        self.assertEqual((life.copy_of, life.copies), ("", ()))

    def test_what_is_damaged(self) -> None:
        self.assertRaises(ValueError, History.from_bytes, b'{"copies": 7}')


class TraceTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for trace in (Trace(PARENT), Trace(PARENT, "a=1,b=2")):
            kept = History(trace=trace).to_bytes() or b""
            self.assertEqual(History.from_bytes(kept).trace, trace)

    def test_no_setting(self) -> None:
        """Its function's policy holds for the job, and earlier versions, which pass it over, can read it."""
        life = History(trace=Trace(PARENT))
        self.assertIs(life.policy(CLASSIC, Policies()), CLASSIC)
        self.assertNotIn(b"settings", life.to_bytes() or b"")

    def test_none(self) -> None:
        self.assertIsNone(History.from_bytes(b"{}").trace)

    def test_what_is_damaged(self) -> None:
        for damaged in (b'{"trace": 7}', b'{"trace": ["x"]}', b'{"trace": []}', b'{"trace": [1, 2, 3]}'):
            self.assertRaises(ValueError, History.from_bytes, damaged)


class HistoryTests(SynchronousTestCase):
    def test_attempts_are_counted_by_reason(self) -> None:
        life = History()
        for number, reason in enumerate(("fail", "lost", "fail")):
            life.add_attempt(attempt(number, reason))
        self.assertEqual(life.counts, {"fail": 2, "lost": 1})
        self.assertEqual([each.began for each in life.attempts], [0.0, 1.0, 2.0])

    def test_only_the_newest_are_kept_in_full(self) -> None:
        life = History()
        for number in range(MOST_ATTEMPTS + 3):
            life.add_attempt(attempt(number))
        self.assertEqual(life.counts, {"fail": MOST_ATTEMPTS + 3})
        self.assertEqual((len(life.attempts), life.attempts[0].began), (MOST_ATTEMPTS, 3.0))

    def test_of_what_was_said_before_the_last_time_less_is_kept(self) -> None:
        life = History()
        for text in ("x" * 1000, "y" * MOST_EARLIER, "z" * 1000):
            life.add_attempt(attempt(0)._replace(text=text))
        earlier = "x" * (MOST_EARLIER - 3) + "..."
        self.assertEqual([each.text for each in life.attempts], [earlier, "y" * MOST_EARLIER, "z" * 1000])


class CollectTests(SynchronousTestCase):
    def test_data_are_joined(self) -> None:
        life = History()
        for data in (b"one", Pieces([b"t", b"wo"]), b""):
            life.collect(data, 6)
        self.assertEqual(life.take_data(), b"onetwo")

    def test_too_much_is_nothing(self) -> None:
        life = History()
        for data in (b"one", b"more", b""):
            life.collect(data, 6)
        self.assertEqual((life.data, life.take_data()), ([], None))

    def test_a_part_that_is_missed_is_all_that_is_missed(self) -> None:
        life = History()
        life.collect(b"one", 0)
        life.discard_data()
        life.collect(b"three", 0)
        self.assertEqual((life.data, life.take_data()), ([], None))

    def test_without_a_bound_everything_is_kept(self) -> None:
        life = History()
        life.collect(b"x" * 10**6, 0)
        self.assertEqual(life.take_data(), b"x" * 10**6)

    def test_the_next_attempt_begins_from_nothing(self) -> None:
        life = History()
        life.lease = life.overdue = 5.0
        life.collect(b"one", 0)
        life.discard_data()
        life.restart()
        self.assertEqual((life.lease, life.overdue), (0.0, 0.0))
        life.collect(b"two", 0)
        self.assertEqual(life.take_data(), b"two")


class WatchersTests(SynchronousTestCase):
    def test_each_is_told_once(self) -> None:
        life = History()
        told: list[Told] = []
        life.watchers = {number: lambda *said: told.append(said) for number in range(2)}
        for _ in range(2):
            life.notify(DONE, b"data", b"result", True)
        self.assertEqual(told, [(DONE, b"data", b"result", True)] * 2)


class BytesTests(SynchronousTestCase):
    def there_and_back(self, life: History) -> History:
        kept = life.to_bytes()
        assert kept is not None
        return History.from_bytes(kept)

    def test_of_nothing_nothing_is_kept(self) -> None:
        self.assertIsNone(History().to_bytes())
        life = History.from_bytes(b"{}")
        self.assertEqual((life.settings, life.attempts, life.counts, life.complete), ({}, [], {}, True))
        self.assertEqual((life.data_size, life.result_size), (0, 0))

    def test_all_that_is_kept_comes_back(self) -> None:
        life = History({"retries": 3, "backoff": {"first": "1s"}})
        for number in range(3):
            life.add_attempt(attempt(number, "exception"))
        life.data_size, life.result_size = 4, 5
        back = self.there_and_back(life)
        self.assertEqual(back.settings, life.settings)
        self.assertEqual((back.counts, back.attempts), (life.counts, life.attempts))
        self.assertEqual((back.data_size, back.result_size, back.complete), (4, 5, True))

    def test_settings_are_kept_under_their_first_names(self) -> None:
        """The version before is to read them as well; they mean the same under both."""
        life = History({"retries": 3, "unique_for": "1h"})
        self.assertEqual(life.to_bytes(), b'{"settings":{"retries":3,"once":"1h"}}')
        self.assertEqual(self.there_and_back(life).settings, life.settings)

    def test_a_history_without_counts_comes_back(self) -> None:
        """That of a dead job that was queued again."""
        life = History()
        life.add_attempt(attempt(1))
        life.counts.clear()
        back = self.there_and_back(life)
        self.assertEqual((back.counts, back.attempts), ({}, [attempt(1)]))

    def test_that_a_result_is_not_kept_comes_back(self) -> None:
        life = History()
        life.complete = False
        self.assertFalse(self.there_and_back(life).complete)

    def test_that_it_is_set_aside_comes_back(self) -> None:
        life = History()
        life.aside = Aside("r\xe4", 1000.25, "ops at 192.0.2.1")
        self.assertEqual(self.there_and_back(life).aside, life.aside)
        self.assertIsNone(self.there_and_back(History({"retries": 1})).aside)

    def test_settings_of_any_text_come_back(self) -> None:
        """A client's JSON may have half a character."""
        self.assertEqual(
            self.there_and_back(History({"backoff": "\ud800\xe9"})).settings, {"backoff": "\ud800\xe9"}
        )

    @PROPERTY
    @given(st.text(), st.text())
    def test_any_text(self, worker: str, text: str) -> None:
        life = History()
        life.add_attempt(Attempt(0.1, 1 / 3, "fail", worker, text))
        self.assertEqual(self.there_and_back(life).attempts, life.attempts)

    def test_what_is_damaged_is_said_to_be(self) -> None:
        for kept in (
            b"",
            b"{",
            b"\xff",
            b"[]",
            b"7",
            b'{"counts":[]}',
            b'{"counts":{"fail":null}}',
            b'{"attempts":[[1]]}',
            b'{"attempts":[7]}',
            b'{"result":[1]}',
            b'{"result":7}',
            b'{"review":["r"]}',
            b'{"review":null}',
            b'{"review":["r","x","by"]}',
        ):
            with self.assertRaises(ValueError, msg=kept):
                History.from_bytes(kept)


class WordsTests(SynchronousTestCase):
    def test_bytes_become_text(self) -> None:
        self.assertEqual(as_text(b"caf\xc3\xa9"), "caf\xe9")
        self.assertEqual(as_text(Pieces([b"on", b"e\xff"])), "one\\xff")

    def test_of_bounded_length(self) -> None:
        self.assertEqual(as_text(b"x" * MOST_TEXT), "x" * MOST_TEXT)
        self.assertEqual(as_text(b"x" * (MOST_TEXT + 1)), "x" * (MOST_TEXT - 3) + "...")
        self.assertEqual(as_text("\U0001f600".encode() * MOST_TEXT), "\U0001f600" * MOST_TEXT)
        self.assertEqual(len(as_text(b"\xff" * 10**6)), MOST_TEXT)


class PolicyTests(SynchronousTestCase):
    """What holds for a job; it is asked at each packet of it."""

    def test_without_settings_of_its_own_it_is_its_functions(self) -> None:
        base = CLASSIC.with_settings({"retries": 1})
        self.assertIs(History().policy(base, Policies()), base)

    def test_its_own_go_before_those(self) -> None:
        base = CLASSIC.with_settings({"retries": 1, "timeout": 5})
        found = History({"timeout": 7}).policy(base, Policies())
        self.assertEqual((found.retries, found.timeout), (base.retries, 7.0))

    def test_it_is_found_out_once_for_each_state_of_what_is_set(self) -> None:
        history, policies = History({"results": 600}), Policies((), Retention(60.0))
        found = history.policy(CLASSIC, policies)
        self.assertIs(history.policy(CLASSIC, policies), found)
        self.assertEqual(found.results and found.results.keep, 60.0)
        other = CLASSIC.with_settings({"timeout": 5})
        self.assertEqual(history.policy(other, policies).timeout, 5.0)
        higher = history.policy(CLASSIC, Policies((), Retention(90.0)))
        self.assertEqual(higher.results and higher.results.keep, 90.0)
