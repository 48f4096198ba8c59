"""
What is done to jobs, functions and servers.
"""

from __future__ import annotations
