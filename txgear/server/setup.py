"""
How the server was set up, as far as people want to know: each option with its source, the operator's file,
the ports. Whoever makes the server says it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

DEFAULT: Final = "default"
"""Nobody has said anything else."""
COMMAND_LINE: Final = "command line"
ENVIRONMENT: Final = "environment"
FILE: Final = "file"
"""A file that the command line names."""

START: Final = "start"
"""By whom the operator's file was read: nobody, it was the start of the server."""


class Option(NamedTuple):
    """
    An option of the server.

    @ivar name: what the command line calls it.
    @ivar value: what is in force, in words, with its unit. Never a secret.
    @ivar about: what it is for, in a line.
    @ivar source: one of L{DEFAULT}, L{COMMAND_LINE}, L{ENVIRONMENT} and L{FILE}: where the value comes from;
    @ivar place: where exactly, such as C{--port}, a variable or a path; empty for defaults.
    """

    name: str
    value: str
    about: str
    source: str
    place: str


class ConfigRead(NamedTuple):
    """
    The operator's file, as it was read last.

    @ivar path: its path.
    @ivar at: when what is in force was read, in seconds since the epoch.
    @ivar by: who asked for that: L{START}, C{signal}, C{operator} or C{program}.
    @ivar summary: what is in it, in words.
    @ivar warnings: what is valid in it, and surely not meant.
    @ivar error: the mistake for which it could not be read again later; empty for none.
    @ivar error_at: when that was tried.
    """

    path: str
    at: float
    by: str
    summary: str
    warnings: tuple[str, ...]
    error: str = ""
    error_at: float = 0.0


class PortShown(NamedTuple):
    """
    A port that is open.

    @ivar speaks: what is spoken there.
    @ivar place: where it is.
    @ivar tls: whether it is over TLS.
    """

    speaks: str
    place: str
    tls: bool


class Speech(NamedTuple):
    """
    What a port can speak.

    @ivar name: its name.
    @ivar about: what that is, in a line.
    @ivar module: the module that has it.
    """

    name: str
    about: str
    module: str


@dataclass
class Setup:
    """
    All of it. A server that a program has made knows of no options.

    @ivar options: in the order of the help.
    @ivar config: the operator's file; C{None} where there is none.
    @ivar speeches: what is spoken.
    @ivar ports: tells which ports are open.
    """

    options: Sequence[Option] = ()
    config: ConfigRead | None = None
    speeches: Sequence[Speech] = ()
    ports: Callable[[], list[PortShown]] = list
