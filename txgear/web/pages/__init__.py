"""
The dashboard: pages for people, which stay as the server is while they are open.
"""

from __future__ import annotations
