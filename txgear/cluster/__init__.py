"""
A server among others over one database: which of them have died, and taking over what they had.
"""

from __future__ import annotations
