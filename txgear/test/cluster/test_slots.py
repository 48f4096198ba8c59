"""Tests of L{txgear.cluster.slots}."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import SLOTS, StoredValue, Swap
from txgear.cluster.slots import (
    AT_ONCE,
    IDLE_SECONDS,
    LONGEST,
    TURN_SECONDS,
    Dealt,
    Row,
    Slots,
    Want,
    deal,
    read,
    short,
    written,
)

ALL = {"a", "b", "c"}
BUSY = Want(1, 1, 1)
READY = Want(1, 0, 1)
IDLE = Want(1, 0, 0)


class RowTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for row in (Row({}), Row({"a": 1}), Row({"a": 1, "b": 2}, ("d", "c")), Row({}, ("c",))):
            self.assertEqual(read(written(row)), row)

    def test_what_makes_no_sense(self) -> None:
        self.assertEqual(read("a=x b=-1 c=\u00b3 d=1 e"), Row({"d": 1}, ("e",)))


class DealTests(SynchronousTestCase):
    def deal(self, row: Row, want: Want, *, is_over: bool = False, is_idle: bool = False) -> Dealt:
        """What C{a} makes of it."""
        return deal(row, "a", ALL, want, is_over=is_over, is_idle=is_idle)

    def test_free(self) -> None:
        self.assertEqual(self.deal(Row({}), READY), Dealt(Row({"a": 1}), 0, 1))
        self.assertEqual(self.deal(Row({}), Want(2, 0, 2)), Dealt(Row({"a": 2}), 0, 2))
        self.assertEqual(self.deal(Row({"b": 1}), Want(2, 0, 2)), Dealt(Row({"a": 1, "b": 1}), 0, 1))
        self.assertEqual(self.deal(Row({}), IDLE), Dealt(Row({}), 0, 0))

    def test_taken(self) -> None:
        self.assertEqual(self.deal(Row({"b": 1}), READY), Dealt(Row({"b": 1}, ("a",)), 0, 0))
        row = Row({"b": 1}, ("a",))
        self.assertEqual(self.deal(row, READY), Dealt(row, 0, 0))
        self.assertEqual(self.deal(row, IDLE), Dealt(Row({"b": 1}), 0, 0))

    def test_behind_others(self) -> None:
        row = Row({"c": 1}, ("b",))
        self.assertEqual(self.deal(row, READY), Dealt(Row({"c": 1}, ("b", "a")), 0, 0))

    def test_the_dead(self) -> None:
        """Whoever looks gives what they had to who waits."""
        row = Row({"x": 1}, ("y", "b", "a"))
        self.assertEqual(self.deal(row, READY), Dealt(Row({"b": 1}, ("a",)), 0, 0))
        self.assertEqual(self.deal(Row({"x": 1}, ("b",)), IDLE), Dealt(Row({"b": 1}), 0, 0))
        self.assertEqual(self.deal(Row({"x": 1}), IDLE), Dealt(Row({}), 0, 0))

    def test_its_turn(self) -> None:
        row = Row({"a": 1}, ("b",))
        self.assertEqual(self.deal(row, READY), Dealt(row, 1, 1))
        self.assertEqual(self.deal(row, BUSY), Dealt(row, 1, 1))

    def test_its_turn_is_over(self) -> None:
        row = Row({"a": 1}, ("b",))
        self.assertEqual(self.deal(row, READY, is_over=True), Dealt(Row({"b": 1}, ("a",)), 0, 0))
        # What runs is waited for, and nothing more starts.
        self.assertEqual(self.deal(row, BUSY, is_over=True), Dealt(row, 0, 0))
        self.assertEqual(self.deal(Row({"a": 1}), BUSY, is_over=True), Dealt(Row({"a": 1}), 1, 1))

    def test_nothing_to_do(self) -> None:
        self.assertEqual(self.deal(Row({"a": 1}, ("b",)), IDLE), Dealt(Row({"b": 1}), 0, 0))
        self.assertEqual(self.deal(Row({"a": 1}), IDLE), Dealt(Row({"a": 1}), 1, 1))
        self.assertEqual(self.deal(Row({"a": 1}), IDLE, is_idle=True), Dealt(Row({}), 0, 0))
        self.assertEqual(self.deal(Row({"a": 1}), READY, is_idle=True), Dealt(Row({"a": 1}), 1, 1))

    def test_several(self) -> None:
        """Who has more than one gives at once."""
        row = Row({"a": 2}, ("b",))
        self.assertEqual(self.deal(row, Want(2, 1, 2)), Dealt(Row({"a": 1, "b": 1}), 1, 1))
        self.assertEqual(self.deal(row, Want(2, 2, 2)), Dealt(row, 1, 1))
        row = Row({"a": 2}, ("b", "c"))
        self.assertEqual(self.deal(row, Want(2, 0, 2)), Dealt(Row({"a": 1, "b": 1}, ("c",)), 1, 1))
        over = self.deal(row, Want(2, 0, 2), is_over=True)
        self.assertEqual(over, Dealt(Row({"b": 1, "c": 1}, ("a",)), 0, 0))

    def test_enough_for_all(self) -> None:
        """Nothing is given away where there is another one."""
        row = Row({"a": 1}, ("b",))
        self.assertEqual(self.deal(row, Want(2, 1, 1), is_over=True), Dealt(Row({"a": 1, "b": 1}), 1, 1))

    def test_not_wanted_any_more(self) -> None:
        """There are as many as servers, or more: each has its own."""
        nothing = Want(0, 0, 0)
        self.assertEqual(self.deal(Row({"a": 1, "b": 1}), nothing), Dealt(Row({"b": 1}), 0, 0))
        self.assertEqual(self.deal(Row({"b": 1}, ("a",)), nothing), Dealt(Row({"b": 1}), 0, 0))


class SlotsTests(SynchronousTestCase):
    """One server's."""

    def setUp(self) -> None:
        self.slots = Slots(lambda: 0.5)
        self.ids = [bytes([number]) * 16 for number in range(3)]
        self.names = [short(server) for server in self.ids]

    def look(self, text: str, want: Want, now: float = 0.0) -> list[tuple[str, int]]:
        rows = {b"f": StoredValue(SLOTS, b"f", 7.0, text=text)} if text else {}
        changes = self.slots.look(rows, {b"f": want}, self.ids[0], self.ids, now)
        for swap in changes:
            self.assertEqual(swap.before, 7.0 if text else 0.0)
            self.assertEqual(bool(swap.value.value), bool(swap.value.text))
            self.assertNotEqual(swap.value.value, swap.before)
        return [(swap.value.text, count) for swap, count in changes.items()]

    def test_taken_and_given_back(self) -> None:
        me = self.names[0]
        self.assertEqual(self.look("", READY), [(f"{me}=1", 1)])
        self.assertEqual(self.slots.borrowed, {})
        self.slots.changed(b"f", 1)
        self.assertEqual(self.slots.borrowed, {b"f": 1})
        self.assertEqual(self.look(f"{me}=1", BUSY), [])
        self.assertEqual(self.slots.borrowed, {b"f": 1})
        self.assertEqual(self.look(f"{me}=1", IDLE, IDLE_SECONDS - 0.1), [])
        self.assertEqual(self.look(f"{me}=1", IDLE, IDLE_SECONDS), [("", 0)])
        self.slots.changed(b"f", 0)
        self.assertEqual(self.slots.borrowed, {})

    def test_turns(self) -> None:
        me, other, _ = self.names
        self.look(f"{me}=1", BUSY, 100.0)
        self.assertEqual(self.look(f"{me}=1 {other}", READY, 99.9 + TURN_SECONDS), [])
        text = f"{other}=1 {me}"
        self.assertEqual(self.look(f"{me}=1 {other}", READY, 100.0 + TURN_SECONDS), [(text, 0)])
        self.assertEqual(self.slots.borrowed, {})
        self.assertEqual(self.look(text, READY, 200.0), [])
        # The next turn begins when it has come.
        self.assertEqual(self.look(f"{me}=1 {other}", READY, 300.0), [])
        self.assertEqual(self.slots.borrowed, {b"f": 1})

    def test_idle_before(self) -> None:
        """What was used long ago is not given back at once when it is borrowed again."""
        me = self.names[0]
        self.look(f"{me}=1", BUSY, 0.0)
        self.look("", IDLE, 1.0)
        self.assertEqual(self.look(f"{me}=1", IDLE, 100.0), [])

    def test_unknown_functions(self) -> None:
        """Of others it gives back what it has."""
        me = self.names[0]
        rows = {b"g": StoredValue(SLOTS, b"g", 7.0, text=f"{me}=1")}
        self.assertEqual(
            self.slots.look(rows, {}, self.ids[0], self.ids, 0.0),
            {Swap(StoredValue(SLOTS, b"g", 0.0), 7.0): 0},
        )

    def test_bounds(self) -> None:
        wants = {b"f%d" % number: READY for number in range(AT_ONCE + 10)}
        self.assertEqual(len(self.slots.look({}, wants, self.ids[0], self.ids, 0.0)), AT_ONCE)
        ids = [number.to_bytes(16, "little") for number in range(1, 130)]
        text = " ".join([f"{short(ids[0])}=1", *(short(server) for server in ids[1:-1])])
        self.assertGreater(len(text), LONGEST)
        rows = {b"f": StoredValue(SLOTS, b"f", 7.0, text=text)}
        self.assertEqual(self.slots.look(rows, {b"f": READY}, ids[-1], ids, 0.0), {})


class Server:
    """One of several, with jobs that take their time."""

    def __init__(self, name: int, random: Random) -> None:
        self.id = name.to_bytes(4, "little") * 4
        self.slots = Slots(random.random)
        self.running: list[float] = []
        self.queued = self.begun = 0


class TogetherTests(SynchronousTestCase):
    """Several servers over one table."""

    def run_together(
        self, seed: int, most: int, servers: int, seconds: int, deaths: float = 0.0
    ) -> list[Server]:
        """
        Each looks when it comes to it, and what it wants to change is written later; it may not hear of that.
        """
        random = Random(seed)
        living = [Server(number + 1, random) for number in range(servers)]
        everybody = list(living)
        table: dict[bytes, StoredValue] = {}
        under_way: list[tuple[Server, Swap, int, bool]] = []
        for tick in range(10 * seconds):
            now = tick / 10
            if random.random() < deaths and len(living) > most + 1:
                living.pop(random.randrange(len(living))).running.clear()
            for server in living:
                server.running = [end for end in server.running if end > now]
                if random.random() < 0.05:
                    server.queued += random.choice((0, 1, 3))
                while server.queued and len(server.running) < server.slots.borrowed.get(b"f", 0):
                    server.queued -= 1
                    server.begun += 1
                    server.running.append(now + random.choice((0.1, 0.5, 3.0)))
            for server in random.sample(living, 1):
                still = [each for each in under_way if each[0] is not server]
                for _, swap, count, is_heard in (each for each in under_way if each[0] is server):
                    there = table.get(b"f")
                    if (0.0 if there is None else there.value) == swap.before:
                        table.pop(b"f", None)
                        if swap.value.value:
                            table[b"f"] = swap.value
                        if is_heard:
                            server.slots.changed(b"f", count)
                under_way = still
                running = len(server.running)
                want = Want(most, running, min(running + server.queued, most))
                changes = server.slots.look(table, {b"f": want}, server.id, [each.id for each in living], now)
                for swap, count in changes.items():
                    under_way.append((server, swap, count, random.random() < 0.9))
            self.assertLessEqual(sum(len(server.running) for server in living), most)
            held = sum(read(table[b"f"].text).held.values()) if table else 0
            self.assertLessEqual(held, most)
        return everybody

    def test_never_more(self) -> None:
        for seed in range(12):
            self.run_together(seed, most=1 + seed % 2, servers=3 + seed % 3, seconds=120, deaths=0.002)

    def test_nobody_starves(self) -> None:
        for most in (1, 2):
            for server in self.run_together(99, most, servers=most + 2, seconds=600):
                self.assertGreater(server.begun, 10)
