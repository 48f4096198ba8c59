"""
What a broker does where policies are in force: L{txgear.test.support.model} with
the rest of a job's life. Settings are read as they stand in an operator's file,
and times are sums: nothing here knows how the broker keeps them.

L{txgear.test.broker.test_broker_machine_life} holds the broker against it.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from fnmatch import fnmatchcase
from math import inf
from typing import Any

from txgear.broker.model import Peer
from txgear.broker.records import JobRecord
from txgear.broker.states import (
    CANCELLED,
    DEAD,
    DELAYED,
    DONE,
    EXPIRED,
    FAILED,
    PAGED,
    QUEUED,
    RUNNING,
    STORING,
)
from txgear.errors import QueueError, ServerError
from txgear.protocol.constants import (
    JOB_WITHDRAWN,
    PRIORITIES,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.test.support.model import BrokerModel
from txgear.test.support.model_jobs import (
    DEFAULTS,
    BulkTask,
    End,
    ModelJob,
    PolicyJob,
    PolicyRules,
    Settings,
    renamed,
)


class PolicyModel(BrokerModel):
    """@ivar past: those that have ended and are still known, in the order of their ends."""

    def __init__(
        self, rules: PolicyRules, clock: Callable[[], float], retries: int, durable: bool, budget: int
    ) -> None:
        super().__init__(retries, durable, budget)
        self.rules = rules
        self.clock = clock
        self.jobs: list[PolicyJob] = []  # type: ignore[assignment]
        self.past: list[PolicyJob] = []
        self.paused: set[bytes] = set()
        self.chores: list[BulkTask] = []
        self.full: dict[bytes, float] = {}
        self.seen: list[End] = []
        self.shelvings = 0

    @property
    def now(self) -> float:
        return self.clock()

    # What is set

    def policy(self, function: bytes) -> Settings | None:
        """Those of the first pattern that matches."""
        name = function.decode()
        return next((settings for pattern, settings in self.rules if fnmatchcase(name, pattern)), None)

    def set_for(self, function: bytes, key: str) -> Any:
        return (self.policy(function) or {}).get(key, DEFAULTS.get(key, 0))

    def setting(self, known: PolicyJob, key: str) -> Any:
        """A job's own settings are before those of its function."""
        return known.settings[key] if key in known.settings else self.set_for(known.function, key)

    def keeping(self, value: Any) -> dict[str, float] | None:
        return {"keep": value} if isinstance(value, (int, float)) else value

    def reload(self, rules: PolicyRules) -> None:
        """Tokens that are missing stay so, and come at the new rate."""
        rates = {function: self.rate(function) for function in self.full}
        self.rules = rules
        for function, before in rates.items():
            after = self.rate(function)
            if before is None or after is None:
                del self.full[function]
            elif before != after:
                missing = max(self.full[function] - self.now, 0.0) / before[0]
                self.full[function] = self.now + min(missing, after[1]) * after[0]

    # Functions

    def rate(self, function: bytes) -> tuple[float, int] | None:
        """Seconds for a token, and how many there are at the most."""
        rate = self.set_for(function, "rate")
        if not rate:
            return None
        jobs, burst = (rate, 1) if isinstance(rate, str) else (rate["jobs"], rate["burst"])
        return 1.0 / int(jobs.split("/")[0]), burst

    def available(self, function: bytes) -> float:
        """How many jobs of it may start now."""
        if function in self.paused or self.purges(function):
            return 0
        available = inf
        if concurrency := self.set_for(function, "concurrency"):
            running = sum(known.function == function and known.state == RUNNING for known in self.jobs)
            available = max(concurrency - running, 0)
        if (rate := self.rate(function)) is not None:
            interval, burst = rate
            missing = max(self.full.get(function, 0.0) - self.now, 0.0) / interval
            available = min(available, max(int(burst - missing), 0))
        return available

    def purges(self, function: bytes) -> list[BulkTask]:
        return [chore for chore in self.chores if chore.holds and chore.function == function]

    def join(self, known: ModelJob, client: Peer, background: bool) -> None:
        super().join(known, client, background)
        for chore in self.purges(known.function):
            chore.spared.append(known)

    def throttled(self, function: bytes) -> bool:
        return not self.available(function)

    def opens(self, function: bytes) -> float:
        """When the next token comes."""
        rate = self.rate(function)
        if rate is None or function in self.paused:
            return inf
        opens = self.full.get(function, 0.0) - (rate[1] - 1) * rate[0]
        return opens if opens > self.now else inf

    def functions(self) -> set[bytes]:
        owing = {function for function, full in self.full.items() if full > self.now}
        return super().functions() | self.paused | owing | {known.function for known in self.past}

    def refuses(self, function: bytes, priority: int, size: int) -> bool:
        jobs, most = self.set_for(function, "max_queue"), self.set_for(function, "max_bytes")
        too_many = 0 < jobs <= self.total(function)
        too_much = 0 < most < self.bytes_of(function) + size
        return too_many or too_much or super().refuses(function, priority, size)

    def bytes_of(self, function: bytes) -> int:
        return sum(known.size for known in self.jobs if known.function == function)

    def turn_over(self, remembered: Container[bytes]) -> None:
        """
        After each step: whatever may be handed out is in a ring, and nothing else is.

        @param remembered: functions that the broker has not forgotten.
        """
        for chore in self.chores:
            chore.holds = chore.holds and chore.function in remembered
        names = {known.function for known in self.jobs}
        for priority, ring in zip(PRIORITIES, self.rings, strict=True):
            open_ones = {name for name in names if self.has_open(name, priority) and not self.throttled(name)}
            ring[:] = [name for name in ring if name in open_ones]
            ring += sorted(open_ones.difference(ring))

    def has_open(self, function: bytes, priority: int) -> bool:
        """Whether there is anything to be handed out, be it after it was read."""
        return bool(self.lanes.get((function, priority)))

    def drop_function(self, name: bytes) -> None:
        super().drop_function(name)
        self.paused.discard(name)
        self.full.pop(name, None)

    def in_use(self, name: bytes) -> bool:
        return super().in_use(name) or any(known.function == name for known in self.past)

    # Jobs come and begin

    def still_done(self, key: tuple[bytes, bytes, bytes] | None) -> PolicyJob | None:
        """The job that has this unique for a while, although it is done."""
        done = [known for known in self.past if known.key == key and known.state == DONE]
        return done[-1] if key is not None and done and self.takes_unique(done[-1]) else None

    def named(self, key: tuple[bytes, bytes, bytes]) -> PolicyJob | None:
        """The job that had this unique last."""
        return next((known for known in reversed(self.past) if known.key == key), None)

    def takes_unique(self, known: PolicyJob) -> bool:
        once = self.setting(known, "unique_for")
        return known.state == DONE and known.key is not None and known.ended + once > self.now

    def add(self, known: ModelJob, due: float, delay: float = 0.0) -> None:
        assert isinstance(known, PolicyJob)
        known.beyond = bool(known.settings)
        self.limit_wait(known)
        super().add(known, due, delay)

    def limit_wait(self, known: PolicyJob) -> None:
        seconds = self.setting(known, "expires")
        if seconds and not known.attempts and not known.retries:
            known.expires = known.created + seconds
            known.beyond = True

    def begin_to_wait(self, known: ModelJob, due: float, now: float, begins: float = 0.0) -> None:
        assert isinstance(known, PolicyJob)
        if due > self.wall(now):
            known.state = DELAYED
            self.appoint(known, due)
        elif begins > now or 0 < known.expires <= now:
            known.state = DELAYED
            known.loaded = known.loaded and not (known.stored and known.size)
        else:
            self.enqueue(known)
            return
        if (soonest := min(begins or inf, known.expires or inf)) < inf:
            self.schedule(known, soonest)

    def store(self, known: ModelJob, due: float) -> None:
        super().store(known, due)
        self.keep_expiry(known)

    def note(self, known: ModelJob, due: float = 0.0) -> None:
        super().note(known, due)
        self.keep_expiry(known)

    def keep_expiry(self, known: ModelJob) -> None:
        """The store has when it expires, if that comes before its time."""
        assert isinstance(known, PolicyJob)
        expires = self.wall(known.expires)
        known.kept_expires = 0.0 if 0.0 < known.kept_due <= expires else expires

    def expires_now(self, known: ModelJob, now: float) -> bool:
        assert isinstance(known, PolicyJob)
        return 0.0 < known.expires <= now

    def wait_again(self, known: ModelJob) -> None:
        assert isinstance(known, PolicyJob)
        super().wait_again(known)
        if known.expires:
            self.schedule(known, known.expires)

    def waits_until(self, known: ModelJob) -> float:
        assert isinstance(known, PolicyJob)
        expires = known.at is None and known.due is not None and known.due[0] == known.expires
        return 0.0 if expires else super().waits_until(known)

    def enqueue(self, known: ModelJob, *, first: bool = False) -> None:
        assert isinstance(known, PolicyJob)
        super().enqueue(known, first=first)
        if known.expires and not (self.draining and not known.clients):
            self.schedule(known, known.expires)

    def begin(self, known: ModelJob, worker: Peer, now: float) -> None:
        assert isinstance(known, PolicyJob)
        if (rate := self.rate(known.function)) is not None:
            self.full[known.function] = max(self.full.get(known.function, 0.0), now) + rate[0]
        known.began, known.expires, known.sent, known.missed = now, 0.0, [], False
        times = self.abilities[worker].get(known.function, 0.0), self.setting(known, "timeout")
        known.overdue = now + min((seconds for seconds in times if seconds), default=inf)
        known.lease = self.setting(known, "lease") if worker.extended else 0.0
        known.beat = now
        if known.lease:
            known.beyond = True
        self.look_later(known)

    def look_later(self, known: PolicyJob) -> None:
        """Its worker's time is over, or it has been silent for too long."""
        due = min(known.overdue, known.beat + known.lease if known.lease else inf)
        if due < inf:
            self.schedule(known, due)

    # Attempts end

    def hand_over(self, known: ModelJob, worker: Peer) -> None:
        assert isinstance(known, PolicyJob)
        super().hand_over(known, worker)
        self.hear_of(known)

    def hear_of(self, known: PolicyJob) -> None:
        known.beat = self.now

    def answer(self, known: ModelJob, what: str) -> None:
        assert isinstance(known, PolicyJob)
        self.hear_of(known)
        if what == "work_complete":
            self.told += [(client, (WORK_COMPLETE, known.job.handle, b"data")) for client in known.clients]
            self.finish(known, DONE, b"data")
        elif what == "work_fail":
            self.attempt_ended(known, "fail")
        elif what == "work_exception":
            self.attempt_ended(known, "exception", b"data")
        else:
            super().answer(known, what)
        if what == "work_data":
            results = self.keeping(self.setting(known, "results"))
            known.sent.append(b"data")
            known.beyond = True
            most = 0 if results is None else results.get("bytes", 0)
            if results is None or not known.background or 0 < most < len(b"".join(known.sent)):
                known.missed = True

    def lose(self, known: ModelJob, words: bytes = b"") -> None:
        assert isinstance(known, PolicyJob)
        self.attempt_ended(known, "lost", words)

    def attempt_ended(self, known: PolicyJob, reason: str, said: bytes = b"") -> None:
        """An attempt has ended without a result."""
        assert known.worker is not None
        if known.beyond or self.policy(known.function) is not None:
            worker = f"192.0.2.1 {known.worker.descriptor}"
            known.beyond = True
            known.counts[reason] += 1
            began, ended = self.wall(known.began), self.wall(self.now)
            known.attempts.append((began, ended, reason, worker, said.decode()))
        retries = self.setting(known, "retries")
        if retries is None and reason in ("fail", "exception"):
            self.give_up(known, FAILED, reason, said)
        elif not (known.background or known.clients):
            self.withdraw(known, reason)
            self.end(known, CANCELLED)
        elif retries is None:
            self.lose_classically(known, reason, said)
        elif self.attempts_left(known, retries, reason):
            known.retries += 1
            self.count(known, "retried")
            self.take_back(known, reason)
            self.put_behind(known)
            delay = self.delay(self.setting(known, "backoff"), sum(known.counts.values()))
            self.note(known, self.now + delay if delay else 0.0)
            if delay:
                self.schedule(known, self.now + delay)
            else:
                self.enqueue(known)
        else:
            self.give_up(known, DEAD if known.background else FAILED, reason, said)

    def attempts_left(self, known: PolicyJob, retries: Any, reason: str) -> bool:
        if isinstance(retries, int):
            return sum(known.counts.values()) <= retries
        return known.counts[reason] <= int(retries.get(reason, 0))

    def delay(self, backoff: Any, ended: int) -> float:
        """Chance has no say here."""
        if isinstance(backoff, (int, float)):
            return backoff
        factor = {"fixed": 1, "linear": ended, "exponential": 2 ** (ended - 1)}[backoff["kind"]]
        return float(min(backoff["first"] * factor, backoff["most"]))

    def lose_classically(self, known: PolicyJob, reason: str, said: bytes) -> None:
        known.retries += 1
        if 0 <= self.retries <= known.retries:
            self.give_up(known, FAILED, reason, said)
            return
        self.count(known, "retried")
        self.take_back(known, reason)
        first = known.retries == 1
        if not first:
            self.put_behind(known)
        self.note(known)
        self.enqueue(known, first=first)

    def take_back(self, known: PolicyJob, reason: str) -> None:
        """What its worker has sent is worth nothing."""
        self.withdraw(known, reason)
        self.take_out(known)
        known.sent, known.missed = [], False

    def withdraw(self, known: PolicyJob, reason: str) -> None:
        """Its worker hears of it, if it is there and understands that."""
        if (
            known.worker in self.abilities
            and known.worker.extended
            and reason in ("timeout", "silent", "cancelled")
        ):
            self.told.append((known.worker, (JOB_WITHDRAWN, known.job.handle, reason.encode())))

    def give_up(self, known: PolicyJob, outcome: int, reason: str, said: bytes = b"") -> None:
        self.withdraw(known, reason)
        handle = known.job.handle
        for client in known.clients:
            raised = reason == "exception" and client.exceptions
            self.told.append((client, (WORK_EXCEPTION, handle, said) if raised else (WORK_FAIL, handle)))
        self.finish(known, outcome, said)

    def fail(self, known: ModelJob) -> None:
        assert isinstance(known, PolicyJob)
        self.give_up(known, FAILED, "")

    def cancel(self, known: ModelJob) -> None:
        assert isinstance(known, PolicyJob)
        self.give_up(known, CANCELLED, "cancelled")

    # What is left of a job

    def tell(self, known: PolicyJob, outcome: int, said: bytes) -> None:
        """Those who watch it hear all that there is of what it brought."""
        data = b"" if known.missed else b"".join(known.sent)
        self.seen += [End(who, outcome, data, said, not known.missed) for who in known.watchers]
        known.watchers = []

    def end(self, known: ModelJob, outcome: int = CANCELLED) -> None:
        assert isinstance(known, PolicyJob)
        self.tell(known, outcome, b"")
        super().end(known, outcome)

    def finish(self, known: PolicyJob, outcome: int, said: bytes = b"") -> None:
        most = (self.keeping(self.set_for(known.function, "dead")) or {}).get("bytes", 0)
        if outcome == DEAD and 0 < most < known.size:
            outcome = FAILED
        bounds = self.keeping(self.setting(known, "dead" if outcome == DEAD else "results"))
        if bounds is not None and not bounds["keep"]:
            bounds = None
        keep = 0.0 if bounds is None else bounds["keep"]
        if outcome == DONE and known.key is not None:
            keep = max(keep, self.setting(known, "unique_for"))
        self.tell(known, outcome, said)
        if not (keep and known.background):
            self.end(known, outcome)
            return
        self.take_out(known)
        self.jobs.remove(known)
        self.count(known, "completed" if outcome == DONE else "failed")
        data = b"".join(known.sent)
        most = (bounds or {}).get("bytes", 0)
        if outcome == DEAD:
            known.loaded = known.loaded and not (known.stored and known.size)
        elif bounds is None:
            known.complete = None
        elif known.missed or 0 < most < len(data + said):
            known.complete = False
        else:
            known.brought, known.data_size = data + said, len(data)
        known.state, known.ended, known.until, known.clients = outcome, self.now, self.now + keep, []
        self.put_last_of_all(known)
        self.schedule(known, known.until)
        self.note_end(known)
        self.remember(known)
        if bounds is not None and known.counted:
            self.make_room(known, bounds)

    def put_last_of_all(self, known: PolicyJob) -> None:
        """The store has them in the order of their ends."""
        if self.durable:
            self.put_last(known)

    def note_end(self, known: PolicyJob) -> None:
        known.kept_end = self.wall(known.ended), self.wall(known.until)

    def remember(self, known: PolicyJob) -> None:
        self.past.append(known)
        self.shelve(known)
        # What is known only for its unique counts no more, also after a restart.
        known.counted = known.state == DEAD or bool(known.complete) or not self.takes_unique(known)

    def shelve(self, known: PolicyJob) -> None:
        """It is behind all others of its function when they make room."""
        self.shelvings += 1
        known.shelved = self.shelvings

    def shelf(self, function: bytes, dead: bool) -> list[PolicyJob]:
        """What counts for the bounds of a function, who makes room first being first."""
        found = [
            known
            for known in self.past
            if known.function == function
            and (known.state == DEAD) == dead
            and known.counted
            and known.review is None
        ]
        return sorted(found, key=lambda known: known.shelved)

    def make_room(self, known: PolicyJob, bounds: dict[str, float]) -> None:
        """What its function's policy says counts before its own."""
        if known.state == DEAD:
            bounds = self.keeping(self.set_for(known.function, "dead")) or {}
        else:
            bounds = self.keeping(self.set_for(known.function, "results")) or bounds
        shelf = self.shelf(known.function, known.state == DEAD)
        for other in shelf[:-1]:
            left = [kept for kept in shelf if kept in self.past and kept.counted]
            too_many = 0 < bounds.get("jobs", 0) < len(left)
            if not (too_many or 0 < bounds.get("bytes", 0) < sum(kept.kept_size for kept in left)):
                return
            if self.takes_unique(other):
                self.lose_result(other)
            else:
                self.forget(other)

    def lose_result(self, known: PolicyJob) -> None:
        known.brought, known.data_size, known.complete, known.counted = b"", 0, False, False
        self.note_end(known)

    def forget(self, known: PolicyJob) -> None:
        self.past.remove(known)
        known.due = None

    def requeue(self, known: PolicyJob) -> None:
        """All its attempts are before it again; their history stays."""
        self.forget(known)
        self.count(known, "requeued")
        known.counts.clear()
        known.retries, known.beyond, known.state, known.review = 0, True, DELAYED, None
        known.sent, known.missed = [], False
        self.put_last(known)
        if self.find(known.key) is not None:
            known.key = None
        self.jobs.append(known)
        self.note(known)
        self.enqueue(known)

    def dead(self, function: bytes) -> list[PolicyJob]:
        """Those that are not set aside."""
        return self.shelf(function, True)

    def set_aside(self, known: PolicyJob, review: str | None) -> None:
        """In a review, or in none any more."""
        known.review = review
        self.put_last_of_all(known)
        self.shelve(known)
        self.note_end(known)

    def reason(self, known: PolicyJob) -> str:
        """Why it is dead."""
        return known.attempts[-1][2] if known.attempts else "unknown"

    # Operators change jobs

    def reprioritise(self, known: ModelJob, priority: int) -> type[ServerError] | None:
        assert isinstance(known, PolicyJob)
        if known not in self.past:
            return super().reprioritise(known, priority)
        if known.state != DEAD:
            return ServerError
        if priority != known.priority:
            self.rename_dead(known, known.function)
            known.priority = priority
        return None

    def rename_dead(self, known: PolicyJob, function: bytes) -> None:
        known.function = function
        known.key, known.first_key = renamed(known.key, function), renamed(known.first_key, function)
        if known.unique == b"-" and (known.stored or known.storing):
            known.first_key = known.key

    def move(self, known: ModelJob, function: bytes, now: float) -> type[ServerError] | None:
        assert isinstance(known, PolicyJob)
        if known not in self.past:
            seconds = self.setting_in(known, function, "expires")
            begun = known.attempts or known.retries
            if known.state != RUNNING and seconds and not begun and known.created + seconds <= now:
                key = renamed(known.key, function)
                full = self.refuses(function, known.priority, known.size)
                named = known.function == function or self.find(key) or self.still_done(key)
                return QueueError if full and not named else ServerError
            return super().move(known, function, now)
        if known.state != DEAD or known.function == function:
            return ServerError
        if not self.has_room_among_dead(function, 1, known.size):
            return QueueError
        self.past.remove(known)
        self.put_last_of_all(known)
        self.rename_dead(known, function)
        self.remember(known)
        self.schedule(known, known.until)
        return None

    def setting_in(self, known: PolicyJob, function: bytes, key: str) -> Any:
        """As if it were one of another function."""
        return known.settings[key] if key in known.settings else self.set_for(function, key)

    def has_room_among_dead(self, function: bytes, jobs: int, size: int) -> bool:
        bounds = self.keeping(self.set_for(function, "dead")) or {}
        dead = self.dead(function)
        too_many = jobs > 0 and 0 < bounds.get("jobs", 0) < len(dead) + jobs
        return not (
            too_many or (size > 0 and 0 < bounds.get("bytes", 0) < sum(each.size for each in dead) + size)
        )

    def enter(self, known: ModelJob) -> None:
        assert isinstance(known, PolicyJob)
        known.expires = 0.0
        self.limit_wait(known)
        if known.state != DELAYED or not (known.due or known.at):
            return
        begins = 0.0 if known.at or known.due is None else known.due[0]
        known.due = None
        if (soonest := min(begins or inf, known.expires or inf)) < inf:
            self.schedule(known, soonest)

    def correct(self, known: ModelJob, workload: bytes, unavailable: bool) -> type[ServerError] | None:
        assert isinstance(known, PolicyJob)
        if known not in self.past:
            return super().correct(known, workload, unavailable)
        if known.state != DEAD:
            return ServerError
        growth = len(workload) - known.size
        stored = known.stored or known.storing
        if (unavailable and stored) or not self.has_room_among_dead(known.function, 0, growth):
            return QueueError
        self.give_workload(known, workload)
        if known.unique == b"-":
            known.key = known.first_key = (known.function, b"-", workload) if workload else None
        if stored:
            self.note_end(known)
        return None

    def take_workload_back(self, known: ModelJob, workload: bytes) -> None:
        assert isinstance(known, PolicyJob)
        if known not in self.past:
            super().take_workload_back(known, workload)
        elif known.state == DEAD:
            super().take_workload_back(known, workload)
            self.note_end(known)

    def has_room_for_growth(self, known: ModelJob, growth: int) -> bool:
        most = self.set_for(known.function, "max_bytes")
        return not (growth > 0 and 0 < most < self.bytes_of(known.function) + growth)

    def do_later(self, function: bytes, what: str) -> int:
        """What operators want done to many jobs."""
        if what == "purge":
            lanes = [self.lanes.get((function, priority), []) for priority in PRIORITIES]
            queued = [known for lane in lanes for known in lane if isinstance(known, PolicyJob)]
            waiting = [known for known in self.jobs if known.state in (DELAYED, STORING)]
            # In which order they are cancelled is the broker's own choice.
            places = {job: place for known in waiting for place, job in enumerate(known.job.function.delayed)}
            waiting.sort(key=lambda known: places[known.job])
            jobs = self.as_cancelled(function, queued) + [
                known for known in waiting if known.function == function
            ]
        else:
            jobs = self.dead(function)
        for chore in self.purges(function) if what == "purge" else ():
            chore.spared.clear()
        self.chores.append(BulkTask(function, what, jobs, what == "purge", last=self.counter))
        return len(jobs)

    def as_cancelled(self, function: bytes, queued: list[PolicyJob]) -> list[PolicyJob]:
        """What is queued in the order in which a purge comes to it."""
        return queued

    # Time

    def expire(self, now: float) -> None:
        while (known := self.next_due(now)) is not None:
            known.due = None
            if known.state == RUNNING:
                self.look_at(known)
            elif 0 < known.expires <= now:
                self.expire_job(known)
            else:
                self.begin_at_last(known)
        while (known := self.next_at(now)) is not None:
            known.at = None
            if 0 < known.expires <= now:
                self.expire_job(known)
            else:
                self.begin_at_last(known)
        self.absences.expire(now)
        self.work_off()
        for known in self.past[:]:
            if known.until <= now:
                self.forget(known)
        self.give_up_woken(now)

    def expire_job(self, known: PolicyJob) -> None:
        self.told += [(client, (WORK_FAIL, known.job.handle)) for client in known.clients]
        self.finish(known, EXPIRED)
        self.advance(known.function, known.priority)

    def next_at(self, now: float) -> PolicyJob | None:
        due = [known for known in self.jobs if known.at is not None and known.at[0] <= self.wall(now)]
        return min(due, key=lambda known: known.at or (inf, 0), default=None)

    def next_due(self, now: float) -> PolicyJob | None:
        due = [known for known in self.jobs if known.due is not None and known.due[0] <= now]
        return min(due, key=lambda known: known.due or (inf, 0), default=None)

    def look_at(self, known: PolicyJob) -> None:
        if known.lease and known.beat + known.lease <= self.now:
            self.attempt_ended(known, "silent")
        elif known.overdue <= self.now:
            self.attempt_ended(known, "timeout")
        else:
            self.look_later(known)

    def work_off(self) -> None:
        while self.chores:
            chore = self.chores[0]
            for known in chore.jobs:
                if chore.what == "purge":
                    there = known in self.jobs and known.function == chore.function
                    if there and known.state != RUNNING and known not in chore.spared:
                        self.cancel(known)
                        self.advance(known.function, known.priority)
                elif known in self.dead(chore.function) and not (
                    # Where there is a store those who died since are left out.
                    self.durable and known.place > chore.last
                ):
                    self.requeue(known) if chore.what == "requeue" else self.forget(known)
            del self.chores[0]

    def deadline(self) -> float:
        dues = [known.due[0] for known in self.past if known.due is not None]
        opens = [self.opens(name) for name in self.functions() if self.throttled(name)]
        return min([super().deadline(), *dues, *opens, self.now if self.chores else inf])

    def drained(self) -> bool:
        if not self.draining:
            return False
        held = self.paused
        return not any(
            known.state == RUNNING
            or (known.state in (QUEUED, PAGED) and known.function not in held)
            or self.is_waited_for(known)
            for known in self.jobs
        )

    # What the store does

    def commit(self, known: ModelJob, now: float) -> None:
        assert isinstance(known, PolicyJob)
        if known in self.past:
            known.storing, known.stored = False, True
            known.loaded = not known.size
        else:
            super().commit(known, now)

    def refuse(self, known: ModelJob) -> None:
        assert isinstance(known, PolicyJob)
        known.storing = False
        if known in self.past:
            self.forget(known)
        else:
            super().refuse(known)

    def count_anew(self) -> None:
        for known in self.past:
            known.created = known.kept_created
            known.ended, known.until = known.kept_end
        super().count_anew()

    def restart(self, now: float) -> None:
        self.chores.clear()
        self.full.clear()
        past = sorted((known for known in self.past if known.stored), key=lambda known: known.place)
        self.past = []
        for known in past:
            known.loaded = not known.size
            # That another had its name when it was queued again is known to no store.
            known.key = known.first_key
            counted = known.counted
            self.remember(known)
            known.counted = counted
        taken = set()
        self.jobs.sort(key=lambda known: known.place)
        for known in self.jobs:
            if known.stored:
                known.key = known.first_key if known.first_key not in taken else None
                taken.add(known.key)
                known.expires, known.watchers, known.sent, known.missed = 0.0, [], [], False
                known.beyond = bool(known.settings or known.attempts)
                if known.kept_expires:
                    known.expires, known.beyond = known.kept_expires, True
                else:
                    self.limit_wait(known)
        super().restart(now)
        for known in sorted(past, key=lambda known: known.place):
            self.schedule(known, known.until)

    def records(self) -> list[JobRecord]:
        """What the store has, but for the lives."""
        live = {record.number: record for record in super().records()}
        for known in self.past:
            if known.stored:
                live[known.job.number] = self.record(known)._replace(
                    due=known.kept_end[1],
                    size=known.kept_size,
                    state=known.state,
                    ended=known.kept_end[0],
                )
        return [live[number] for number in sorted(live)]

    def repeat(self, client: Peer, known: PolicyJob) -> None:
        """One who would have waited for it is told what it has brought, or that this is gone."""
        if known.complete is False:
            self.told.append((client, (WORK_FAIL, known.job.handle)))
            return
        data, result = known.brought[: known.data_size], known.brought[known.data_size :]
        if data:
            self.told.append((client, (WORK_DATA, known.job.handle, data)))
        self.told.append((client, (WORK_COMPLETE, known.job.handle, result)))
