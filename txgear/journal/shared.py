"""
What holds for all servers of one store: functions that are paused, bounds of queues, sessions that have
ended.

Whoever sets something puts it in force at once, and into the store; the others find it there. Of two who set
the same thing at once the one counts that is written last, at both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from txgear.broker.records import SHARED, StoredValue


class Shared:
    """
    One server's.

    @ivar in_force: what is in force here, by kind and name.
    """

    def __init__(
        self, put: Callable[[StoredValue], None], is_pending: Callable[[tuple[int, bytes]], bool]
    ) -> None:
        """
        @param put: puts a value into the store.
        @param is_pending: whether one of this kind and name is on its way there.
        """
        self.in_force: dict[tuple[int, bytes], StoredValue] = {}
        self._put = put
        self._is_pending = is_pending

    def put(self, value: StoredValue) -> None:
        """This server has set something, which is in force here."""
        if value.kind in SHARED:
            key = value.kind, value.name
            if value.value:
                self.in_force[key] = value
            else:
                self.in_force.pop(key, None)
        self._put(value)

    def found(self, values: Iterable[StoredValue]) -> list[StoredValue]:
        """
        The store was read, and no change of this server's was under way at it.

        @param values: all of L{SHARED}; others are passed over.
        @return: what is to be put in force, with a value of 0.0 where there is none any more. What this
            server has set since stays, as that will be written later than what was read.
        """
        read = {(value.kind, value.name): value for value in values if value.kind in SHARED}
        gone = [
            StoredValue(*key, 0.0) for key in self.in_force.keys() - read.keys() if not self._is_pending(key)
        ]
        changed = [
            value
            for key, value in read.items()
            if value != self.in_force.get(key) and not self._is_pending(key)
        ]
        for value in gone:
            del self.in_force[value.kind, value.name]
        self.in_force.update(((value.kind, value.name), value) for value in changed)
        return [*gone, *changed]
