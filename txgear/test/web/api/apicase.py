"""
What tests of the API have in common.
"""

from __future__ import annotations

from typing import Any

import msgspec

from txgear.test.support.web import WebTestCase


class ApiTestCase(WebTestCase):
    """A server with a web."""

    def read(self, target: str, kind: Any) -> Any:
        """
        What a request is answered that can be carried out.

        @param kind: the type of it: it has all that this says, and nothing else.
        """
        answer = self.ask("GET", target)
        self.assertEqual(answer.status, 200, answer.body)
        found = msgspec.json.decode(answer.body, type=kind)
        self.assertEqual(msgspec.to_builtins(found), answer.json)
        return answer.json
