"""
What changes in the server, told as it changes.
"""

from __future__ import annotations
