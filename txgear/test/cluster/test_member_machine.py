"""A property of L{txgear.cluster.member}: no server hands out what another one has."""

from __future__ import annotations

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.constants import CAN_DO, GRAB_JOB, JOB_ASSIGN, WORK_COMPLETE
from txgear.protocol.packets import request, response
from txgear.test.support.cluster import Node, World
from txgear.test.support.extras import (
    RuleBasedStateMachine,
    needs,
    rule,
    run_machine,
    st,
)
from txgear.test.support.server import FakePeer, submit

WHICH = st.integers(0, 2)
ASSIGNED = response(JOB_ASSIGN, b"")[:8]
FAULTS = ("take", "reserve", "leases", "renew", "write", "open")


class ClusterMachine(RuleBasedStateMachine):
    """
    Three servers. They are stopped, cut off, slow, unlucky and killed, each as often as one likes. Another
    comes in place of one that is dead, or has found out that its part is another's.

    @ivar answered: numbers of jobs whose submits were answered, and that have not ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.nodes = [self.world.join(f"server {number}") for number in range(3)]
        self.workers: dict[Node, FakePeer] = {}
        self.clients: list[FakePeer] = []
        self.answered: set[int] = set()
        self.ended: set[int] = set()
        self.world.run(2)

    def worker(self, node: Node) -> FakePeer:
        if node not in self.workers:
            self.workers[node] = node.connect()
            self.workers[node].tell(request(CAN_DO, b"f"))
        return self.workers[node]

    def hear(self) -> None:
        """The answers to submits."""
        for client in self.clients:
            for part in client.heard().split(b"H:test:")[1:]:
                self.answered.add(int(part.split(b"\0")[0]))

    @rule(
        seconds=st.sampled_from([0.1, 0.5, 1.0, 3.0, 7.0, 8.0, 12.0]), chance=st.sampled_from([0.0, 0.5, 1.0])
    )
    def wait(self, seconds: float, chance: float) -> None:
        self.world.chance = chance
        with capturedLogs():
            self.world.run(seconds, 0.1)
        self.hear()
        for place, node in enumerate(self.nodes):
            if node.is_gone or (node.taken and not node.is_frozen):
                node.kill()
                self.nodes[place] = self.world.join("another")

    @rule(which=WHICH)
    def submit(self, which: int) -> None:
        node = self.nodes[which]
        if not node.is_frozen:
            client = node.connect()
            self.clients.append(client)
            client.tell(submit())

    @rule(which=WHICH, timers=st.booleans())
    def grab(self, which: int, timers: bool) -> None:
        """A worker asks, also as the first thing that a process hears which was stopped."""
        node = self.nodes[which]
        if node.is_gone:
            return
        if node.is_frozen:
            node.thaw(timers=timers)
        heard = self.worker(node).ask(request(GRAB_JOB))
        if heard[:4] == ASSIGNED[:4] and heard[4:8] == ASSIGNED[4:8]:
            number = int(heard[12:].split(b"\0")[0].rpartition(b":")[2])
            (row,) = [row for row in self.world.database.leases.values() if number in row]
            assert row.owner == node.store.owner, f"{number} is another's"
            self.worker(node).tell(request(WORK_COMPLETE, b"H:test:%d" % number, b""))
            self.ended.add(number)

    @rule(which=WHICH)
    def freeze(self, which: int) -> None:
        self.nodes[which].freeze()

    @rule(which=WHICH, seconds=st.sampled_from([6.0, 8.5, 12.0]), timers=st.booleans())
    def be_away(self, which: int, seconds: float, timers: bool) -> None:
        """A server has something to hand out, and is stopped before."""
        self.submit(which)
        self.wait(0.5, 0.5)
        self.freeze(which)
        self.wait(seconds, 0.0)
        self.grab(which, timers)

    @rule(which=WHICH)
    def kill(self, which: int) -> None:
        self.nodes[which].kill()

    @rule(which=WHICH, is_cut=st.booleans())
    def cut(self, which: int, is_cut: bool) -> None:
        self.nodes[which].store.is_cut = is_cut

    @rule(which=WHICH, fault=st.sampled_from(FAULTS))
    def fault(self, which: int, fault: str) -> None:
        self.nodes[which].store.faults.append(fault)

    @rule(which=WHICH, done=st.sampled_from([0.0, 0.3, 1.5]), heard=st.sampled_from([0.0, 0.3, 4.0]))
    def slow(self, which: int, done: float, heard: float) -> None:
        thread = self.nodes[which].thread
        thread.until_done, thread.until_heard = done, heard

    def teardown(self) -> None:
        """None is lost: whoever is left has all in the end."""
        for node in self.nodes:
            node.store.is_cut = False
            node.store.faults.clear()
            node.thread.until_done = node.thread.until_heard = 0.0
            if node.is_frozen and not node.is_gone:
                node.thaw()
        for _ in range(4):
            self.wait(12.0, 0.5)
        missing = self.answered - self.ended - self.world.database.kept.keys()
        assert not missing, f"{missing} are lost"
        living = {node.store.owner for node in self.nodes}
        for row in self.world.database.leases.values():
            assert row.owner in living, f"part {row.part} is {row.name}'s"
        for node in self.nodes:
            ours = [row for row in self.world.database.leases.values() if row.owner == node.store.owner]
            kept = [number for number in self.world.database.kept if any(number in row for row in ours)]
            assert len(node.server.broker.table) == len(kept), (node.store.name, kept)


@needs("hypothesis")
class MachineTests(SynchronousTestCase):
    def test_no_two_hand_out_the_same(self) -> None:
        run_machine(ClusterMachine, examples=30, steps=30)
