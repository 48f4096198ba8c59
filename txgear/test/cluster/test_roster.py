"""Tests of L{txgear.cluster.roster}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import Lease
from txgear.cluster.roster import parts_of, servers_of
from txgear.server.clusterview import SILENT_SECONDS, PartShown, Status

STOOD = {1: 9.0, 2: 0.5, 3: 4.0, 4: 1.5, 5: 3.9}


def lease(part: int, server: bytes, name: str = "", *, ours: bool = False, status: bytes = b"") -> Lease:
    owner = b"%s in %d" % (server, part) if server else b""
    return Lease(part, owner, 2, 7, name, name and f"{name}:4730", ours, server, status)


class RosterTests(SynchronousTestCase):
    def test_parts(self) -> None:
        self.assertEqual(
            parts_of([lease(2, b"a", "a", ours=True), lease(1, b"")], STOOD.__getitem__),
            [
                PartShown(1, "", "", 2, 7, 9.0, is_ours=False),
                PartShown(2, "a", "a:4730", 2, 7, 0.5, is_ours=True),
            ],
        )

    def test_one_with_several(self) -> None:
        """It lives as long as one of its parts moves; it speaks in the last one in which it has spoken."""
        leases = [
            lease(4, b"a", "a"),
            lease(1, b"a", "a", status=b'{"q":1}'),
            lease(2, b"a", "a", status=b'{"q":2}'),
        ]
        (found,) = servers_of(leases, STOOD.__getitem__)
        self.assertEqual((found.name, found.address, found.is_ours), ("a", "a:4730", False))
        self.assertEqual([part.part for part in found.parts], [1, 2, 4])
        self.assertEqual((found.seconds, found.status), (0.5, Status(queued=2)))
        self.assertFalse(found.is_silent)

    def test_several(self) -> None:
        """Two may have one name; what nobody has is no server's."""
        leases = [
            lease(1, b""),
            lease(2, b"c", "b"),
            lease(3, b"b", "b"),
            lease(4, b"a", "c", ours=True),
            lease(5, b"d", "a"),
        ]
        found = servers_of(leases, STOOD.__getitem__)
        self.assertEqual([each.name for each in found], ["a", "b", "b", "c"])
        self.assertEqual([each.key for each in found[1:3]], [b"b".hex(), b"c".hex()])
        self.assertEqual([each.is_ours for each in found], [False, False, False, True])
        self.assertEqual([each.is_silent for each in found], [False, True, False, False])
        self.assertEqual(found[0].status, Status())

    def test_our_own_is_never_silent(self) -> None:
        (ours,) = servers_of([lease(1, b"a", ours=True)], lambda part: SILENT_SECONDS)
        (other,) = servers_of([lease(1, b"a")], lambda part: SILENT_SECONDS)
        self.assertEqual((ours.is_silent, other.is_silent), (False, True))

    def test_nobody(self) -> None:
        self.assertEqual(servers_of([], STOOD.__getitem__), [])
        self.assertEqual(parts_of([], STOOD.__getitem__), [])
