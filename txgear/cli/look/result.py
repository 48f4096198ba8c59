"""
C{txgear result}: what a job has brought.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import TYPE_CHECKING, Any, Final

import click

from txgear.broker.words import number
from txgear.cli.base.api import ROOT, path_of
from txgear.cli.base.finding import ask_one
from txgear.cli.base.options import MOST_SECONDS, Seconds, Servers, json_option, server_options
from txgear.cli.base.output import json_text
from txgear.cli.base.payloads import output_option, write_payload
from txgear.cli.base.statuses import FAILED, MISUSED, CommandError

if TYPE_CHECKING:
    from txgear.cli.base.api import Api, Body

PENDING: Final = 202
MOST_TEXT: Final = 1024 * 1024
"""Bytes of a result that are text in JSON, at the most; more are written as they come, in base64."""


@click.command(epilog="Example: txgear result H:vm:7 --wait 60 --output report.pdf")
@click.argument("handle", required=False)
@click.option("--unique", metavar="TEXT", help="Of the newest job with this unique, in place of a HANDLE.")
@click.option("--function", metavar="NAME", help="With --unique: of this function; by default of any.")
@click.option(
    "--wait",
    type=Seconds(0),
    default=0.0,
    metavar="SECONDS",
    help="Wait for the end of the job, so long at the most.  [0]",
)
@output_option
@json_option
@server_options
def command(
    servers: Servers,
    as_json: bool,
    handle: str | None,
    unique: str | None,
    function: str | None,
    wait: float,
    output: str | None,
) -> None:
    """
    What the job HANDLE has brought, as bytes, of any size.

    One that has failed, or is not over in time, is exit status 1, and what its worker said is on standard
    error. Results are there for later only where the policy of the function has them kept. With --json it is
    one object: text where it is UTF-8 and has a MiB at the most, otherwise base64.
    """
    if (handle is None) == (unique is None):
        raise CommandError("a HANDLE is wanted, or --unique TEXT", MISUSED)
    if function is not None and unique is None:
        raise CommandError("--function is for --unique", MISUSED)
    if as_json and output is not None:
        raise CommandError("--output is for bytes, not for --json", MISUSED)
    query: dict[str, Any] = {}
    if handle is not None:
        path, what = path_of("jobs", handle, "result"), f"job {handle}"
    else:
        path, what, query = (
            f"{ROOT}/results",
            f"job with the unique {unique}",
            {"unique": unique, "function": function},
        )
    deadline = time.monotonic() + wait
    api, body = ask_one(servers, handle or "", lambda api: _ask(api, path, query, 0.0), what)
    while body.status == PENDING and (left := deadline - time.monotonic()) > 0:
        _drop(body)
        body = _ask(api, path, query, min(left, MOST_SECONDS))
    if body.status == PENDING:
        state = json.loads(b"".join(body.pieces()))["state"]
        raise CommandError(
            f"{what} is not over, it is {state}: --wait SECONDS waits for it", FAILED, "pending"
        )
    if as_json:
        write_as_json(body.headers, body.pieces())
    else:
        write_payload(body.pieces(), output)


def _ask(api: Api, path: str, query: Mapping[str, Any], wait: float) -> Body:
    """
    @raise CommandError: there is none; it says what the worker has said.
    """
    try:
        return api.open(path, {**query, "wait": wait} if wait else query, wait)
    except CommandError as error:
        said = error.details.get("exception")
        if said is None:
            raise
        words = said["text"] if "text" in said else f"{number(said['size'], 'byte')} of no text"
        raise CommandError(f"{error.text}: {words}", error.status, error.code, error.details) from error


def _drop(body: Body) -> None:
    """Read an answer to its end, so that another can come."""
    for _ in body.pieces():
        pass


def write_as_json(headers: Message, pieces: Iterable[bytes]) -> None:
    """
    Write a result as one object, in memory that is bounded.

    @param headers: what the server says of it.
    @param pieces: its bytes.
    """
    data_size, last_size = int(headers["Txgear-Data-Size"]), int(headers["Txgear-Result-Size"])
    size = data_size + last_size
    found = {
        "handle": headers["Txgear-Handle"],
        "outcome": headers["Txgear-Outcome"],
        "size": size,
        "data_size": data_size,
    }
    if size <= MOST_TEXT:
        whole = b"".join(pieces)
        try:
            pieces, found["text"] = (), whole.decode("utf-8")
        except UnicodeDecodeError:
            pieces = (whole,)
    write = sys.stdout.write
    write(json_text(found).removesuffix("}"))
    if "text" not in found:
        write(', "base64": "')
        rest = b""
        for piece in pieces:
            piece = rest + piece
            # Three bytes are four characters.
            whole_threes = len(piece) - len(piece) % 3
            write(base64.b64encode(piece[:whole_threes]).decode("ascii"))
            rest = piece[whole_threes:]
        write(base64.b64encode(rest).decode("ascii") + '"')
    write("}\n")
