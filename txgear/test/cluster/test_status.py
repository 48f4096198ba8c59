"""Tests of L{txgear.cluster.status}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cluster.status import LARGEST, LONGEST_VERSION, NAMES, read, written
from txgear.server.clusterview import Status
from txgear.stores.schema import MAX_STATUS
from txgear.test.support.clusterview import STATUS


class StatusTests(SynchronousTestCase):
    def test_what_is_written_is_read(self) -> None:
        for status in (STATUS, STATUS._replace(draining=True, rate=None), Status()):
            self.assertEqual(read(written(status)), status)
        self.assertEqual(
            written(STATUS),
            b'{"v":"1.2","u":90061,"q":12,"r":3,"w":4,"c":9,"j":5.5,"g":0.0012,"l":8.0,"t":6.2,"d":false}',
        )

    def test_it_is_short(self) -> None:
        longest = Status(
            "v" * LONGEST_VERSION,
            *(LARGEST - 0.123,),
            *(LARGEST,) * 4,
            *(LARGEST - 0.123,) * 4,
            draining=False,
        )
        self.assertLess(len(written(longest)), MAX_STATUS // 8)

    def test_every_member_has_a_name(self) -> None:
        self.assertEqual(tuple(NAMES), Status._fields)
        self.assertEqual(len({short for short, _ in NAMES.values()}), len(NAMES))

    def test_one_of_another_version(self) -> None:
        """What is not known is passed over."""
        self.assertEqual(read(b'{"q":1,"new":{"a":[2]},"z":null}'), Status(queued=1))

    def test_values_that_make_no_sense(self) -> None:
        for value in (b'"1"', b"-1", b"1e999", b"NaN", b"true", b"null", b"[1]", b"{}", b"9007199254740993"):
            self.assertEqual(read(b'{"q":%s,"u":%s,"r":7}' % (value, value)), Status(running=7), value)
        self.assertEqual(read(b'{"q":1.5,"u":1.5}'), Status(uptime=1.5))
        for version in (b"1", b'"a\\u0000b"', b'"%s"' % (b"v" * (LONGEST_VERSION + 1))):
            self.assertEqual(read(b'{"v":%s}' % version), Status())
        self.assertEqual(read(b'{"d":1}'), Status())

    def test_what_is_no_status(self) -> None:
        for said in (b"", b"{", b"[]", b"7", b'"x"', b"\xff", b"[" * 100_000):
            self.assertEqual(read(said), Status(), said[:9])
