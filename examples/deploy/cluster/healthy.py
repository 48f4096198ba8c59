"""Whether this member's PostgreSQL runs, by what its Patroni says: the exit status."""

from __future__ import annotations

from urllib.request import urlopen

urlopen("http://localhost:8008/health", timeout=4).close()
