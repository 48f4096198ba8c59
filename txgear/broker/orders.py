"""
Orders: what one server asks of another one by the store that both have, and what comes back.

An order has one of three states: nobody has looked at it, the owner of its part has begun, it is answered.
Who has asked for it may withdraw it as long as nobody has begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType
from typing import Final, NamedTuple

from txgear.broker.records import JobRecord

NO_RESULTS: Final[Mapping[int, bytes]] = MappingProxyType({})


class Order(NamedTuple):
    """
    Something that the owner of a part is asked to do.

    @ivar number: random, 0 to 2**63 - 1.
    @ivar part: the part.
    @ivar asked: what it is; see L{txgear.cluster.letters}.
    """

    number: int
    part: int
    asked: bytes


class Sighting(NamedTuple):
    """
    A job as its row is, whosever it is.

    @ivar record: the row.
    @ivar part: the number of its part; 0 where nobody has made one for it.
    @ivar is_ours: whether that is ours.
    """

    record: JobRecord
    part: int
    is_ours: bool


class Post(NamedTuple):
    """
    What a server has to ask, all at once.

    @ivar numbers: numbers of jobs that it wants to see.
    @ivar uniques: uniques of jobs that it wants to see.
    @ivar new: orders that it gives.
    @ivar over: numbers of orders that nobody asks for any more: begun or not, they are deleted.
    @ivar withdrawn: numbers of orders that are not to be carried out, if nobody has begun.
    @ivar waiting: numbers of orders whose answers it waits for.
    @ivar results: numbers of jobs whose results it wants to read.
    """

    numbers: Sequence[int] = ()
    uniques: Sequence[bytes] = ()
    new: Sequence[Order] = ()
    over: Sequence[int] = ()
    withdrawn: Sequence[int] = ()
    waiting: Sequence[int] = ()
    results: Sequence[int] = ()


class Mail(NamedTuple):
    """
    What comes back.

    @ivar jobs: those of L{Post.numbers} and L{Post.uniques} that have a row. Of those that have a unique: all
        that have not ended, and the last ones of those that have.
    @ivar answers: those of L{Post.waiting} that are there, by number; some of them, where they are large.
    @ivar withdrawn: those of L{Post.withdrawn} that nobody will ever carry out.
    @ivar results: those of L{Post.results} that are kept and not empty, by number.
    """

    jobs: Sequence[Sighting]
    answers: Mapping[int, bytes]
    withdrawn: Set[int]
    results: Mapping[int, bytes] = NO_RESULTS


class Orders(NamedTuple):
    """
    What a server is to carry out.

    @ivar orders: what it has not heard of before; they have begun by this.
    @ivar open: the numbers of all that are for its parts and not answered yet. One that was, and is not among
        them any more, nobody asks for.
    """

    orders: Sequence[Order]
    open: Set[int]
