"""Tests of L{txgear.cli.top.keys}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.top.keys import MOST_PASTED, Keys

WHOLE: dict[str, list[str]] = {
    "q": ["q"],
    "\x1b[A\x1b[Bx": ["up", "down", "x"],
    "\x1bOH\x1b[5~\x1b[Z": ["home", "page-up", "back-tab"],
    "\x1b\x1b[A": ["escape", "up"],
    "\r\n\t\x7f\x15\x04": ["enter", "enter", "tab", "backspace", "clear", "end-of-input"],
    "é漢": ["é", "漢"],
    "\x00\x01": [],
    # Keys that mean nothing here: with a modifier, a function key, that of a Linux console, with Alt.
    "\x1b[1;5Cq": ["q"],
    "\x1b[15~q": ["q"],
    "\x1b[[Aq": ["q"],
    "\x1bkq": ["q"],
    # What was pasted is one key, whatever is in it.
    "\x1b[200~Ky\r\x1b[A\x1b[201~q": ["paste:Ky\r\x1b[A", "q"],
    "\x1b[200~\x1b[201~": ["paste:"],
}


class KeysTests(SynchronousTestCase):
    def test_keys(self) -> None:
        for sent, wanted in WHOLE.items():
            keys = Keys()
            self.assertEqual(keys.feed(sent.encode()), wanted, ascii(sent))
            self.assertFalse(keys.waits)

    def test_in_pieces(self) -> None:
        """Over a slow line each byte may come by itself."""
        for sent, wanted in WHOLE.items():
            keys = Keys()
            found = [key for byte in sent.encode() for key in keys.feed(bytes([byte]))]
            self.assertEqual(found, wanted, ascii(sent))

    def test_an_escape_alone(self) -> None:
        keys = Keys()
        self.assertEqual((keys.feed(b"\x1b"), keys.waits), ([], True))
        self.assertEqual((keys.flush(), keys.waits), (["escape"], False))

    def test_a_key_that_never_ends(self) -> None:
        """It is none, and what comes later is a key again."""
        for begun in (b"\x1b[", b"\x1bO", b"\x1b[1;", b"\x1b[["):
            keys = Keys()
            self.assertEqual((keys.feed(begun), keys.waits, keys.flush()), ([], True, []), begun)
            self.assertEqual(keys.feed(b"q"), ["q"])

    def test_a_sequence_that_is_none(self) -> None:
        keys = Keys()
        self.assertNotIn("up", keys.feed(b"\x1b[" + b"1" * 100 + b"A"))
        self.assertEqual(keys.feed(b"\x1b[A"), ["up"])

    def test_a_paste_without_end(self) -> None:
        """It takes no memory, and is no keys."""
        keys = Keys()
        for _ in range(100):
            self.assertEqual(keys.feed(b"\x1b[200~" + b"Ky" * 500), [])
            self.assertEqual((keys.waits, keys.flush()), (False, []))
        [pasted] = keys.feed(b"\x1b[201~")
        self.assertEqual(len(pasted), len("paste:") + MOST_PASTED)

    def test_no_utf_8(self) -> None:
        self.assertEqual(Keys().feed(b"\xff\xfea\xc3"), ["a"])
