"""
Tasks of other servers, of which this one does its own part; see L{txgear.server.sharedtasks}.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from txgear.broker.model import Peer
from txgear.broker.operators.bulkacts import BulkAct
from txgear.errors import ServerError
from txgear.protocol import textlines
from txgear.server import sharedtasks, tasks
from txgear.server.jobserver import JobServer


class CarriedTasks:
    """
    One server's.
    """

    def __init__(self, server: JobServer) -> None:
        self._server = server
        # By the names that they have at all servers.
        self._tasks: dict[str, BulkAct] = {}

    def carry_out(self, peer: Peer, parts: Sequence[bytes]) -> bytes:
        """
        Begin one, look at it, or stop it.

        @param peer: a visitor, in whose name it is begun.
        @return: how far it is.
        @raise ServerError: it cannot be begun; or another server was asked, whose jobs are ours by now.
        """
        asked, now = json.loads(parts[0]), self._server.seconds()
        name, bulk_acts = asked["name"], self._server.bulk_acts
        if asked["to"] != self._own_key():
            raise _gone()
        known = {name: task for name, task in self._tasks.items() if bulk_acts.find(task.number, now) is task}
        self._tasks = known
        if asked["do"] == sharedtasks.BEGIN:
            known[name] = self._begin(peer, *parts[1:])
        elif name not in known:
            raise _gone()
        elif asked["do"] == sharedtasks.STOP:
            bulk_acts.stop(known[name], now)
        return sharedtasks.told(known[name])

    def _begin(self, peer: Peer, head: bytes, words: bytes, function: bytes) -> BulkAct:
        order = json.loads(head)
        return tasks.start(
            self._server,
            peer,
            order["act"],
            order["of"],
            textlines.pairs(words.split(b" ")),
            order["priority"],
            function,
            order["preview"],
        )

    def _own_key(self) -> str:
        cluster = self._server.cluster
        return next((each.key for each in cluster.servers() if each.is_ours), "") if cluster else ""


def _gone() -> ServerError:
    return ServerError("it has ended, and another server has its jobs: do it again", sharedtasks.GONE)
