"""
gearman and gearadmin, as the C tools of gearmand 1.1.20 are: the same words, bytes and exit statuses.
"""

from __future__ import annotations

from typing import Final

STRICT: Final = "--strict"
"""The option that the C tools do not have: to do what is right where they plainly do not."""
