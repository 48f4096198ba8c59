"""
Tests for L{txgear.cli.imitate}.
"""

from __future__ import annotations
