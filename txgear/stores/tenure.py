"""
Whose a store is: what a server makes of the row of a lease that it has read.

No clocks are compared. A lease is another server's as long as its row moves, which that server sees to by
its beats; it has ended when the row stands still for L{LENGTH} by our own clock, while the database answered
all the time. Nothing here is safe by itself: that two servers do not both write is seen to by the fence, the
condition of each transaction that writes (L{txgear.stores.leases}).

This knows no database and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from txgear.stores.looks import SLOW, Looks

BEAT_SECONDS: Final = 2.0
"""Seconds from one beat to the next, where nothing else is written."""
LENGTH: Final = 8.0
"""Seconds for which the row stands still before another server may take the store: three beats may fail."""
SETTLING: Final = 0.5
"""
Seconds that are given to a session that may be about to end: the last COMMIT of a server that was killed may
come after our first look.
"""
OWNER_BYTES: Final = 16
"""Bytes of an owner, which are random: a failover may bring an earlier term back, to be counted up again."""
NOBODY: Final = b""
MOST_MARKS: Final = 4000
"""Seconds, about, for which is remembered when which beat was."""


class LeaseRow(NamedTuple):
    """
    The row of a lease.

    @ivar owner: random, anew with each taking; L{NOBODY} if it was let go of.
    @ivar term: one more with each taking.
    @ivar beat: one more with each transaction of the owner's.
    @ivar name: where the owner runs, for people.
    @ivar session: what the database calls the owner's connection; empty where that is not known.
    @ivar address: where clients reach the owner, of several servers; empty where that was not said.
    @ivar server: random, the same in all parts of the owner's run; empty where nobody has it, or a server
        that knows of no others.
    """

    owner: bytes
    term: int
    beat: int
    name: str = ""
    session: str = ""
    address: str = ""
    server: bytes = b""

    @property
    def moment(self) -> tuple[bytes, int, int]:
        """What moves."""
        return self[:3]


class Session(Enum):
    """What a database says of a connection."""

    UNKNOWN = "unknown"
    """It is another server's, or one that cannot be told apart."""
    GONE = "gone"
    """It is no more: whoever had it is dead, or cut off."""
    WAITING = "waiting"
    """It waits for its client, or for a standby, and may do so for ever."""
    WORKING = "working"
    """It is there."""


class Judgement(Enum):
    """What is to be done about a row."""

    OURS = "ours"
    """We have the lease: go on."""
    TAKE = "take"
    """Nobody has it: take it, by a statement that names what was read."""
    LOOK_AGAIN = "look again"
    """Nobody can say yet."""
    IN_USE = "in use"
    """Another server has it."""
    TAKEN = "taken"
    """It was ours, and another server has it."""


class Tenure:
    """
    One server's lease of one part.

    @ivar held: our row, as it was committed last as far as we know; C{None} if we have no lease.
    @ivar has_lost: whether an earlier row has come back, and with it all else: what was committed since is
        lost. Whoever tells of it says that it is told.
    @ivar lost_since: the last commit, about, that is not lost, by the clock of L{beat}; 0.0 if not known.
    """

    def __init__(self, random: Callable[[int], bytes], length: float = LENGTH) -> None:
        """
        @param random: so many bytes that nobody has had before.
        @param length: seconds; see L{LENGTH}.
        """
        self.held: LeaseRow | None = None
        self.has_lost = False
        self.lost_since = 0.0
        # What is the last commit that is not lost, if the row that was judged can be taken.
        self._loss: float | None = None
        self._random = random
        self._length = length
        # What we took it from.
        self._replaced: LeaseRow | None = None
        # The lowest term that we have had: rows from before us have lower ones.
        self._first_term = 0
        # Owners that we have been, before the present one.
        self._former: set[bytes] = set()
        # Takings of which we have not heard whether they are done: by their owners, what was there before.
        self._tried: dict[bytes, LeaseRow] = {}
        self._marks: deque[tuple[int, float]] = deque(maxlen=MOST_MARKS)
        self._watched: LeaseRow | None = None
        self._looks = Looks(SLOW)
        self._moved: float | None = None

    # What was read

    def judge(self, row: LeaseRow, asked: float, answered: float, *, gone: bool = False) -> Judgement:
        """
        A row was read; C{TAKE} holds for this row only.

        @param asked: when it was asked for, by a monotonic clock;
        @param answered: when it was there.
        @param gone: whether the very same database server has said, after that, that the session in the row
            is no more. It is true of the row's owner only where the server is the one that the owner used.
        """
        if row.owner in self._tried:
            self._hold(row, self._tried[row.owner])
            return Judgement.OURS
        held = self.held
        if held is None:
            return Judgement.TAKE if row.owner == NOBODY else self._watch(row, asked, answered, gone)
        if row.owner == held.owner and row.beat >= held.beat:
            self._loss = None
            self.held = row
            return Judgement.OURS
        if self.is_earlier(row):
            self._lose(row)
            return Judgement.TAKE
        if self.is_anothers(row):
            return Judgement.TAKEN
        # A row from before, that we do not know: either nobody has it, or somebody was quicker.
        verdict = self._watch(row, asked, answered, gone)
        if verdict is Judgement.TAKE:
            self._lose(row)
        return Judgement.TAKEN if verdict is Judgement.IN_USE else verdict

    def is_earlier(self, row: LeaseRow) -> bool:
        """Whether this is what the row was before, which has come back; we hold the lease."""
        assert self.held is not None
        replaced = self._replaced is not None and row.moment == self._replaced.moment
        return row.owner == self.held.owner or row.owner in self._former or replaced

    def is_anothers(self, row: LeaseRow) -> bool:
        """Whether another server has taken the lease that we hold."""
        assert self.held is not None
        return not self.is_earlier(row) and row.term >= self._first_term

    def _watch(self, row: LeaseRow, asked: float, answered: float, gone: bool) -> Judgement:
        """See whether it moves."""
        watched, self._watched = self._watched, row
        self._looks.looked(asked, answered)
        if gone:
            return Judgement.TAKE
        if watched is not None and row.moment != watched.moment and self._moved is None:
            self._moved = asked
        if self._moved is not None:
            return Judgement.IN_USE if answered - self._moved >= SETTLING else Judgement.LOOK_AGAIN
        return Judgement.TAKE if asked - self._looks.since >= self._length else Judgement.LOOK_AGAIN

    def begin(self) -> None:
        """Begin to look: what was seen before, by another connection, tells nothing."""
        self._watched = self._moved = None
        self._looks.begin()

    @property
    def owners(self) -> set[bytes]:
        """Who we are in the row, or may be."""
        return self._tried.keys() | ({self.held.owner} if self.held is not None else set())

    # The taking

    def proposal(
        self, row: LeaseRow, name: str, session: str, address: str = "", server: bytes = b""
    ) -> LeaseRow:
        """What is to be written in place of a row that may be taken."""
        new = LeaseRow(self._random(OWNER_BYTES), row.term + 1, 0, name, session, address, server)
        self._tried[new.owner] = row
        return new

    def done(self, new: LeaseRow, now: float) -> None:
        """
        This proposal is committed.

        @param now: by the clock of people.
        """
        self._hold(new, self._tried[new.owner])
        self._marks.append((new.beat, now))

    def not_done(self, new: LeaseRow) -> None:
        """This proposal is not, and never will be."""
        del self._tried[new.owner]

    def _hold(self, row: LeaseRow, replaced: LeaseRow) -> None:
        if self.held is None:
            self._first_term = row.term
        else:
            self._first_term = min(self._first_term, row.term)
            self._former.add(self.held.owner)
        # Of several only one can be done.
        self._former.update(self._tried.keys() - {row.owner})
        self._tried.clear()
        self._marks.clear()
        if self._loss is not None and not self.has_lost:
            self.has_lost, self.lost_since = True, self._loss
        self._loss = None
        self.held, self._replaced = row, replaced

    # While we have it

    def beat(self, now: float, session: str | None = None) -> None:
        """
        A transaction of ours is committed.

        @param now: by the clock of people.
        @param session: our new one, if it is.
        """
        held = self.held
        assert held is not None
        session = held.session if session is None else session
        self.held = held = held._replace(beat=held.beat + 1, session=session)
        if not self._marks or now >= self._marks[-1][1] + 1 or now < self._marks[-1][1]:
            self._marks.append((held.beat, now))

    def _lose(self, row: LeaseRow) -> None:
        """This row has come back, if it can be taken: it is not a reading that was late."""
        held = self.held
        assert held is not None
        kept = [at for beat, at in self._marks if row.owner == held.owner and beat <= row.beat]
        first = self._marks[0][1] if self._marks else 0.0
        self._loss = kept[-1] if kept else first

    def end(self) -> None:
        """It was let go of, or is another's: the next time is a new one."""
        self.held = self._replaced = None
        self._former.clear()
        self._tried.clear()
        self._marks.clear()
