"""The page about trouble names what there is: metrics, alerts, commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
TEXT: Final = (ROOT / "docs" / "trouble.md").read_text()

pytestmark = pytest.mark.txgear_only


def test_metrics() -> None:
    """`tests/test_metrics.py` holds the page about monitoring to what is served."""
    named = set(re.findall(r"\b((?:txgear|gearman|process)_[a-z_]+)", TEXT))
    assert len(named) > 20
    described = (ROOT / "docs" / "monitoring.md").read_text()
    assert {name for name in named if f"`{name}`" not in described} == set()


def test_alerts() -> None:
    named = set(re.findall(r"\bTxgear[A-Z]\w+", TEXT))
    rules = (ROOT / "examples" / "monitoring" / "txgear-rules.yml").read_text()
    assert named == set(re.findall(r"alert: (\w+)", rules)) - {"TxgearNoWorker", "TxgearPausedAndForgotten"}


def test_values_of_labels() -> None:
    """What stands in braces is what the page about monitoring says of that label."""
    described = (ROOT / "docs" / "monitoring.md").read_text()
    for value in re.findall(r'\{\w+="(\w+)"\}', TEXT):
        assert f"`{value}`" in described, value
