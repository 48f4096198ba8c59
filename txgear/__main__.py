"""
C{python -m txgear} is the C{txgear} command.
"""

from __future__ import annotations

from txgear.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
