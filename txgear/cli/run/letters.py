"""
The letters of C{gearman} that C{submit} and C{work} have in common.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.places import TLSFiles
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.protocol.constants import DEFAULT_PORT

F = TypeVar("F", bound=Callable[..., Any])


def gearman_server_options(command: F) -> F:
    """
    Give a command what L{server_options} gives, and C{-h}, C{-p}, C{-S} and C{-i} of C{gearman}; it is called
    with C{servers}, while the file of C{-i} is there.
    """

    @wraps(command)
    def called(
        *arguments: Any,
        servers: Servers,
        host: str | None,
        port: int | None,
        ssl: bool,
        pid_file: str | None,
        **rest: Any,
    ) -> Any:
        if host is not None or port is not None:
            context = click.get_current_context()
            if context.get_parameter_source("server") == ParameterSource.COMMANDLINE:
                raise CommandError("--server says it all: -h and -p are not wanted beside it", MISUSED)
            servers = replace(servers, names=(server_name(host or "127.0.0.1", port or DEFAULT_PORT),))
        if ssl and servers.tls is None:
            servers = replace(servers, tls=TLSFiles())
        if pid_file is None:
            return command(*arguments, servers=servers, **rest)
        with pid_in(pid_file):
            return command(*arguments, servers=servers, **rest)

    for option in reversed(_OPTIONS):
        option(called)
    return server_options(called)  # type: ignore[return-value]


_OPTIONS: Final = (
    click.option("-h", "host", metavar="HOST", help="The server's host; -h and -p are for --server."),
    click.option("-p", "port", type=click.IntRange(0, 65535), metavar="PORT", help="The server's port."),
    click.option("-S", "ssl", is_flag=True, help="The same as --tls."),
    click.option("-i", "--pid-file", metavar="FILE", help="Write the process's id there, while it runs."),
)


def server_name(host: str, port: int) -> str:
    """A server as L{server_options} has it: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def pid_in(path: str) -> Iterator[None]:
    """
    Have the process's id in a file.

    @raise CommandError: it cannot be written.
    """
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise CommandError(f"--pid-file: cannot write {path}: {error.strerror}", MISUSED) from error
    try:
        yield
    finally:
        # Somebody may have cleared it away meanwhile, which is what we are about to do.
        with suppress(FileNotFoundError):
            os.unlink(path)
