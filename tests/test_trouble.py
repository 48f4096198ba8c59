"""The pages about trouble and the diagnosis name what there is: metrics, alerts, commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
TEXT: Final = (ROOT / "docs" / "trouble.md").read_text()
MONITORING: Final = (ROOT / "docs" / "monitoring.md").read_text()
RULES: Final = (ROOT / "examples" / "monitoring" / "txgear-rules.yml").read_text()
PAGES: Final = TEXT + (ROOT / "docs" / "web" / "diagnosis.md").read_text()

pytestmark = pytest.mark.txgear_only


def test_metrics() -> None:
    """`tests/test_metrics.py` holds the page about monitoring to what is served."""
    named = set(re.findall(r"\b((?:txgear|gearman|process)_[a-z_]+)", PAGES))
    assert len(named) > 20
    assert {name for name in named if f"`{name}`" not in MONITORING} == set()


def test_alerts() -> None:
    named = set(re.findall(r"\bTxgear[A-Z]\w+", TEXT))
    assert named == set(re.findall(r"alert: (\w+)", RULES))


def test_runbooks() -> None:
    """Each alert leads to a heading under which it stands, and the page about monitoring to the same."""
    headings = {
        title.lower().replace(" ", "-"): text
        for title, text in re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", TEXT, re.MULTILINE)
    }
    runbooks = re.findall(r"alert: (\w+)\n(?:(?!.*alert:).*\n)*? +runbook: docs/trouble\.md#(.+)\n", RULES)
    assert len(runbooks) == RULES.count("- alert:")
    for alert, place in runbooks:
        assert f"`{alert}`" in headings[place], alert
    linked = re.findall(r"^\| `(Txgear\w+)` \|.*\| \[.+\]\(trouble\.md#(.+)\) \|$", MONITORING, re.MULTILINE)
    assert linked == runbooks


def test_labels() -> None:
    """What stands in braces is what the page about monitoring says of that metric."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", MONITORING, re.MULTILINE))
    found = re.findall(r'(\w+)\{(\w+)="(\w+)"\}', PAGES)
    assert len(found) > 8
    for metric, label, value in found:
        _, labels, words = rows[metric].split(" | ", 2)
        assert f"`{label}`" in labels, metric
        assert f"`{value}`" in words, (metric, value)
