"""
The functions that anything is known of, and what the operator has set for them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from txgear.broker.limits import Throttle
from txgear.broker.model import Function
from txgear.broker.shares import ALONE, Part, part_of
from txgear.broker.statistics import Statistics
from txgear.errors import TOO_MANY_FUNCTIONS, ArgumentTooLarge, InvalidArgument, QueueError
from txgear.policies import CLASSIC, Policies, Policy
from txgear.protocol.constants import MAX_FUNCTION

if TYPE_CHECKING:
    from txgear.broker.model import Job
    from txgear.broker.timers import Timers

MOST_FUNCTIONS: Final = 100_000
"""
Functions that there may be before no new name is taken, whoever brings it: each takes 1.5 kB, and its
name. What the store has at the start is not counted against it.
"""


class Functions:
    """
    @ivar by_name: all of them, in the order in which they became known.
    @ivar policies: what the operator has set.
    @ivar statistics: what has been counted of them.
    @ivar share: this server's of what those of a cluster may do together.
    @ivar borrowed: of functions of which fewer jobs may run at once than there are servers, how many of them
        may here.
    @ivar short: those functions, by name.
    """

    __slots__ = ("_timers", "borrowed", "by_name", "policies", "share", "short", "statistics")

    def __init__(self, timers: Timers) -> None:
        """
        @param timers: has a function whose throttle is to be looked at again.
        """
        self._timers = timers
        self.by_name: dict[bytes, Function] = {}
        self.policies = Policies()
        self.statistics = Statistics()
        self.share = ALONE
        self.borrowed: dict[bytes, int] = {}
        self.short: dict[bytes, Function] = {}

    def get(self, name: bytes, *, bounded: bool = True) -> Function:
        """
        The function of this name; a new one, if there is none.

        @param bounded: whether there may be too many.
        @raise ArgumentTooLarge: the name is too long.
        @raise InvalidArgument: it has a NUL.
        @raise QueueError: there are as many functions as there may be.
        """
        function = self.by_name.get(name)
        if function is None:
            if len(name) > MAX_FUNCTION:
                raise ArgumentTooLarge("Function name too large")
            if b"\0" in name:
                raise InvalidArgument("A function's name holds no NUL")
            if bounded and len(self.by_name) >= MOST_FUNCTIONS:
                text = f"There are {MOST_FUNCTIONS} functions, and no room for another"
                raise QueueError(text, why=TOO_MANY_FUNCTIONS)
            function = self.by_name[name] = Function(name, self.statistics.begin(name))
            if self.policies.rules:
                self.apply_policy(function, 0.0)
                # It has no jobs that would have to leave a ring for that.
                throttle = function.throttle
                function.throttled = throttle is not None and throttle.concurrency == 0
        return function

    def forget_if_unused(self, function: Function) -> None:
        """Nothing is to be known of a function any more, if nothing is lost with it."""
        if not function.unused or self.by_name.get(function.name) is not function:
            return
        throttle = function.throttle
        if throttle is not None and throttle.full > -inf:
            # Who comes back at once is not to find a full bucket: it is forgotten when that is so. Nor
            # is who comes back when the next token is there to find it throttled: that is looked at before.
            if not function.due:
                self._timers.add(function, throttle.full)
        else:
            self._forget(function)

    def _forget(self, function: Function) -> None:
        del self.by_name[function.name]
        self.short.pop(function.name, None)
        self.statistics.end(function.name, function.counts)

    def drop(self, name: bytes, wanted: Callable[[Function], bool] | None = None) -> list[Function] | None:
        """
        Forget the functions of this name, upper and lower case being the same,
        with their settings, unless one has workers or jobs, kept ones included.

        @param wanted: whether one of this name counts; by default each does.
        @return: those that are forgotten; none where one is in use; C{None} if there is none.
        """
        folded = name.lower()
        found = [function for function in self.by_name.values() if function.name.lower() == folded]
        if wanted is not None:
            found = [function for function in found if wanted(function)]
        if not found:
            return None
        if any(function.workers or function.total or function.kept for function in found):
            return []
        for function in found:
            self._timers.discard(function)
            self._forget(function)
        return found

    # What is set for them

    def apply_policy(self, function: Function, now: float) -> None:
        """
        Let what the operator has set for a function hold from now on. A throttle that holds
        nothing back any more stays until L{drop_throttle}.
        """
        policy = function.policy = self.policies.policy_for(function.name)
        function.judge()
        function.arrange_lanes()
        self.short.pop(function.name, None)
        if policy is not None and (policy.concurrency or policy.rate):
            self._limit(function, policy, now)
        elif function.throttle is not None:
            function.throttle.concurrency, function.throttle.borrowed = None, False
            function.throttle.set_rate(None, now)

    def _limit(self, function: Function, policy: Policy, now: float) -> None:
        """Have a throttle as the policy says, for this server's share of it."""
        throttle = self.throttle(function)
        rate, throttle.concurrency, throttle.borrowed = self.part(function.name, policy)
        throttle.set_rate(rate, now)
        if throttle.borrowed:
            self.short[function.name] = function

    def part(self, name: bytes, policy: Policy) -> Part:
        """What this server may do of what the policy of the function of this name allows."""
        return part_of(policy, name, self.share, self.borrowed.get(name, 0))

    def throttle(self, function: Function) -> Throttle:
        """The function's throttle; made if there is none."""
        if function.throttle is None:
            function.throttle = Throttle()
        return function.throttle

    def drop_throttle(self, function: Function) -> bool:
        """
        Have no throttle where nothing may hold a function back any more.

        @return: whether there was one.
        """
        if function.throttle is None or function.throttle.needed:
            return False
        self._timers.discard(function)
        function.throttle = None
        return True

    def policy_of(self, job: Job) -> Policy:
        """What holds for this job: its function's policy, and over that its own settings."""
        policy = job.function.policy or CLASSIC
        return policy if job.history is None else job.history.policy(policy, self.policies)
