"""
C{/settings}: what is set, and where each setting comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.model import Peer
from txgear.broker.rights import SETTINGS, check
from txgear.protocol.textlines import text
from txgear.server import setupview
from txgear.web.pages import policywords
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.view import NoQuery, View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

MOST_SHOWN: Final = 200
"""Policies, identities, rules and steered functions that are shown, of each; the API has all."""
AT_ONCE: Final = 1000
"""Functions that are looked at between two yields: a tenth of a millisecond."""


ROWS_AT_ONCE: Final = 10
"""Rows that are made between two yields: where all is new, each takes some tenths of a millisecond."""


class SettingsView(View):
    """All that is set."""

    template = "settings.html"
    place = "/settings"
    # Hardly anything changes here while one looks.
    seconds = 1.0

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        check(peer, SETTINGS)
        request.query(NoQuery)
        super().__init__(pages, peer, "Settings")

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        server, peer = self.server, self.peer
        now = server.wall_clock()
        read = setupview.config(server)
        self.put("config", repr(read), "config", partial(dict, read=read))
        certificate = setupview.certificate(server)
        self.put("certificate", repr(certificate), "certificate", lambda: _certificate(certificate, now))
        yield from self._rows("option", "option_row", setupview.options(server))
        yield
        steered: list[dict[str, Any]] = []
        functions = iter(list(self.broker.functions.by_name.values()))
        while some := list(islice(functions, AT_ONCE)):
            steered += setupview.steered(peer, some)
            yield
        yield from self._rows("steered", "steered_row", steered)
        yield from self._policies()
        access = server.guard.access
        identities, rules = setupview.identities(server, peer), setupview.rules(server, peer)
        yield from self._rows(
            "identity", "identity_row", identities, len(identities) < len(access.identities)
        )
        yield from self._rows("rule", "rule_row", rules, len(rules) < len(access.rules))
        yield from self._rows("port", "port_row", setupview.ports(server))

    def _rows(
        self,
        kind: str,
        macro: str,
        found: Sequence[dict[str, Any]],
        hidden: bool = False,
    ) -> Iterator[None]:
        """
        Rows of one kind, as far as they are shown; and how many more there are.

        @param hidden: whether there are some that one may not see.
        """
        ids = []
        for place, each in enumerate(found[:MOST_SHOWN], 1):
            part = f"{kind}-{place}"
            self.put(part, repr(each), macro, partial(dict, each))
            ids.append(part)
            if place % ROWS_AT_ONCE == 0:
                yield
        self.arrange(f"{kind}-rows", ids)
        facts = {"kind": kind, "count": len(found), "shown": len(ids), "hidden": hidden}
        self.put(f"{kind}-more", tuple(facts.values()), "more", partial(dict, facts))

    def _policies(self) -> Iterator[None]:
        rules = self.broker.functions.policies.rules
        found = [
            {"pattern": text(pattern.encode("utf-8")), "settings": policywords.settings(policy)}
            for pattern, _, policy in rules[:MOST_SHOWN]
        ]
        # Those beyond are counted, and not put into words.
        beyond = max(len(rules) - MOST_SHOWN, 0)
        numbered = [{"place": place, **each} for place, each in enumerate(found, 1)]
        yield from self._rows("policy", "policy_row", numbered + [{}] * beyond)
        ceiling = policywords.ceiling(setupview.ceiling(self.server))
        self.put("ceiling", ceiling, "ceiling", partial(dict, words=ceiling))

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        setup = self.server.setup
        return {"versions": setupview.versions(), "speeches": setup.speeches, "by_program": not setup.options}


def _certificate(found: dict[str, Any] | None, now: float) -> dict[str, Any]:
    warn = found is not None and found["days"] < setupview.WARN_DAYS
    return {"found": found, "warn": warn, "expired": found is not None and found["days"] < 0}


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [page("/settings", pages.page(SettingsView))]
