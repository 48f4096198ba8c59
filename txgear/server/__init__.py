"""
The job server: what a port speaks, over one broker.
"""

from __future__ import annotations
