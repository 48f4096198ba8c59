"""
What looks after a server and its file.
"""

from __future__ import annotations
