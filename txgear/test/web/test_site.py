"""Tests of L{txgear.web.site}: all the parts together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.test.support.server import ServerFixture
from txgear.web.site import PARTS, make_web


class SiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.web = make_web(ServerFixture().server)

    def test_parts(self) -> None:
        self.assertEqual(len(PARTS), len(set(PARTS)))
        self.web.start()
        self.web.stop()

    def test_operations(self) -> None:
        """Each has a name of its own, and what it takes is refused if it is not known."""
        operations = [route.operation for route in self.web.router.routes if route.operation is not None]
        names = [operation.name for operation in operations]
        self.assertEqual(sorted(names), sorted(set(names)))
        for operation in operations:
            for kind in (operation.query, operation.body):
                if kind is not None and hasattr(kind, "__struct_config__"):
                    self.assertTrue(kind.__struct_config__.forbid_unknown_fields, operation.name)

    def test_free(self) -> None:
        """Few are, and none of them changes anything."""
        free = {(route.method, route.rule) for route in self.web.router.routes if route.free}
        self.assertEqual(free, {("GET", "/health"), ("GET", "/ready"), ("GET", "/static/<state>/<name>")})
