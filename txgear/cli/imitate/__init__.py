"""
gearman and gearadmin, as the C tools are.
"""

from __future__ import annotations
