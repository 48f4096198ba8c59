"""
The REST API, version 1: all below C{/api/v1}.
"""

from __future__ import annotations
