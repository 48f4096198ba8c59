"""Tests of L{txgear.broker.states}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker import states
from txgear.broker.states import DEAD, DELAYED, MOVES, NEW, PAGED, QUEUED, RUNNING, STORING, TO_ENDED

TABLES = {
    STORING: states.TO_STORING,
    DELAYED: states.TO_DELAYED,
    QUEUED: states.TO_QUEUED,
    PAGED: states.TO_PAGED,
    RUNNING: states.TO_CLAIMED,
    **TO_ENDED,
}


class MovesTests(SynchronousTestCase):
    def test_each_table_takes_the_moves_that_are_legal_and_no_other(self) -> None:
        for state, following in MOVES.items():
            for target, table in TABLES.items():
                if target in following:
                    self.assertEqual(table[state], target)
                else:
                    self.assertNotIn(state, table)

    def test_every_state_but_the_first_can_be_entered_and_the_last_ones_are_final(self) -> None:
        self.assertEqual({target for following in MOVES.values() for target in following}, set(TABLES))
        self.assertEqual(
            [state for state, following in MOVES.items() if not following], [*TO_ENDED.keys() - {DEAD}]
        )
        self.assertEqual(MOVES[DEAD], (DELAYED, QUEUED, PAGED))
        self.assertEqual(set(MOVES), {NEW, *TABLES})

    def test_only_a_queued_job_can_be_handed_out(self) -> None:
        self.assertEqual(states.TO_RUNNING, {QUEUED: RUNNING})
        self.assertEqual(states.TO_CLAIMED, {QUEUED: RUNNING, PAGED: RUNNING})

    def test_only_a_new_job_is_on_its_way_to_the_disk(self) -> None:
        self.assertEqual(states.TO_STORING, {NEW: STORING})

    def test_every_state_has_a_name(self) -> None:
        self.assertEqual(len(states.STATE_NAMES), len(MOVES))
