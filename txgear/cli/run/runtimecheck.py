"""
What a runtime would run, and whether it could.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.internet.task import Clock

from txgear.cli.base.output import printable
from txgear.cli.base.statuses import DONE, FAILED
from txgear.errors import ConfigurationError
from txgear.net.arguments import token_bytes
from txgear.net.servers import server_list
from txgear.runtime.child import use_path
from txgear.runtime.config import FunctionTable, GroupTable, RuntimeTable
from txgear.runtime.hooks import load_hooks
from txgear.runtime.peers import peer_arguments
from txgear.runtime.workshop import functions_of

NAME = "txgear run"


def check_runtime(table: RuntimeTable) -> int:
    """
    Load the code of all groups, and say what each would do.

    @return: the exit status.
    """
    check = _Check()
    for folder in table.path:
        with check.of("path"):
            if not Path(folder).is_dir():
                raise ConfigurationError(f"there is no folder {folder}")
    use_path(table.path)
    with check.of("servers"):
        _check_servers(table)
    print(printable(f"servers: {', '.join(table.servers)}"))
    for name, group in table.group.items():
        with check.of(f"group {name}"):
            load_hooks(group.hooks)
            lines = list(_functions(group))
            print(printable(f"group {name}: {processes(group)}"))
            for line in lines:
                print(printable(f"    {line}"))
    return FAILED if check.has_failed else DONE


def _check_servers(table: RuntimeTable) -> None:
    found = peer_arguments(table)
    try:
        server_list(Clock(), found["servers"], found["tls"])
        if found["token"] is not None:
            token_bytes(found["token"])
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def processes(group: GroupTable) -> str:
    """How many processes a group has, and what each does at once, in words."""
    if group.max is None:
        count = f"{group.processes} {'process' if group.processes == 1 else 'processes'}"
    else:
        count = f"{group.min} to {group.max} processes"
    at_once = "one job at once" if group.concurrency == 1 else f"{group.concurrency} jobs at once"
    return f"{count}, {at_once}{', forked' if group.start == 'fork' else ''}"


def _functions(group: GroupTable) -> Iterator[str]:
    for found in functions_of(group):
        yield f"{found.ability.name.decode('utf-8', 'backslashreplace')}: {found.place}"
    for name, table in group.function.items():
        yield f"{name}: {_does(table)}"


def _does(table: FunctionTable) -> str:
    if table.url:
        return f"POST {table.url}"
    if shutil.which(table.command[0]) is None:
        raise ConfigurationError(f"{table.command[0]}: there is no such program that may be run")
    return shlex.join(table.command)


class _Check:
    """Tells mistakes, and goes on."""

    def __init__(self) -> None:
        self.has_failed = False

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Tell what goes wrong within: a mistake in one line, what code raises with all of its own."""
        try:
            yield
        except ConfigurationError as error:
            self._failed(f"{what}: {error}")
        except (Exception, SystemExit) as error:
            self._failed(f"{what}: {type(error).__name__}: {error}")
            traceback.print_exc()

    def _failed(self, text: str) -> None:
        self.has_failed = True
        print(printable(f"{NAME}: {text}"), file=sys.stderr)
