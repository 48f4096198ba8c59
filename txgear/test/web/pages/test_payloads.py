"""Tests of L{txgear.web.pages.payloads}, C{payloadtree}, C{payloadjson} and C{payloadphp}."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.operators.inspection import MOST_SHOWN
from txgear.protocol.packets import Pieces
from txgear.test.support.extras import PROPERTY, given, st
from txgear.web.pages import payloadjson, payloadphp
from txgear.web.pages.payloads import FORMS, MOST_HEX, Form, Shown, head, show
from txgear.web.pages.payloadtree import MOST_DEPTH, MOST_MARKS, MOST_NODES, Node, Unlike, decoded, visible

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def seen(markup: str) -> str:
    """What is read of it."""
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def shown(raw: bytes, form: Form | None = None, size: int | None = None) -> Shown:
    return show(raw, len(raw) if size is None else size, form)


def plain(node: Node | None) -> Any:
    """A tree as Python has it: pairs for what has keys, text for what has none."""
    assert node is not None
    if node.children is None:
        return node.text
    if node.kind == "array" and all(child.key is None for child in node.children):
        return [plain(child) for child in node.children]
    return [(child.key, plain(child)) for child in node.children]


def as_written(value: Any) -> Any:
    """The same of what JSON was made of."""
    if isinstance(value, dict):
        return [(key, as_written(each)) for key, each in value.items()]
    if isinstance(value, list):
        return [as_written(each) for each in value]
    return value if isinstance(value, str) else json.dumps(value)


def serialized(value: Any) -> bytes:
    """As PHP does it."""
    if value is None:
        return b"N;"
    if isinstance(value, bool):
        return b"b:%d;" % value
    if isinstance(value, int):
        return b"i:%d;" % value
    if isinstance(value, float):
        return f"d:{value!r};".replace("inf", "INF").encode()
    if isinstance(value, bytes):
        return b's:%d:"%s";' % (len(value), value)
    pairs = b"".join(serialized(key) + serialized(each) for key, each in value.items())
    return b"a:%d:{%s}" % (len(value), pairs)


PHP = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.binary(),
    lambda inner: st.dictionaries(st.integers(-(2**63), 2**63 - 1) | st.binary(), inner),
    max_leaves=20,
)


class VisibleTests(SynchronousTestCase):
    def test_what_has_no_shape(self) -> None:
        for raw, escaped in (
            (b"\x00", "\\x00"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"\r\n", "\\r\n"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u202eabc\u2066".encode(), "\\u202eabc\\u2066"),
            ("\ufeff".encode(), "\\ufeff"),
            ("\U000e0041".encode(), "\\U000e0041"),
            ("\x85".encode(), "\\x85"),
            ("a\tb\nc \u00e4\U0001f600".encode(), "a\tb\nc \u00e4\U0001f600"),
        ):
            self.assertEqual(seen(visible(decoded(raw))), escaped)

    def test_markup(self) -> None:
        self.assertEqual(visible("<b>&\"'\x01"), '&lt;b&gt;&amp;&#34;&#39;<span class="odd">\\x01</span>')

    def test_so_many_marks(self) -> None:
        found = visible("a\x00" * (MOST_MARKS + 5))
        self.assertEqual(found.count("<span"), MOST_MARKS)
        self.assertEqual(seen(found), "a\\x00" * (MOST_MARKS + 5))

    @PROPERTY
    @given(st.binary(max_size=200))
    def test_any_bytes(self, raw: bytes) -> None:
        found = seen(visible(decoded(raw)))
        self.assertNotRegex(found, "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


class JsonTests(SynchronousTestCase):
    @PROPERTY
    @given(JSON)
    def test_any(self, value: Any) -> None:
        written = json.dumps(value)
        tree = payloadjson.parse(written)
        if tree.whole:
            self.assertEqual(plain(tree.root), as_written(value))
        payloadjson.parse(json.dumps(value, indent=1, ensure_ascii=True))

    @PROPERTY
    @given(JSON, st.integers(0, 100))
    def test_any_that_is_cut(self, value: Any, end: int) -> None:
        """What is there is shown, or it is too little to say."""
        try:
            tree = payloadjson.parse(json.dumps(value)[:end], cut=True)
        except Unlike:
            return
        self.assertFalse(tree.whole)
        tree.html()

    @PROPERTY
    @given(st.text(alphabet='[]{}",:0123456789.-+eEtrufalsn\\ \n\x00'))
    def test_what_python_reads_too(self, text: str) -> None:
        try:
            json.loads(text, parse_constant=lambda word: 1 / 0)
            expected = True
        except (ValueError, ZeroDivisionError):
            expected = False
        try:
            payloadjson.parse(text)
            found = True
        except Unlike:
            found = False
        self.assertEqual(found, expected)

    def test_as_it_was_written(self) -> None:
        tree = payloadjson.parse('{"a": 1.50, "a": 12345678901234567890123, "b": 1E400}')
        self.assertEqual(plain(tree.root), [("a", "1.50"), ("a", "12345678901234567890123"), ("b", "1E400")])

    def test_how_deep(self) -> None:
        tree = payloadjson.parse("[" * 5000 + "]" * 5000)
        self.assertFalse(tree.whole)
        self.assertEqual(tree.html().count("<details"), MOST_DEPTH + 1)

    def test_how_much(self) -> None:
        tree = payloadjson.parse(json.dumps(list(range(5000))))
        assert tree.root is not None
        assert tree.root.children is not None
        self.assertEqual((tree.whole, len(tree.root.children)), (False, MOST_NODES - 1))

    def test_what_is_wrong(self) -> None:
        for text, at in (
            ("", 0),
            ("{1", 1),
            ('{"a" 1', 5),
            ("[1 2", 3),
            ('"\n"', 1),
            ("[1] 2", 4),
            ("nul", 0),
        ):
            error = self.assertRaises(Unlike, payloadjson.parse, text)
            self.assertEqual(error.at, at, text)

    def test_a_string_that_is_cut(self) -> None:
        tree = payloadjson.parse('{"a": "beginning of a long one', cut=True)
        self.assertEqual(plain(tree.root), [("a", "beginning of a long one")])


class PhpTests(SynchronousTestCase):
    @PROPERTY
    @given(PHP)
    def test_any(self, value: Any) -> None:
        tree = payloadphp.parse(serialized(value))
        self.assertTrue(tree.whole)
        tree.html()

    @PROPERTY
    @given(st.binary(max_size=60))
    def test_any_bytes(self, raw: bytes) -> None:
        for cut in (False, True):
            try:
                payloadphp.parse(raw, cut).html()
            except Unlike:
                continue

    @PROPERTY
    @given(PHP, st.integers(0, 100))
    def test_any_that_is_cut(self, value: Any, end: int) -> None:
        raw = serialized(value)
        if end < len(raw):
            self.assertRaises(Unlike, payloadphp.parse, raw[:end])
        try:
            tree = payloadphp.parse(raw[:end], cut=True)
        except Unlike:
            return
        self.assertFalse(tree.whole)

    def test_every_type(self) -> None:
        for raw, expected in (
            (b"N;", "null"),
            (b"b:1;", "true"),
            (b"b:0;", "false"),
            (b"i:-5;", "-5"),
            (b"d:0.10000000000000001;", "0.10000000000000001"),
            (b"d:1.0E+25;", "1.0E+25"),
            (b"d:-INF;", "-INF"),
            (b"d:NAN;", "NAN"),
            (b's:5:"a"b\0c";', 'a"b\0c'),
            (b'S:3:"a\\00c";', "a\0c"),
            (b'E:10:"Suit:Heart";'.replace(b"10", b"10"), "enum Suit:Heart"),
            (b"a:0:{}", []),
            (b'a:2:{i:0;i:1;s:1:"k";N;}', [("0", "1"), ("k", "null")]),
            (b'O:8:"stdClass":1:{s:1:"a";i:1;}', [("a", "1")]),
            (b'C:3:"Set":4:{a:0}}', ["a:0}"]),
        ):
            node = payloadphp.parse(raw).root
            found = plain(node)
            if raw.startswith(b"C"):
                assert node is not None
                self.assertEqual(([text for _, text in found], node.text), (expected, "Set"))
            else:
                self.assertEqual(found, expected, raw)

    def test_whose_members_are_whose(self) -> None:
        raw = b'O:1:"A":3:{s:4:"\0*\0b";i:1;s:4:"\0A\0c";i:2;s:1:"d";i:3;}'
        root = payloadphp.parse(raw).root
        assert root is not None
        assert root.children is not None
        self.assertEqual(
            [(child.key, child.about) for child in root.children],
            [("b", "protected"), ("c", "private of A"), ("d", "")],
        )
        self.assertIn("private of A", seen(payloadphp.parse(raw).html()))

    def test_references(self) -> None:
        raw = b'a:3:{s:1:"a";O:1:"A":0:{}s:1:"b";R:2;s:1:"c";r:2;}'
        self.assertEqual(
            plain(payloadphp.parse(raw).root),
            [("a", []), ("b", "reference to [a]"), ("c", "the same object as [a]")],
        )
        own = payloadphp.parse(b'O:1:"A":1:{s:1:"a";r:1;}').root
        self.assertEqual(plain(own), [("a", "the same object as the whole")])

    def test_many_references_through_a_long_key(self) -> None:
        """What is shown of it is about as long as it is itself."""
        key = b"k" * 40_000
        references = b"".join(b"i:%d;R:3;" % number for number in range(1, 900))
        raw = b'a:1:{s:%d:"%s";a:900:{i:0;i:1;%s}}' % (len(key), key, references)
        shown = show(raw, len(raw), None)
        self.assertEqual((shown.form, shown.is_whole), ("php", True))
        self.assertLess(len(shown.html), 5 * len(raw))
        self.assertIn(
            f"reference to [{'k' * (payloadphp.MOST_KEY - 1)}\N{HORIZONTAL ELLIPSIS}][0]", shown.html
        )

    def test_what_php_would_not_have_made(self) -> None:
        for raw in (
            b"",
            b"x",
            b"i:1",
            b"i:;",
            b"b:2;",
            b"d:1.2.3;",
            b's:3:"ab";',
            b's:1:"ab";',
            b's:99999999999:"a";',
            b"a:1:{}",
            b"a:1:{i:0;N;",
            b"a:1:{N;N;}",
            b"a:1:{d:1.5;N;}",
            b"a:-1:{}",
            b"a:9999999999:{i:0;N;}",
            b"R:1;",
            b"a:1:{i:0;R:3;}",
            b"a:1:{i:0;r:0;}",
            b"N;N;",
            b'S:1:"\\0";',
            b'S:5:"ab',
            b'O:1:"A":1:{s:1:"a";}',
        ):
            self.assertRaises(Unlike, payloadphp.parse, raw)

    def test_how_deep_and_how_much(self) -> None:
        deep = b"a:1:{i:0;" * 3000 + b"N;" + b"}" * 3000
        self.assertFalse(payloadphp.parse(deep).whole)
        many = b"a:5000:{" + b"".join(b"i:%d;N;" % number for number in range(5000)) + b"}"
        tree = payloadphp.parse(many)
        self.assertEqual((tree.whole, tree.html().count("<li>")), (False, MOST_NODES))

    def test_a_string_that_is_cut(self) -> None:
        root = payloadphp.parse(b'a:2:{s:1:"a";s:70000:"xyz', cut=True).root
        self.assertEqual(plain(root), [("a", "xyz")])
        root = payloadphp.parse(b'S:70000:"xyz', cut=True).root
        self.assertEqual(plain(root), "xyz")
        root = payloadphp.parse(b'C:1:"A":70000:{xyz', cut=True).root
        self.assertEqual([text for _, text in plain(root)], ["xyz"])


class ShowTests(SynchronousTestCase):
    def test_the_form_that_suits_it(self) -> None:
        for raw, form in (
            (b"", "text"),
            (b"to: a@b.example\n", "text"),
            ("grüß dich".encode(), "text"),
            (b'{"a": 1}', "json"),
            (b" [1]\n", "json"),
            (b"42", "text"),
            (b'"a"', "text"),
            (b"i:5;", "php"),
            (b'O:8:"stdClass":0:{}', "php"),
            (b"\x89PNG\r\n\x1a\n\0\0", "hex"),
            (b"\xff\xfe\xfd", "hex"),
            (b"caf\xe9, and a long text in Latin-1 with little else", "text"),
            (b"\x1b[31mred\x1b[0m", "text"),
        ):
            found = shown(raw)
            self.assertEqual((found.form, found.is_whole, found.why), (form, True, ""), raw)

    def test_the_form_that_is_asked_for(self) -> None:
        for form in FORMS:
            found = shown(b'{"a": 1}', form)
            self.assertEqual(
                (found.form, bool(found.why)), ("text" if form == "php" else form, form == "php")
            )
        found = shown(b"\0\xff", "json")
        self.assertEqual(found.form, "hex")
        self.assertEqual(found.why, "This is no JSON: the text is no UTF-8, at byte 1.")
        self.assertTrue(shown('["ä" x'.encode(), "json").why.endswith("at byte 6."))

    def test_byte_by_byte(self) -> None:
        text = seen(shown(bytes(range(0x41, 0x53)), "hex").html)
        self.assertEqual(
            text,
            "\n00000000  41 42 43 44 45 46 47 48  49 4a 4b 4c 4d 4e 4f 50  ABCDEFGHIJKLMNOP\n"
            "00000010  51 52                                             QR",
        )
        found = shown(b"\0" * (MOST_HEX + 1), "hex")
        self.assertEqual((found.shown, found.is_whole, found.html.count("\n")), (MOST_HEX, False, 1024))

    def test_what_is_cut(self) -> None:
        """Within a character, too."""
        text = ("ä" * MOST_SHOWN).encode()[: MOST_SHOWN - 1]
        found = shown(text, size=10**6)
        self.assertEqual((found.form, found.shown, found.is_whole), ("text", MOST_SHOWN - 1, False))
        self.assertNotIn("odd", found.html)
        beginning = json.dumps({"a": "ä" * MOST_SHOWN}, ensure_ascii=False).encode()[: MOST_SHOWN - 1]
        found = shown(beginning, size=10**6)
        self.assertEqual((found.form, found.is_whole), ("json", False))

    @PROPERTY
    @given(st.binary(max_size=300), st.sampled_from([None, *FORMS]), st.integers(0, 5))
    def test_any_bytes(self, raw: bytes, form: Form | None, more: int) -> None:
        found = shown(raw, form, len(raw) + more)
        self.assertNotRegex(found.html, "[\x00-\x08\x0b-\x1f\ud800-\udfff]")
        if more:
            self.assertFalse(found.is_whole)

    def test_the_beginning(self) -> None:
        self.assertEqual(head(b"x" * (MOST_SHOWN + 5)), b"x" * MOST_SHOWN)
        self.assertEqual(head(Pieces([b"a" * MOST_SHOWN, b"b"])), b"a" * MOST_SHOWN)
        self.assertEqual(head(Pieces([b"ab", b"cd"])), b"abcd")
