"""
What programs and browsers see of the server: metrics, health, history, events and the API.
"""

from __future__ import annotations
