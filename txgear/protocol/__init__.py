"""
Bytes: what stands on the wire, and how it is read and written. The standard library only.
"""

from __future__ import annotations
