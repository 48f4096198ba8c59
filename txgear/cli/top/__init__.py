"""
C{txgear top}: a screen that shows what servers do, as they do it.

What stands on it and what keys do are rules without a terminal (L{txgear.cli.top.screen} and what it is made
of); servers are asked beside it (L{txgear.cli.top.asker}); the terminal is told only what has changed
(L{txgear.cli.top.terminal}).
"""

from __future__ import annotations
