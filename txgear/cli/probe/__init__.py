"""
What tries a server out.
"""

from __future__ import annotations
