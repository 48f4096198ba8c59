"""
What all commands share: where servers are, how they are asked, and how is told what came of it.
"""

from __future__ import annotations
