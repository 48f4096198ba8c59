"""
What an operator can see of the server: its jobs, those that have ended, and what is set.

All of it is plain: dicts and lists of text, numbers and C{None}, as JSON has them, for whoever shows them.
Nothing here changes anything. A list comes in pages: see L{txgear.broker.operators.search}.

Each is told which peer asks, and has only what this peer may know; see L{txgear.broker.rights}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from heapq import heapify, heappop
from itertools import islice
from time import gmtime
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.counts import Counts, quantiles
from txgear.broker.ended.archive import history_of
from txgear.broker.model import Job
from txgear.broker.operators import matching
from txgear.broker.operators.matching import Matches, parsing, state_name, worker_name
from txgear.broker.operators.search import BOUNDS, Bounds, Look, Rows, Search, page
from txgear.broker.rights import PEERS, knows, may, meets, reads, sees
from txgear.broker.shares import ALONE
from txgear.broker.states import DEAD, RUNNING
from txgear.errors import ServerError
from txgear.policies import CLASSIC
from txgear.protocol.constants import PRIORITIES
from txgear.protocol.textlines import shown_word, text, unescaped
from txgear.quantities import LAST_SECOND

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.history import Attempt, History
    from txgear.broker.model import Function, Peer
    from txgear.broker.tenants import Tenant
    from txgear.policies import Policy

MOST_SHOWN: Final = 64 * 1024
"""Bytes of a workload or a result that are shown."""

PRIORITY_NAMES: Final = ("high", "normal", "low")
MOST_WAITERS: Final = 20
"""Clients that wait for a job and are named, those that came last; a job may have hundreds of thousands."""
LOOKED_PAST: Final = 4
"""As a power of two: so many functions take as long as one job does that is looked at."""
LONGEST_PLACE: Final = 256
"""Bytes of a name by which functions are sorted."""
DIGEST_BYTES: Final = 16
MOST_LOOKED_AT: Final = 1000
"""Clients of a job among whom those are looked for: some hundred microseconds."""


# Values


def moment(seconds: float) -> str | None:
    """
    A time in ISO 8601, UTC, to the millisecond; one beyond the year 9999 is shown as its end.

    @param seconds: since the epoch, by the wall clock.
    @return: C{None} for 0.0, which is never, or not known.
    """
    if not seconds:
        return None
    whole, thousandths = divmod(int(min(seconds, LAST_SECOND) * 1000), 1000)
    year, month, day, hour, minute, second = gmtime(whole)[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{thousandths:03}Z"


def _since(moment: float, now: float) -> float | None:
    """Seconds since then, C{None} if that is not known."""
    return round(max(now - moment, 0.0), 3) if moment else None


def _attempts(job: Job, history: History | None) -> int:
    """How many have ended without a result."""
    return max(job.retries, sum(history.counts.values())) if history is not None else job.retries


# Lists


def jobs(
    broker: Broker, peer: Peer, search: Search, now: float, bounds: Bounds = BOUNDS, rows: Rows | None = None
) -> dict[str, Any]:
    """
    Jobs that have not ended: those in memory; L{txgear.broker.operators.listing} has all.

    A text is looked for in their uniques, and in those workloads that are in memory and that the peer may
    read.

    @param rows: some that are not in memory.
    @return: C{jobs}, a dict for each with C{handle}, C{function}, C{state}, C{priority}, C{age} (seconds, or
        C{None} if that is not known), C{attempts} (that have ended without a result), C{worker} (or
        C{None}) and C{unique}; and C{next}, which is what to ask for with C{after}, or C{None} at the end.
    """
    candidates, matches = matching.live(broker, peer, search, now, bounds.few)

    def look(job: Job) -> tuple[int, dict[str, Any] | None]:
        work, matched = matches(job)
        if not matched:
            return work, None
        return work, {
            "handle": text(job.handle),
            "function": text(job.function.name),
            "state": state_name(job),
            "priority": PRIORITY_NAMES[job.priority],
            "age": _since(job.created, now),
            "attempts": _attempts(job, job.history),
            "worker": worker_name(peer, job),
            "unique": text(job.unique),
        }

    if rows is None:
        return page(candidates, broker.table.last_number, search, look, bounds)
    return page(candidates, rows.last, search, look, bounds, rows.jobs, rows.moved)


# What has ended


def dead(broker: Broker, peer: Peer, search: Search, now: float, bounds: Bounds = BOUNDS) -> dict[str, Any]:
    """
    The dead that are in memory; L{txgear.broker.operators.listing} has all.

    A text is looked for in their uniques; and where the peer may read them in the messages of their workers,
    and in those workloads that are in memory.

    @return: C{jobs}, a dict for each with C{handle}, C{function}, C{died} (when), C{age} (seconds since),
        C{attempts}, C{reason} and C{text} (of the last attempt), C{size} (of the workload) and C{unique}; and
        C{next}, as with L{jobs}.
    """
    candidates, matches = matching.dead(broker, peer, search, now, bounds.few)
    return page(
        candidates, broker.table.last_number, search, look_at_dead(broker, peer, matches, now), bounds
    )


def look_at_dead(broker: Broker, peer: Peer, matches: Matches, now: float) -> Look:
    """Makes the rows of L{dead}."""

    def look(job: Job) -> tuple[int, dict[str, Any] | None]:
        work, matched = matches(job)
        if not matched:
            return work, None
        history = history_of(job)
        last: Attempt | None = history.attempts[-1] if history.attempts else None
        return work + parsing(job), {
            "handle": text(job.handle),
            "function": text(job.function.name),
            "died": moment(broker.timers.wall(job.since)),
            "age": _since(job.since, now),
            "attempts": _attempts(job, history),
            "reason": None if last is None else last.reason,
            "text": last.text if last is not None and reads(peer, job.function) else None,
            "size": job.size,
            "unique": text(job.unique),
        }

    return look


def kept(broker: Broker, peer: Peer, search: Search, now: float, bounds: Bounds = BOUNDS) -> dict[str, Any]:
    """
    Jobs that have ended otherwise than dead, and are still known, and in memory;
    L{txgear.broker.operators.listing} has all.

    A text is looked for in their uniques, and in those results that are in memory and that the peer may read.

    @return: C{jobs}, a dict for each with C{handle}, C{function}, C{outcome}, C{age} (seconds since the
        end), C{size} (of the result; C{None} if that is not kept), C{left} (seconds until it is
        forgotten) and C{unique}; and C{next}, as with L{jobs}.
    """
    candidates, matches = matching.kept(broker, peer, search, now, bounds.few)
    return page(candidates, broker.table.last_number, search, look_at_kept(broker, matches, now), bounds)


def look_at_kept(broker: Broker, matches: Matches, now: float) -> Look:
    """Makes the rows of L{kept}."""

    def look(job: Job) -> tuple[int, dict[str, Any] | None]:
        work, matched = matches(job)
        if not matched:
            return work, None
        return work + parsing(job), {
            "handle": text(job.handle),
            "function": text(job.function.name),
            "outcome": state_name(job),
            "age": _since(job.since, now),
            "size": job.size if history_of(job).complete else None,
            "left": round(max(job.due - now, 0.0), 3),
            "unique": text(job.unique),
        }

    return look


# What is meant


def readings(word: bytes) -> list[bytes]:
    """
    The names that a word may mean: what is shown so comes before what is called so, such as PHP's
    C{App\\xdebug\\Job}.
    """
    return list(dict.fromkeys((unescaped(word), word)))


def known_function(broker: Broker, names: Iterable[bytes]) -> bytes | None:
    """
    The first of these names that is one of a function that there is.

    @param names: see L{readings}.
    @return: C{None} if there is no such function.
    """
    return next((name for name in names if name in broker.functions.by_name), None)


def function_name(broker: Broker, word: bytes, names: Iterable[bytes]) -> bytes:
    """
    The name of a function that there need not be, from a word.

    @param names: those of its L{readings} that may be names of functions that there are.
    @raise ServerError: there is no such function, and the word has an escape that hardly was meant as
        one, as it stands for a byte that needs none, or is no UTF-8.
    """
    if (known := known_function(broker, names)) is not None:
        return known
    name = unescaped(word)
    if name != word and (shown_word(name) != word or name.decode("utf-8", "ignore").encode() != name):
        raise ServerError("There is no such function", "UNKNOWN_FUNCTION")
    return name


# One job


def find(broker: Broker, peer: Peer, word: bytes) -> Job | None:
    """
    The job with this handle, as it is shown or as it is, whether or not it has ended; if it is in memory: see
    L{txgear.broker.operators.loading}.
    """
    job = with_handle(broker, word)
    return None if job is None else sees(peer, job)


def with_handle(broker: Broker, word: bytes) -> Job | None:
    """The job with this handle that is in memory, whoever asks."""
    for handle in readings(word):
        if (job := broker.table.by_handle(handle) or broker.archive.by_handle(handle)) is not None:
            return job
    return None


def _without_hidden(broker: Broker, peer: Peer, handles: Iterable[str]) -> list[str]:
    """
    Handles without those of jobs of which the peer may not know. Of what is forgotten it is not known what it
    was: it stays, and leads nowhere.
    """
    found = []
    for handle in handles:
        job = with_handle(broker, handle.encode("utf-8"))
        if job is None or sees(peer, job) is not None:
            found.append(handle)
    return found


def job(broker: Broker, peer: Peer, job: Job, now: float) -> dict[str, Any]:
    """
    All that is known of a job of which the peer may know.

    @return: what every job has; of one that has not ended, where it is, who waits for it and who runs it;
        of one that has, when that was and what is kept of it. What is not there, or not known, is C{None}.
        C{copy_of} is the job that it was made from, C{copies} are the last ones that were made from it;
        those of them that are known are named where the peer may know of them. C{traceparent} is where its
        submitter says that the work on it belongs.
        C{settings} are those in force for it, C{history} its attempts that ended without a result,
        the newest last. Workers are named where the peer may know who is connected, and quoted where it may
        read results. C{waiters} are the last L{MOST_WAITERS} of its C{clients} of whom the peer may know,
        the newest first, each with C{descriptor}, C{address} and C{client_id} (or C{None}).
    """
    history = history_of(job)
    found: dict[str, Any] = {
        "handle": text(job.handle),
        "number": job.number,
        "function": text(job.function.name),
        "unique": text(job.unique),
        "state": state_name(job),
        "priority": PRIORITY_NAMES[job.priority],
        "background": job.background,
        "reducer": text(job.reducer) or None,
        "tenant": None if job.tenant is None else job.tenant.name,
        "created": moment(broker.timers.wall(job.created)),
        "attempts": _attempts(job, history),
    }
    found.update(_of_ended(broker, job, history) if job.ended else _of_live(broker, peer, job, history, now))
    original = _without_hidden(broker, peer, [history.copy_of] if history.copy_of else ())
    found["copy_of"] = original[0] if original else None
    found["copies"] = _without_hidden(broker, peer, history.copies)
    found["traceparent"] = None if history.trace is None else history.trace.traceparent
    found["reasons"] = dict(history.counts)
    found["settings"] = history.policy(
        job.function.policy or CLASSIC, broker.functions.policies
    ).as_settings()
    names, words = may(peer, PEERS), reads(peer, job.function)
    found["history"] = [
        {
            **attempt._asdict(),
            "began": moment(attempt.began),
            "ended": moment(attempt.ended),
            "worker": attempt.worker if names else None,
            "text": attempt.text if words else None,
        }
        for attempt in history.attempts
    ]
    return found


def _of_live(broker: Broker, peer: Peer, job: Job, history: History, now: float) -> dict[str, Any]:
    running = job.state == RUNNING
    leased = running and bool(history.lease)
    overdue = history.overdue or (0.0 if leased else job.due)
    return {
        "size": job.size,
        "loaded": job.loaded,
        "unreadable": job in broker.store_events.unreadable,
        "stored": job.stored,
        "clients": len(job.clients),
        "waiters": _waiters(peer, job),
        "begins": moment(broker.lifecycle.begins(job)),
        "expires": moment(broker.timers.wall(history.expires)),
        "worker": worker_name(peer, job),
        "began": moment(broker.timers.wall(job.since)) if running else None,
        "overdue": moment(broker.timers.wall(overdue)) if running else None,
        "lease": history.lease if leased else None,
        "silent": _since(history.beat, now) if leased else None,
        "numerator": job.progress[0] if running else None,
        "denominator": job.progress[1] if running else None,
    }


def _waiters(peer: Peer, job: Job) -> list[dict[str, Any]]:
    # The same one may have submitted it again and again.
    last = dict.fromkeys(islice(job.clients, MOST_LOOKED_AT))
    return [who(client) for client in islice((one for one in last if meets(peer, one)), MOST_WAITERS)]


def who(peer: Peer) -> dict[str, Any]:
    """Which connection a peer is: C{descriptor}, C{address} and C{client_id}, C{None} if it has set none."""
    return {
        "descriptor": peer.descriptor,
        "address": peer.address,
        "client_id": None if peer.client_id == b"-" else text(peer.client_id) or None,
    }


def _of_ended(broker: Broker, job: Job, history: History) -> dict[str, Any]:
    """The C{review} is the name of the one that a dead job is in."""
    died = job.state == DEAD
    complete = history.complete and not died
    return {
        "size": job.size if died else None,
        "stored": job.stored,
        "ended": moment(broker.timers.wall(job.since)),
        "forgotten": moment(broker.timers.wall(job.due)),
        "review": None if history.aside is None else history.aside.review,
        "data_size": history.data_size if complete else None,
        "result_size": history.result_size if complete else None,
    }


def workload(job: Job, found: bytes) -> dict[str, Any]:
    """
    @param found: the whole workload.
    @return: C{size} in bytes, how many of them are C{shown}, and these as C{workload}.
    """
    shown = found[:MOST_SHOWN]
    return {"handle": text(job.handle), "size": len(found), "shown": len(shown), "workload": text(shown)}


def result(job: Job, history: History, found: bytes) -> dict[str, Any]:
    """
    @param found: the whole result, data included.
    @return: the C{outcome}, C{size} in bytes, how many of them are C{shown}, and these: C{data} is what the
        worker sent before the C{result}.
    """
    shown = found[:MOST_SHOWN]
    return {
        "handle": text(job.handle),
        "outcome": state_name(job),
        "size": len(found),
        "shown": len(shown),
        "data": text(shown[: history.data_size]),
        "result": text(shown[history.data_size :]),
    }


# Functions


def functions(broker: Broker, peer: Peer, search: Search) -> list[Function]:
    """The functions that the server knows and that are wanted, in the order in which they became known."""
    wanted = search.functions(peer)
    return [
        function
        for function in broker.functions.by_name.values()
        if search.paused in (None, function.paused) and wanted(function)
    ]


def place(name: bytes) -> bytes:
    """
    What a name is sorted by where functions are: itself, or what stands for a long one, as what is asked for
    next must not be too long.
    """
    if len(name) <= LONGEST_PLACE:
        return name
    head = name[: LONGEST_PLACE - DIGEST_BYTES]
    return head + blake2b(name, digest_size=DIGEST_BYTES).digest()


def function_page(
    broker: Broker,
    peer: Peer,
    search: Search,
    now: float,
    bounds: Bounds = BOUNDS,
    look: Callable[[Function, float], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """
    The functions that the server knows and that are wanted, by their names.

    @param look: what is said of one; by default what L{function} returns.
    @return: C{functions}, for each that; and C{next}, behind which it goes on, or C{None}
        at the end: a name, or what stands for a long one.
    """
    by_name, wanted = broker.functions.by_name, search.functions(peer)
    # Only as many are sorted as are looked at.
    long = {place(name): name for name in by_name if len(name) > LONGEST_PLACE}
    places = [name for name in (*by_name, *long) if search.behind < name and len(name) <= LONGEST_PLACE]
    heapify(places)
    rows: list[dict[str, Any]] = []
    last = b""
    work = len(by_name) >> LOOKED_PAST
    row = look or partial(function, broker)
    while places:
        if len(rows) == search.limit or work >= bounds.work:
            return {"functions": rows, "next": text(last)}
        last = heappop(places)
        work += 4
        found = by_name[long.get(last, last)]
        if search.paused in (None, found.paused) and wanted(found):
            rows.append(row(found, now))
            work += 16
    return {"functions": rows, "next": None}


def function_details(broker: Broker, found: Function, now: float) -> dict[str, Any]:
    """
    What L{function} returns; C{pattern} (of its policy's rule, or C{None}) and C{settings}; C{room}, how many
    jobs may start now, or C{None} for any number; this server's C{share}, as in L{policy}; C{bytes} of the
    workloads of its jobs; whether an operator has C{created} it; and C{counts}, those of L{Counts} since the
    server started, with quantiles of how long jobs waited and ran, or C{None} where it is counted together
    with others.
    """
    pattern, settings = broker.functions.policies.match(found.name) or (None, CLASSIC)
    throttle = found.throttle
    return {
        **function(broker, found, now),
        "pattern": None if pattern is None else text(pattern.encode("utf-8")),
        "settings": settings.as_settings(),
        "room": None if throttle is None else throttle.available(found.running, now),
        "share": share(broker, found.name, settings),
        "bytes": found.bytes,
        "created": found.created,
        "counts": None if found.counts is broker.statistics.other else _counts(broker, found.counts),
    }


def _counts(broker: Broker, found: Counts) -> dict[str, Any]:
    timers = broker.timers
    names = ("submitted", "joined", "refused", "restored", "requeued", "completed", "failed", "retried")
    return {
        **{name: getattr(found, name) for name in names},
        "wait": _quantiles(found.waits),
        "run": _quantiles(found.runs),
        "worker_left": moment(timers.wall(found.worker_left)) if found.worker_left else None,
        "last_end": moment(timers.wall(found.ended)) if found.ended else None,
    }


def _quantiles(histogram: Sequence[int]) -> dict[str, float | None]:
    return dict(zip(("p50", "p95", "p99"), quantiles(histogram, 0.5, 0.95, 0.99), strict=True))


def function(broker: Broker, function: Function, now: float) -> dict[str, Any]:
    """
    How many of its jobs are C{queued}, C{waiting} (for their time) and C{running}, for how many seconds the
    C{oldest} of those that are queued has been ready (C{None} where none is), how many C{workers} it
    has, how many of its jobs that have ended are C{dead} and otherwise C{kept}; whether an operator has it
    C{paused}, and the C{maxqueue} that one has set: a number for each priority, or C{None}.
    """
    dead = broker.archive.ended.dead(function) if function.kept else 0
    return {
        "function": text(function.name),
        "queued": function.lanes.ready + function.lanes.paged + function.lanes.held,
        "waiting": function.waiting,
        "running": function.running,
        "oldest": _since(function.waiting_since, now),
        "workers": len(function.workers),
        "dead": dead,
        "kept": function.kept - dead,
        "paused": function.paused,
        "maxqueue": _maxqueue(function),
    }


def _maxqueue(function: Function) -> dict[str, int] | None:
    if function.max_queued is None:
        return None
    return {PRIORITY_NAMES[priority]: function.max_queued[priority] for priority in PRIORITIES}


# Tenants


def tenants(broker: Broker) -> list[dict[str, Any]]:
    """
    Everybody who has a quota, or peers or jobs, kept ones included, by their names.

    @return: a dict for each with C{tenant} (the identity's name); and by its name each thing that a quota may
        bound, with C{used} and C{bound}, or C{None} for no bound: C{connections}, C{queued} (jobs that have
        not ended), C{running} and C{bytes}; and C{submits}, the rate, or C{None} for no bound.
    """
    return [_tenant(tenant) for _, tenant in sorted(broker.tenants.by_name.items())]


def _tenant(tenant: Tenant) -> dict[str, Any]:
    quota = tenant.quota
    return {
        "tenant": tenant.name,
        "connections": {"used": tenant.connections, "bound": quota.connections or None},
        "queued": {"used": tenant.queued, "bound": quota.queued or None},
        "running": {"used": tenant.running, "bound": quota.running or None},
        "bytes": {"used": tenant.bytes, "bound": quota.bytes or None},
        "submits": None if quota.submits is None else quota.submits.as_settings(),
    }


# What is set


def policies(broker: Broker) -> list[dict[str, Any]]:
    """Every rule in force, the first that matches being the one that counts: C{pattern} and C{settings}."""
    return [
        {"pattern": text(pattern.encode("utf-8")), "settings": policy.as_settings()}
        for pattern, _, policy in broker.functions.policies.rules
    ]


def share(broker: Broker, name: bytes, policy: Policy) -> dict[str, Any] | None:
    """
    What this server may do of what the policy of a function allows to all servers of a cluster together: how
    many C{servers} there are, its C{rate}, as a setting, and its C{concurrency}, each C{None} for no bound.
    C{None} where nothing is divided.
    """
    functions = broker.functions
    if functions.share == ALONE or policy.scope or not (policy.rate or policy.concurrency):
        return None
    rate, concurrency, _ = functions.part(name, policy)
    return {
        "servers": functions.share.servers,
        "rate": None if rate is None else rate.as_settings(),
        "concurrency": concurrency,
    }


def policy(broker: Broker, peer: Peer, name: bytes, now: float) -> dict[str, Any]:
    """
    What holds for a function, whether or not there are jobs of it; it has none, as far as a peer goes that
    may not know of it.

    @return: C{pattern} (of its rule, or C{None}) and C{settings}; C{paused}; C{maxqueue}, a number for each
        priority, or C{None}; C{room}, how many jobs may start now, or C{None} for any number; C{share}, what
        this server may do of what is allowed to all of a cluster; and how many there are.
    """
    pattern, settings = broker.functions.policies.match(name) or (None, CLASSIC)
    function = broker.functions.by_name.get(name)
    if function is not None and not knows(peer, function):
        function = None
    throttle = None if function is None else function.throttle
    return {
        "function": text(name),
        "pattern": None if pattern is None else text(pattern.encode("utf-8")),
        "settings": settings.as_settings(),
        "paused": function is not None and function.paused,
        "maxqueue": None if function is None else _maxqueue(function),
        "room": None if throttle is None or function is None else throttle.available(function.running, now),
        "share": share(broker, name, settings),
        "jobs": 0 if function is None else function.total,
        "running": 0 if function is None else function.running,
        "bytes": 0 if function is None else function.bytes,
        "kept": 0 if function is None else function.kept,
        "workers": 0 if function is None else len(function.workers),
    }


def settings(chosen: Mapping[str, Any], store: str) -> dict[str, Any]:
    """
    What the operator decided for the whole server.

    @param chosen: the settings by name; a table in it becomes settings with a dot in their names.
    @param store: what the store calls itself.
    """
    found: dict[str, Any] = {"store": store}
    for name, value in chosen.items():
        if isinstance(value, Mapping):
            found.update({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            found[name] = text(value) if isinstance(value, bytes) else value
    return found
