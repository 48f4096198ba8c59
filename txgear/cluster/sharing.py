"""
What servers of one store have in common: what is set while they run holds at all of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from txgear.broker.records import LIMITED, PAUSED, StoredValue
from txgear.journal.journal import Journal
from txgear.server.jobserver import JobServer


class Sharing:
    """
    One server's.
    """

    def __init__(self, server: JobServer, journal: Journal) -> None:
        """
        @param journal: the server's, whose store others have as well.
        """
        assert journal.shared is not None
        self._server = server
        self._shared = journal.shared

    def looked(self, values: Iterable[StoredValue]) -> None:
        """
        The values that hold for all were read: put those in force that others have set.
        """
        server = self._server
        for value in self._shared.found(values):
            if value.kind in (PAUSED, LIMITED):
                server.broker.operations.put_in_force(value, server.seconds())
            else:
                server.hear(value)
