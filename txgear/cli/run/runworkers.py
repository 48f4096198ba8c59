"""
C{txgear run}: workers in processes, as a file says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from txgear.cli.base.output import printable
from txgear.cli.base.statuses import DONE, FAILED, MISUSED, CommandError

if TYPE_CHECKING:
    from txgear.runtime.config import RuntimeTable

NAME = "txgear run"


@click.command(epilog="Example: txgear run workers.toml --check")
@click.argument("file", required=False)
@click.option(
    "--check",
    is_flag=True,
    help="Load the code of all groups, say what would run, and start nothing. With mistakes the status is 1.",
)
@click.option("--watch", is_flag=True, help="Load code anew when a file of it changes; as watch = true.")
@click.option(
    "--import-gearman-manager",
    "ini",
    metavar="INI",
    help="Write a FILE to the standard output, made from one of GearmanManager.",
)
def command(file: str | None, check: bool, watch: bool, ini: str | None) -> int:
    """
    Run workers in processes, as FILE says: their functions, how many processes there are, and when these are
    renewed.

    SIGTERM and SIGINT end it when all jobs have ended; a second one ends these as well. SIGHUP has the file
    and all code loaded anew.

    In a service it is: twistd -n txgear-worker --config FILE
    """
    if ini is not None:
        if file is not None or check or watch:
            raise CommandError("--import-gearman-manager stands alone", MISUSED)
        from txgear.runtime.gearmanmanager import import_file

        sys.stdout.write(import_file(Path(ini)))
        return DONE
    if file is None:
        raise CommandError(f"a file is wanted: {NAME} workers.toml", MISUSED)
    from txgear.daemon.tables import ConfigMistakes
    from txgear.runtime.reading import read_runtime

    try:
        table = read_runtime(file)
    except ConfigMistakes as error:
        for line in error.lines:
            print(printable(f"{NAME}: {line}"), file=sys.stderr)
        return FAILED
    if check:
        from txgear.cli.run.runtimecheck import check_runtime

        return check_runtime(table)
    serve(table, file, watch)
    return DONE


def serve(table: RuntimeTable, file: str, watch: bool) -> None:
    """
    Run the supervisor in this process, until it ends.

    @raise ConfigurationError: it cannot start.
    """
    from txgear.cli.base.twistd import run_twistd
    from txgear.runtime.tap import NAME as SERVICE
    from txgear.runtime.tap import logger_of

    words = ["--nodaemon", "--pidfile=", f"--logger={logger_of(table)}", SERVICE, f"--config={file}"]
    run_twistd([*words, "--watch"] if watch else words)
