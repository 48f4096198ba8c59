"""
Functions of which fewer jobs may run at once than there are servers: who may run them.

They cannot be divided, so their slots move. A row in the store says which server has how many, and who waits
for one that has none. Each server looks at it with all else, each second, and changes it by a statement that
names what it has read; so there are never more than there are. A server gives a slot to the one that has
waited for longest: at once if it has no use for it or has several, and when its turn is over otherwise. It
starts no more jobs than it keeps before it gives one away. Of a server whose lease has ended all are free.

This knows no database and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from txgear.broker.records import SLOTS, StoredValue, Swap

TURN_SECONDS: Final = 5.0
"""Seconds for which a server has its last slot at the least if others wait, and it has something to do."""
IDLE_SECONDS: Final = 10.0
"""Seconds after which a server lets go of slots that it does not use, if nobody waits for them."""
AT_ONCE: Final = 500
"""Rows that are changed in one transaction; others are at the next look."""
LONGEST: Final = 1000
"""Bytes of a row: those of some fifty servers."""
VERSIONS: Final = 2**50
"""How many numbers there are for the changes of a row: none comes again."""
NAME_BYTES: Final = 4
"""Of the name of a server in a row: two of some dozens never have the same."""


class Row(NamedTuple):
    """
    Who may run the jobs of a function.

    @ivar held: how many slots each server has that has any.
    @ivar waiting: those that have none and want one, who has waited for longest being first.
    """

    held: dict[str, int]
    waiting: tuple[str, ...] = ()


def read(text: str) -> Row:
    """A row as it is in the store; what makes no sense in it is passed over."""
    held: dict[str, int] = {}
    waiting: list[str] = []
    for word in text.split():
        server, _, count = word.partition("=")
        if count.isascii() and count.isdecimal():
            held[server] = int(count)
        elif not count:
            waiting.append(server)
    return Row(held, tuple(waiting))


def written(row: Row) -> str:
    """What L{read} reads."""
    return " ".join([*(f"{server}={count}" for server, count in row.held.items()), *row.waiting])


class Want(NamedTuple):
    """
    What a server could do with slots of a function.

    @ivar most: how many there are; 0 where they are not wanted any more by this server.
    @ivar running: how many jobs of it run here.
    @ivar need: how many would, with slots enough.
    """

    most: int
    running: int
    need: int


NOTHING: Final = Want(0, 0, 0)


class Dealt(NamedTuple):
    """
    What a server makes of a row.

    @ivar row: as it is to be.
    @ivar keep: how many slots this server may use, whether or not the row becomes so, and
    @ivar most: how many if it does.
    """

    row: Row
    keep: int
    most: int


def deal(row: Row, me: str, living: Collection[str], want: Want, *, is_over: bool, is_idle: bool) -> Dealt:
    """
    What one server is to make of a row.

    @param me: that server.
    @param living: all that live, this one included.
    @param is_over: whether its turn is over, and
    @param is_idle: whether it has had no use for its slots for long.
    """
    held = {server: count for server, count in row.held.items() if server in living and count > 0}
    waiting = [server for server in row.waiting if server in living and server not in held]
    # How many of the others that wait have nothing but ours to wait for.
    others = sum(held.values()) + len([server for server in waiting if server != me]) - want.most
    keep = mine = held.pop(me, 0)
    if want.need and others > 0:
        keep = min(max(mine - others, 0 if is_over else 1), mine)
    elif not want.need and (others > 0 or is_idle or not want.most):
        keep = 0
    # Those in use are given when their jobs have ended.
    if stays := max(keep, min(want.running, mine)):
        held[me] = stays
    if me in waiting and (stays or not want.need):
        waiting.remove(me)
    elif me not in waiting and want.need and not stays:
        waiting.append(me)
    free = want.most - sum(held.values())
    while free > 0 and waiting:
        held[waiting.pop(0)] = 1
        free -= 1
    if free > 0 and keep == mine and want.need > (has := held.get(me, 0)):
        held[me] = has + min(free, want.need - has)
    return Dealt(Row(held, tuple(waiting)), keep, held.get(me, 0) if keep == mine else keep)


class Slots:
    """
    What one server knows of them.

    @ivar borrowed: how many it may use of each function that it may use any of.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        """
        @param chance: a random number, 0 to 1.
        """
        self.borrowed: dict[bytes, int] = {}
        self._chance = chance
        # Since when it has some, and when it has had a use for them last.
        self._held: dict[bytes, tuple[float, float]] = {}

    def look(
        self,
        rows: Mapping[bytes, StoredValue],
        wants: Mapping[bytes, Want],
        me: bytes,
        living: Collection[bytes],
        now: float,
    ) -> dict[Swap, int]:
        """
        All rows were read.

        @param rows: by function.
        @param wants: of those functions of which there may be fewer jobs than servers.
        @param me: this server, and
        @param living: all that live, as the leases have them, read after the rows: whoever stands in a row
            was there before.
        @return: what is to be changed in the store, and how many slots of the function may be used then.
        """
        name, names = short(me), {short(server) for server in living}
        self.borrowed = {}
        self._held = {function: held for function, held in self._held.items() if function in rows}
        changes: dict[Swap, int] = {}
        for function in wants.keys() | rows.keys():
            value, want = rows.get(function), wants.get(function, NOTHING)
            row = Row({}) if value is None else read(value.text)
            since, used = self._held.pop(function, (now, now))
            if want.need:
                used = now
            if row.held.get(name):
                self._held[function] = since, used
            else:
                since = now
            is_over, is_idle = now - since >= TURN_SECONDS, now - used >= IDLE_SECONDS
            dealt = deal(row, name, names, want, is_over=is_over, is_idle=is_idle)
            if dealt.keep:
                self.borrowed[function] = dealt.keep
            text = written(dealt.row)
            if dealt.row != row and len(text) <= LONGEST and len(changes) < AT_ONCE:
                version = 1.0 + int(self._chance() * VERSIONS) if text else 0.0
                new = StoredValue(SLOTS, function, version, text=text)
                changes[Swap(new, 0.0 if value is None else value.value)] = dealt.most
        return changes

    def changed(self, function: bytes, count: int) -> None:
        """The row of a function is as it was to be, and so many slots may be used."""
        if count:
            self.borrowed[function] = count
        else:
            self.borrowed.pop(function, None)


def short(server: bytes) -> str:
    """What a server is called in a row."""
    return blake2b(server, digest_size=NAME_BYTES).hexdigest()
