"""
C{txgear task}: how far a task on the server is.
"""

from __future__ import annotations

import time

import click

from txgear.cli.act.acts import complain
from txgear.cli.act.tasks import Running, status_of, watch
from txgear.cli.base.api import path_of
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import write_facts, write_json


@click.command(epilog="Example: txgear task 3 --follow")
@click.argument("number", type=click.IntRange(1))
@click.option("--follow", is_flag=True, help="Wait for its end; meanwhile a terminal shows how far it is.")
@json_option
@server_options
def command(servers: Servers, as_json: bool, follow: bool, number: int) -> int:
    """
    What is done to many jobs on the server, and how far it is: NUMBER is that of 'txgear tasks'.

    With --follow the status says what came of it: 1 where it could not be done to all, or was stopped. An
    interrupt ends only this; 'txgear stop-task NUMBER' stops the task.
    """
    api = servers.api()
    running = Running(api, api.get(path_of("tasks", str(number))))
    if follow:
        watch([running], time.sleep)
    if as_json:
        write_json(running.task)
    else:
        facts = {name: value for name, value in running.task.items() if name not in ("failures", "servers")}
        facts["filter"] = " ".join(f"{name}={value}" for name, value in facts["filter"].items())
        for share in running.task["servers"]:
            state = share["problem"] or ("ended" if share["ended"] else "under way")
            facts[f"at {share['server']}"] = f"{share['matched']} matched, {share['done']} done; {state}"
        write_facts(facts)
    return status_of([running], complain) if follow else 0
