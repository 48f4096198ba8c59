"""
Writes workloads and results: bytes of any size and any kind, as they come.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from txgear.cli.base.output import is_terminal
from txgear.cli.base.statuses import FAILED, MISUSED, CommandError

F = TypeVar("F", bound=Callable[..., Any])

STDOUT: Final = "-"
"""The name of the standard output, where a file is named; and so is C{STDIN} of the input."""
STDIN: Final = "-"
_ODD: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Characters that control a terminal."""


def output_option(command: F) -> F:
    """Give a command the option that L{write_payload} takes as C{output}."""
    return click.option(
        "--output", metavar="FILE", help="Write to this file; - for standard output, even to a terminal."
    )(command)


def read_payload(path: str) -> bytes:
    """
    All of a file.

    @param path: C{-} stands for standard input.
    @raise CommandError: it cannot be read.
    """
    if path == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}", MISUSED) from error


def write_payload(pieces: Iterable[bytes], output: str | None) -> None:
    """
    Write bytes to a file, or as they are to standard output.

    @param output: the file; C{-} for standard output whatever it is, and C{None} for one that is no terminal,
        or text: what is no text makes terminals do strange things.
    @raise CommandError: there is no writing to the file, or the bytes are no text and go to a terminal.
    """
    if output is not None and output != STDOUT:
        _write_file(pieces, output)
        return
    sys.stdout.flush()
    out = sys.stdout.buffer
    for piece in _text(pieces) if output is None and is_terminal() else pieces:
        out.write(piece)
    out.flush()


def _text(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """
    The same pieces.

    @raise CommandError: one is no text; it and what follows is not written.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    piece = b"\n"
    for piece in pieces:
        try:
            odd = _ODD.search(decoder.decode(piece))
        except UnicodeDecodeError:
            odd = _ODD.match("\0")
        if odd is not None:
            raise CommandError(
                "these bytes are no text: --output FILE writes them to a file, --output - to the terminal",
                FAILED,
            )
        yield piece
    if not piece.endswith(b"\n"):
        yield b"\n"


def _write_file(pieces: Iterable[bytes], path: str) -> None:
    """Write a file; where there is one already it is replaced when all is there, and not before."""
    try:
        special = os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode)
        written = path if special else f"{path}.part"
        try:
            with open(written, "wb") as file:
                for piece in pieces:
                    file.write(piece)
            if not special:
                os.replace(written, path)
        except BaseException:
            if not special and os.path.lexists(written):
                os.unlink(written)
            raise
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}", FAILED) from error
