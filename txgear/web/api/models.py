"""
What several parts of the API ask for and answer.

Answers have the fields of L{txgear.broker.operators.inspection}; more may be added to them in this version of
the API, none is taken away.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from txgear.broker.operators.inspection import LONGEST_PLACE
from txgear.broker.operators.search import DEFAULT_ROWS, MOST_ROWS, Search
from txgear.protocol.constants import MAX_UNIQUE
from txgear.protocol.textlines import unescaped

ROOT: Final = "/api/v1"
"""What all paths of the API begin with."""

MOST_WORD: Final = 1000
"""Characters of what is looked for."""
LAST: Final = 2**63 - 1

Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time in UTC, as RFC 3339 has it, to the millisecond."""

Priority = Literal["high", "normal", "low"]
Ending = Literal["done", "failed", "dead", "cancelled", "expired"]
"""How a job can have ended."""
State = Literal["waiting", "storing", "queued", "running", "done", "failed", "dead", "cancelled", "expired"]
Reason = Literal["fail", "exception", "timeout", "silent", "lost"]
"""How an attempt can end without a result."""
DeadReason = Literal["fail", "exception", "timeout", "silent", "lost", "unknown"]
"""Why a job is dead: how its last attempt ended, where that is known."""

# What is taken

Word = Annotated[str, Meta(max_length=MOST_WORD)]
Unique = Annotated[str, Meta(max_length=4 * MAX_UNIQUE)]
"""Escaped, a byte may be four characters."""
Place = Annotated[str, Meta(max_length=4 * LONGEST_PLACE)]
After = Annotated[int, Meta(ge=0, le=LAST)]
Limit = Annotated[int, Meta(ge=1, le=MOST_ROWS)]
States = Annotated[
    str,
    Meta(
        pattern="^(waiting|storing|queued|running)(,(waiting|storing|queued|running)){0,9}$",
        examples=["queued", "waiting,storing,queued,running"],
    ),
]
Span = Annotated[
    str,
    Meta(
        pattern=r"^([0-9]{1,8}(\.[0-9]{1,6})?s?|[0-9]{1,9}ms|[0-9]{1,6}(\.[0-9]{1,6})?m"
        r"|[0-9]{1,4}(\.[0-9]{1,6})?h|[0-9]{1,3}(\.[0-9]{1,6})?d)$",
        examples=["90", "90s", "2h", "30d"],
    ),
]
"""A time in seconds, or with its unit."""


class LiveFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which jobs are meant that have not ended: all of it holds for each.

    @ivar function: a pattern for the names of their functions, as the shell has them: C{*}, C{?}, C{[abc]}.
    @ivar unique: their unique, the whole of it.
    @ivar state: how they are: one or more, with commas between.
    @ivar worker: a part of the name of the worker that has them.
    @ivar older: submitted that long ago, or longer: C{90s}, C{2h}.
    @ivar text: a part of their unique, or of their workload where that is in memory.
    """

    function: Word | UnsetType = UNSET
    unique: Unique | UnsetType = UNSET
    state: States | UnsetType = UNSET
    worker: Word | UnsetType = UNSET
    older: Span | UnsetType = UNSET
    text: Word | UnsetType = UNSET


class EndedFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which jobs are meant that have ended: all of it holds for each.

    @ivar function: a pattern for the names of their functions, as the shell has them: C{*}, C{?}, C{[abc]}.
    @ivar unique: their unique, the whole of it.
    @ivar text: a part of their unique, or of what is in memory of them: of the dead, of their workload and of
        what workers said; of others, of their result.
    """

    function: Word | UnsetType = UNSET
    unique: Unique | UnsetType = UNSET
    text: Word | UnsetType = UNSET


Reasons = Annotated[
    str,
    Meta(
        pattern="^(fail|exception|timeout|silent|lost|unknown)"
        "(,(fail|exception|timeout|silent|lost|unknown)){0,9}$",
        examples=["exception", "timeout,silent,lost"],
    ),
]


class DeadFilter(EndedFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which dead jobs are meant: all of it holds for each.

    @ivar reason: how their last attempts ended: one or more, with commas between.
    @ivar review: the name of the review in which they are set aside; without it those are meant that are in
        none.
    """

    reason: Reasons | UnsetType = UNSET
    review: Word | UnsetType = UNSET


class LivePage(LiveFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A page of these.

    @ivar after: the C{next} of the page before.
    @ivar limit: how many at the most.
    """

    after: After = 0
    limit: Limit = DEFAULT_ROWS


class EndedPage(EndedFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A page of these.

    @ivar after: the C{next} of the page before.
    @ivar limit: how many at the most.
    """

    after: After = 0
    limit: Limit = DEFAULT_ROWS


class DeadPage(DeadFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A page of these.

    @ivar after: the C{next} of the page before.
    @ivar limit: how many at the most.
    """

    after: After = 0
    limit: Limit = DEFAULT_ROWS


def words_of(wanted: Struct) -> dict[str, bytes]:
    """
    What is looked for, as L{Search.parse} takes it.

    @param wanted: a filter or a page; its fields are called as there. Names are read as they are shown:
        C{\\x} and two digits stand for a byte.
    """
    given = {name: value for name, value in asdict(wanted).items() if value is not UNSET}
    words = {
        name: ("yes" if value else "no") if isinstance(value, bool) else str(value)
        for name, value in given.items()
    }
    return {name: unescaped(word.encode("utf-8")) for name, word in words.items()}


def search_of(wanted: Struct) -> Search:
    """
    What is looked for.

    @param wanted: see L{words_of}.
    @raise InvalidArgument: a value makes no sense.
    """
    words = words_of(wanted)
    return Search.parse(words, words)


# What is answered


class Maxqueue(Struct, frozen=True, kw_only=True):
    """
    Jobs in all at which a submit of each priority is refused; 0 for never.

    @ivar high: for a submit of high priority.
    @ivar normal: for one of normal priority.
    @ivar low: for one of low priority.
    """

    high: int
    normal: int
    low: int


class Backoff(Struct, frozen=True, kw_only=True):
    """
    How long a job waits for its next attempt.

    @ivar kind: C{fixed}, C{linear} or C{exponential}.
    @ivar first: seconds before the second attempt.
    @ivar most: seconds at the most.
    @ivar jitter: the part of it that chance takes off at the most.
    """

    kind: Literal["fixed", "linear", "exponential"]
    first: float
    most: float
    jitter: float


class Retention(Struct, frozen=True, kw_only=True):
    """
    How long ended jobs are kept, and how many.

    @ivar keep: seconds.
    @ivar jobs: how many at the most; 0 for no bound.
    @ivar bytes: how many bytes of them at the most; 0 for no bound.
    """

    keep: float
    jobs: int
    bytes: int


class Rate(Struct, frozen=True, kw_only=True):
    """
    How fast something may go.

    @ivar jobs: how many in which time: C{10/s}.
    @ivar burst: how many at once at the most.
    """

    jobs: str
    burst: int


class Share(Struct, frozen=True, kw_only=True):
    """
    What one server may do of what is allowed to all of a cluster together.

    @ivar servers: how many there are; 0 for a moment after it has joined them.
    @ivar rate: how fast jobs may start here; C{null} for no bound.
    @ivar concurrency: how many may run here at once; C{null} for no bound. Where fewer may on all servers
        together than they are, they take turns.
    """

    servers: int
    rate: Rate | None
    concurrency: int | None


class Settings(Struct, frozen=True, kw_only=True):
    """
    The settings of a policy that are not off.

    @ivar retries: how many attempts there are after the first; a number for all reasons together, or one for
        each.
    @ivar backoff: how long a job waits for its next attempt.
    @ivar dead: how jobs are kept that have no attempt left.
    @ivar timeout: seconds for one attempt.
    @ivar lease: seconds that a worker may be silent.
    @ivar expires: seconds from the submit in which a job must begin.
    @ivar results: how results are kept.
    @ivar unique_for: seconds for which the unique of a job that is done stays taken.
    @ivar rate: how fast jobs may start.
    @ivar concurrency: jobs that may run at once.
    @ivar max_queue: jobs at which submits are refused.
    @ivar max_bytes: bytes of their workloads that are not exceeded.
    @ivar turns: whether jobs are handed out in turns between identities.
    @ivar scope: C{server} where rate and concurrency are for each server of a cluster by itself.
    """

    retries: int | dict[Reason, int] | UnsetType = UNSET
    backoff: Backoff | UnsetType = UNSET
    dead: Retention | UnsetType = UNSET
    timeout: float | UnsetType = UNSET
    lease: float | UnsetType = UNSET
    expires: float | UnsetType = UNSET
    results: Retention | UnsetType = UNSET
    unique_for: float | UnsetType = UNSET
    rate: Rate | UnsetType = UNSET
    concurrency: int | UnsetType = UNSET
    max_queue: int | UnsetType = UNSET
    max_bytes: int | UnsetType = UNSET
    turns: bool | UnsetType = UNSET
    scope: str | UnsetType = UNSET
