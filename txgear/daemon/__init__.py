"""
The process around the server: its start and end, its command line, its file of settings, its log.
"""

from __future__ import annotations
