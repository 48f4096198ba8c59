"""
Jobs that were made from others: each of the two knows of the other, as long as it is known itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txgear.broker.ended.archive import history_of
from txgear.broker.history import History
from txgear.protocol.textlines import text

if TYPE_CHECKING:
    from txgear.broker.ended.archive import Archive
    from txgear.broker.life.lifecycle import Lifecycle
    from txgear.broker.model import Job
    from txgear.broker.persistence import Persistence
    from txgear.broker.timers import Timers


class Copies:
    """What is noted of them, and kept."""

    __slots__ = ("_archive", "_lifecycle", "_persistence", "_timers")

    def __init__(
        self, archive: Archive, lifecycle: Lifecycle, persistence: Persistence, timers: Timers
    ) -> None:
        self._archive = archive
        self._lifecycle = lifecycle
        self._persistence = persistence
        self._timers = timers

    def link(self, original: Job, copy: Job) -> None:
        """
        A job was submitted in this turn that is made from another.

        @param original: the other, which may have ended meanwhile, and be forgotten.
        @param copy: the new one.
        """
        history = copy.history = copy.history or History()
        history.copy_of = text(original.handle)
        self._update(copy)
        handle = text(copy.handle)
        if not original.ended:
            history = original.history = original.history or History()
            history.add_copy(handle)
            self._update(original)
        elif original.number in self._archive.jobs:
            history = history_of(original)
            history.add_copy(handle)
            self._archive.change(original, history)

    def _update(self, job: Job) -> None:
        begins = self._lifecycle.begins(job)
        self._persistence.update(job, begins and begins - self._timers.offset)
