"""Tests of L{txgear.web.api.pieces}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.packets import Data, Pieces
from txgear.web.api.pieces import MOST_PIECE, pieces


class PieceTests(SynchronousTestCase):
    def test_together_they_are_the_whole(self) -> None:
        wholes: tuple[Data, ...] = (
            b"",
            b"x",
            b"x" * MOST_PIECE,
            b"x" * (MOST_PIECE + 1),
            b"\x80" * (2 * MOST_PIECE + 1),
            Pieces([b"one", b"", b"two" * MOST_PIECE]),
            Pieces([b""]),
        )
        for whole in wholes:
            found = list(pieces(whole))
            self.assertEqual(b"".join(found), bytes(whole))
            self.assertTrue(found)
            self.assertLessEqual(max(map(len, found)), MOST_PIECE)

    def test_no_character_is_cut(self) -> None:
        for character in ("\u00fc", "\u20ac", "\U0001f4a9"):
            for before in range(5):
                whole = b"x" * (MOST_PIECE - before) + character.encode() * 4
                for piece in pieces(whole):
                    piece.decode("utf-8")
