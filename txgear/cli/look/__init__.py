"""
What one sees of servers: lists, and what is known of one thing.
"""

from __future__ import annotations
