"""
What a Galera cluster says of itself: how long it stands still when a node dies, and how it is.

Its provider has settings of its own, in one text: C{evs.suspect_timeout = PT5S; evs.keepalive_period = PT1S}.
See U{https://galeracluster.com/documentation/html_docs_latest/documentation/galera-parameters.html}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

DURATION: Final = re.compile(
    r"P(?:(?P<days>[0-9.]+)D)?(?:T(?:(?P<hours>[0-9.]+)H)?(?:(?P<minutes>[0-9.]+)M)?(?:(?P<seconds>[0-9.]+)S)?)?"
)
UNITS: Final = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0}

STANDSTILL: Final = {
    "evs.suspect_timeout": 5.0,
    "evs.inactive_check_period": 0.5,
    "evs.keepalive_period": 1.0,
}
"""
What the time is made of in which no COMMIT is answered after a node has died, with Galera's defaults: it is
silent for so long until it is suspected, which is looked at now and then, and the others agree on that. With
the defaults 5.9 to 6.3 seconds were seen.
"""


def options(text: str) -> dict[str, str]:
    """The settings of the provider, by name."""
    pairs = (setting.partition("=") for setting in text.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def seconds(text: str) -> float | None:
    """An ISO 8601 duration of days at the most, such as C{PT0.5S}; C{None} if it is none."""
    found = DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    try:
        return sum(float(value) * UNITS[unit] for unit, value in found.groupdict().items() if value)
    except ValueError:
        return None


def standstill(settings: Mapping[str, str]) -> float:
    """
    For how many seconds no COMMIT is answered when a node has died.

    @param settings: of the provider.
    """
    total = 0.0
    for name, default in STANDSTILL.items():
        found = seconds(settings.get(name, ""))
        total += default if found is None else found
    return total


def doubts(status: Mapping[str, str], settings: Mapping[str, str]) -> tuple[str, ...]:
    """
    Why jobs that were answered could be lost, or none be taken, in words.

    @param status: C{wsrep_cluster_size}, C{wsrep_cluster_status}, C{wsrep_ready} and
        C{wsrep_local_state_comment}.
    @param settings: of the provider.
    """
    found = []
    size, component = status.get("wsrep_cluster_size", "0"), status.get("wsrep_cluster_status", "")
    state = status.get("wsrep_local_state_comment", "")
    if component != "Primary":
        found.append(f"this node is cut off from its cluster ({component or 'unknown'}): it takes no jobs")
    elif status.get("wsrep_ready") != "ON":
        found.append(f"this node is not ready ({state or 'unknown'}): it takes no jobs")
    elif size == "1":
        found.append(
            "the Galera cluster has one node: what it loses is lost, as no other one has what was answered"
        )
    elif size == "2":
        found.append(
            "the Galera cluster has two nodes: when one is lost, the other takes no jobs until it is told to"
        )
    if settings.get("pc.ignore_quorum") == "true" or settings.get("pc.ignore_sb") == "true":
        found.append(
            "pc.ignore_quorum or pc.ignore_sb is on: nodes that are cut off from each other both take jobs"
        )
    return tuple(found)


def promise(status: Mapping[str, str]) -> str:
    """What the cluster promises at present, in words; see L{doubts} for the parameter."""
    size, component = status.get("wsrep_cluster_size", "0"), status.get("wsrep_cluster_status", "unknown")
    nodes = "1 node" if size == "1" else f"{size} nodes"
    state = status.get("wsrep_local_state_comment", "unknown")
    return f"Galera cluster of {nodes}, {component}; this node is {state}; each commit is at all of them"
