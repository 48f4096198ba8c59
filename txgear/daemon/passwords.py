"""
Secrets that stand on no command line, which would show them to everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from txgear.errors import ConfigurationError

STORE_PASSWORD: Final = "TXGEAR_STORE_PASSWORD"
"""The environment variable with the password of the server's store."""


def password(option: str, path: str | None, variable: str, environ: Mapping[str, str]) -> str | None:
    """
    A secret: the first line of a file, or else what a variable holds.

    @param option: what named the file.
    @param path: the file whose first line it is, or C{None}.
    @param variable: what holds it where there is no file; empty is the same as unset.
    @raise ConfigurationError: the file cannot be read, or starts with no password.
    """
    if path is None:
        return environ.get(variable) or None
    try:
        with Path(path).open(encoding="utf-8") as file:
            found = file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"--{option}: cannot read {path}: {why}") from error
    if not found:
        raise ConfigurationError(f"--{option}: the first line of {path} is empty")
    return found
