"""
Jobs from the command line: submitted, and done.
"""

from __future__ import annotations
