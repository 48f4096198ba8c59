"""
Connections, listeners and clocks on Twisted, for the server, the client and the worker.
"""

from __future__ import annotations
