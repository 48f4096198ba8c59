"""
The C{twistd txgear} command.

Every C{twistd} on the machine imports this file to list its commands, so it
imports nothing of txgear; L{txgear.daemon.tap} is loaded when the command is used.
"""

from __future__ import annotations

from twisted.application.service import ServiceMaker

txgear = ServiceMaker("txgear", "txgear.daemon.tap", "A Gearman job server.", "txgear")
txgear_worker = ServiceMaker(
    "txgear-worker",
    "txgear.runtime.tap",
    "Workers in processes.",
    "txgear-worker",
)
