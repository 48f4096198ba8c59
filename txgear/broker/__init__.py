"""
Rules: what becomes of jobs. The standard library only; no clock, no disk: C{now} is an argument.
"""

from __future__ import annotations
