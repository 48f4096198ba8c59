"""
The parser of command lines that all subcommands use.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from txgear.errors import ConfigurationError


class Parser(argparse.ArgumentParser):
    """A parser for which a mistake on the command line is an error like any other: one line, and status 1."""

    def error(self, message: str) -> NoReturn:
        """
        Part of C{argparse}.

        @raise ConfigurationError: always.
        """
        raise ConfigurationError(f"{message} (see {self.prog} --help)")
