"""
For diagnoses, on the floors C{broker} and C{server}: what is found of a function, by code.
"""

from __future__ import annotations

from typing import Any, Final

from txgear.broker.diagnosis.diagnosis import CODES, diagnose, troubles
from txgear.broker.diagnosis.findings import CRITICAL, SEVERITIES, WARNING, Case, Finding, Trend
from txgear.broker.model import Peer
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase

MORNING: Final = 1_800_003_600.0
"""When it is: 2027-01-15, 09:00:00 UTC."""


class DiagnosisMixin:
    """
    @ivar peer: who asks; it may know all.
    @ivar trend: how the function has fared.
    """

    fixture: Any
    peer: Peer
    trend: Trend | None = None

    def found(self, name: bytes = b"f") -> dict[str, Finding]:
        """What is found of a function, by code, in the order in which it is told."""
        broker = self.fixture.broker
        function = broker.functions.by_name[name]
        found = diagnose(broker, self.peer, function, self.fixture.now, self.trend)
        by_code = {finding.code: finding for finding in found}
        assert len(by_code) == len(found), found
        assert by_code.keys() <= set(CODES), found
        ranks = [SEVERITIES.index(finding.severity) for finding in found]
        assert ranks == sorted(ranks), found
        wrong = [finding for finding in found if finding.severity in (CRITICAL, WARNING)]
        case = Case(broker, self.peer, function, self.fixture.now, self.trend)
        assert troubles(case) == wrong, found
        return by_code

    def line(self, code: str, name: bytes = b"f") -> tuple[str, str]:
        """How severe it is that was found, and the sentence."""
        finding = self.found(name)[code]
        return finding.severity, finding.text

    def facts(self, code: str, name: bytes = b"f") -> dict[str, Any]:
        """The same as values."""
        return self.found(name)[code].facts


class DiagnosisTestCase(DiagnosisMixin, BrokerTestCase):
    """A broker, and somebody who wants to know."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture.now = MORNING
        self.peer = Peer(0, "192.0.2.9")


class DurableDiagnosisTestCase(DiagnosisMixin, DurableBrokerTestCase):
    """The same with a journal."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture.now = MORNING
        self.peer = Peer(0, "192.0.2.9")
