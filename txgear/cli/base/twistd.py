"""
Runs C{twistd} in this process.
"""

from __future__ import annotations

from collections.abc import Sequence

from txgear.errors import ConfigurationError


def run_twistd(words: Sequence[str]) -> None:
    """
    Run C{twistd} in this process, until what it runs ends.

    @param words: C{twistd}'s command line.
    @raise ConfigurationError: C{twistd} does not accept it.
    """
    from twisted.python.usage import UsageError
    from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]

    twistd = ServerOptions()
    try:
        twistd.parseOptions(list(words))
    except UsageError as error:
        raise ConfigurationError(str(error)) from error
    runApp(twistd)
