"""
C{txgear gearadmin}: ask a server by lines of text, as the C tool does.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from txgear.cli.imitate.guessed import Known, Reader, WrongWords
from txgear.cli.imitate.tls import TLSFailure, context

NAME: Final = "gearadmin"
PIECE: Final = 64 * 1024
SILENCE: Final = 5.0
"""Seconds without a byte after which what has come of an answer is all of it."""

KNOWN: Final = (
    Known("help"),
    Known("host", True, "-h"),
    Known("port", True, "-p"),
    Known("server-version"),
    Known("server-verbose"),
    Known("create-function", True),
    Known("cancel-job", True),
    Known("drop-function", True),
    Known("show-unique-jobs"),
    Known("show-jobs"),
    Known("getpid"),
    Known("status"),
    Known("priority-status"),
    Known("workers"),
    Known("ssl", False, "-S"),
)

OPERATIONS: Final = {
    "getpid": "getpid",
    "create-function": "create function ",
    "drop-function": "drop function ",
    "show-jobs": "show jobs",
    "show-unique-jobs": "show unique jobs",
    "cancel-job": "cancel job ",
    "server-verbose": "verbose",
    "server-version": "version",
    "workers": "workers",
    "priority-status": "prioritystatus",
    "status": "status",
}
"""What is asked for each option, in the order in which it is done; a blank at the end is for its value."""

LISTS: Final = frozenset(("show-jobs", "show-unique-jobs", "workers", "priority-status", "status"))
"""Those whose answer ends with a point in a line of its own, unless it is an error."""

HELP: Final = b"""\
Options:
  --help                         Options related to the program.
  -h [ --host ] arg (=localhost) Connect to the host
  -p [ --port ] arg (=4730)      Port number or service to use for connection
  --server-version               Fetch the version number for the server.
  --server-verbose               Fetch the verbose setting for the server.
  --create-function arg          Create the function from the server.
  --cancel-job arg               Remove a given job from the server's queue
  --drop-function arg            Drop the function from the server.
  --show-unique-jobs             Show unique IDs of jobs on the server.
  --show-jobs                    Show all jobs on the server.
  --getpid                       Get Process ID for the server.
  --status                       Status for the server.
  --priority-status              Queued jobs status by priority.
  --workers                      Workers for the server.
  -S [ --ssl ]                   Enable SSL connections.

"""

Write = Callable[[bytes], object]
"""Takes bytes that are shown."""


class Failure(Exception):
    """Nothing more can be asked; the text says why, as the C tool does."""


def is_whole(answer: bytes, is_list: bool) -> bool:
    """Whether nothing more comes after these bytes of an answer."""
    if not is_list or answer.startswith((b"ERR ", b"OK")):
        return answer.endswith(b"\n")
    return answer == b".\n" or answer.endswith(b"\n.\n")


def show(answer: bytes, out: Write, complain: Write) -> bool:
    """
    Show an answer.

    @return: whether it was no error.
    """
    if answer.startswith(b"ERR "):
        complain(b"Error: " + answer[4:])
        return False
    said = answer[3:] if answer.startswith(b"OK ") else b"" if answer.startswith(b"OK\r") else answer
    out(said or b"OK\n")
    return True


class Session:
    """A connection to a server."""

    def __init__(self, host: str, port: str, tls: Mapping[str, str] | None, strict: bool) -> None:
        """
        @param tls: the environment, for the files of TLS; C{None} for a connection without.
        @raise Failure: there is none.
        """
        self._host = host
        # Before anything is connected, as the C tool has it.
        try:
            made = None if tls is None else context(tls, strict)
        except TLSFailure as error:
            raise Failure(error.short) from error
        try:
            found = socket.getaddrinfo(
                os.fsencode(host), os.fsencode(port), type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
        except socket.gaierror as error:
            raise Failure(f"Failed to connect on {host}:{port} with {error.strerror}") from error
        for family, kind, protocol, _, address in found:
            try:
                self._sock = socket.socket(family, kind, protocol)
            except OSError:
                # A family that this system does not have.
                continue
            try:
                self._sock.connect(address)
                break
            except OSError:
                self._sock.close()
        else:
            raise Failure(f"Error connecting to {host}.\n")
        if made is not None:
            try:
                self._sock = made.wrap_socket(self._sock, server_hostname=host)
            except OSError as error:
                self.close()
                raise Failure(f"Failed during send({error.strerror or error})") from error

    def ask(self, command: bytes, is_list: bool) -> bytes:
        """
        Ask, and wait for the answer.

        The C tool takes an answer for whole after five milliseconds without a byte, and what comes later
        for the next one.

        @raise Failure: the server has gone.
        """
        try:
            self._sock.sendall(command)
        except OSError as error:
            raise Failure(f"Failed during send({error.strerror})") from error
        answer = b""
        while not is_whole(answer, is_list):
            if answer and not self._more():
                break
            try:
                piece = self._sock.recv(PIECE)
            except OSError as error:
                raise Failure(f"Error occurred while reading data from {self._host}") from error
            if not piece:
                raise Failure(f"Socket was shutdown while reading from {self._host}")
            answer += piece
        return answer

    def close(self) -> None:
        """End the connection."""
        self._sock.close()

    def _more(self) -> bool:
        """Whether there is more to read, or comes soon."""
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        return bool(select.select([self._sock], [], [], SILENCE)[0])


def carry_out(words: Sequence[str], environ: Mapping[str, str], out: Write, complain: Write) -> int:
    """
    Do what the command line says.

    @return: the exit status.
    """
    try:
        given, strict = Reader(KNOWN).read(words)
    except WrongWords as error:
        out(os.fsencode(f"{NAME} : {error}\n\n") + HELP)
        return 1
    if "help" in given:
        out(HELP)
        return 0
    wanted = [name for name in OPERATIONS if name in given]
    if not wanted:
        out(b"No option execution operation given.\n\n" + HELP)
        return 1
    refused = False
    try:
        tls = environ if "ssl" in given else None
        session = Session(given.get("host", "localhost"), given.get("port", "4730"), tls, strict)
        try:
            for name in wanted:
                command = os.fsencode(f"{OPERATIONS[name]}{given[name]}\r\n")
                refused |= not show(session.ask(command, name in LISTS), out, complain)
        finally:
            session.close()
    except Failure as error:
        complain(os.fsencode(f"Error: {error}\n"))
        return 1
    return 1 if refused and strict else 0


def run(words: Sequence[str]) -> int:
    """
    Run C{gearadmin}.

    @param words: its command line, without its name.
    @return: the exit status.
    """
    # It ends by these as every program of C does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def complain(said: bytes) -> None:
        sys.stdout.flush()
        sys.stderr.buffer.write(said)
        sys.stderr.flush()

    return carry_out(words, os.environ, sys.stdout.buffer.write, complain)
