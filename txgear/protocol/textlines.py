"""
Text commands and their answers: a line to words, an answer to lines.

The words are those of the reference, byte for byte: people and regular
expressions read them. A list ends with a line that is a dot, C{OK} with a value
ends with LF, a bare C{OK} and every C{ERR} with CRLF. This server's own commands
answer in the same ways.

Bytes that peers bring, names above all, are escaped by one rule. C{\\x} and two
hexadecimal digits stand for one byte, and any other backslash for itself. Escaped
are bytes that would part lines or columns, bytes that are not UTF-8, and a
backslash before C{x} and two digits; all others are written as they are.
L{unescaped} undoes it. So no two names look alike, and a name that was printed can
be given to a command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable
from typing import Any, Final

from txgear.errors import InvalidArgument, ProtocolError, ServerError
from txgear.protocol.constants import MAX_LINE_WORDS
from txgear.protocol.packets import decimal

OK: Final = b"OK\r\n"
END: Final = b".\n"
"""The line that ends a list."""
UNKNOWN_JOB: Final = b"ERR UNKNOWN_JOB\r\n"
UNKNOWN_ERROR: Final = b"ERR UNKNOWN_ERROR\r\n"
UNKNOWN_SHOW: Final = b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"
FUNCTION_NOT_FOUND: Final = b"ERR function not found\r\n"
FUNCTION_IN_USE: Final = b"ERR there are still connected workers or executing clients\r\n"

LEVELS: Final = ("FATAL", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
"""gearmand's log levels, from the fewest lines to the most."""

MAX_OWN_WORDS: Final = 16
"""Words at the most of a command that the reference does not know."""

_spaces = re.compile(rb" +")
HTTP_WORDS: Final = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"HOST:")
)
"""
Words with which the first lines of an HTTP request begin, in capitals. Its other lines must not be obeyed as
commands: a web page can make a browser post any lines to any port of its machine.
"""

_ordinary = re.compile(rb"[\x21-\x5b\x5d-\x7e]*")
_ambiguous = re.compile(rb"\\(?=x[0-9a-fA-F]{2})")
# The control characters and line ends of ASCII and of Unicode: some terminals obey the former, and
# some programs part lines at the latter.
_controls = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_controls_and_space = re.compile(rb" |" + _controls.pattern)
_escaped = re.compile(rb"\\x([0-9a-fA-F]{2})")


def _escape(match: re.Match[bytes]) -> bytes:
    return b"".join([b"\\x%02x" % byte for byte in match[0]])


def text(raw: bytes) -> str:
    """
    Bytes as text: bytes that are not UTF-8 are escaped, and so is a backslash that would look like
    the beginning of an escape.
    """
    return _ambiguous.sub(rb"\\x5c", raw).decode("utf-8", "backslashreplace")


def for_line(text: str) -> bytes:
    """Text for a line of a list, with control characters escaped: they could forge lines."""
    return _controls.sub(_escape, text.encode("utf-8"))


def for_word(text: str) -> bytes:
    """Text for one word of a line, with control characters and spaces escaped."""
    return _controls_and_space.sub(_escape, text.encode("utf-8"))


def shown(name: bytes) -> bytes:
    """A name for a line of a list."""
    return name if _ordinary.fullmatch(name) else for_line(text(name))


def shown_word(name: bytes) -> bytes:
    """A name for a list whose columns are parted by spaces."""
    return name if _ordinary.fullmatch(name) else for_word(text(name))


def shown_alone(name: bytes) -> bytes:
    """A name that is a whole line of a list; a single dot is escaped, as it would end the list."""
    return b"\\x2e" if name == b"." else shown(name)


def unescaped(word: bytes) -> bytes:
    """The bytes that are written as this word."""
    return _escaped.sub(lambda match: bytes([int(match[1], 16)]), word) if b"\\x" in word else word


def words(line: bytes, own: Container[bytes] = ()) -> list[bytes]:
    """
    The words of a text command.

    As in the reference, words are parted by one space or more. Leading spaces make
    the first word empty, and trailing spaces add an empty word.

    @param own: commands, in lower case, that may have L{MAX_OWN_WORDS}; others may have
        L{MAX_LINE_WORDS}.
    @raise ProtocolError: there are too many words, or the line is HTTP.
    """
    found = _spaces.split(line)
    if found[0].upper() in HTTP_WORDS:
        raise ProtocolError("HTTP, which is not spoken on this port")
    if len(found) > MAX_LINE_WORDS:
        most = MAX_OWN_WORDS if found[0].lower() in own else MAX_LINE_WORDS
        if len(found) > most:
            raise ProtocolError(f"a text command of more than {most} words")
    return found


def pairs(words: Iterable[bytes]) -> dict[str, bytes]:
    """
    The values in words such as C{state=queued}, by their names in lower case.

    @raise InvalidArgument: a word is not of this form, or repeats a name.
    """
    found: dict[str, bytes] = {}
    for word in words:
        if not word:  # a space at the end of the line
            continue
        name, equals, value = word.partition(b"=")
        key = text(name).lower()
        if not equals or key in found:
            raise InvalidArgument(f"{key}: one value is wanted, as in {key}=value")
        found[key] = unescaped(value)
    return found


def listing(rows: Iterable[bytes]) -> bytes:
    """The answer that is a list: the rows, then the dot."""
    return b"".join([row + b"\n" for row in rows]) + END


def row(*columns: bytes | int) -> bytes:
    """A row of a list, with its columns parted by tabs."""
    return b"\t".join([b"%d" % column if isinstance(column, int) else column for column in columns])


def column(value: Any, *, name: bool = False) -> bytes:
    """
    A value as a column of a list: C{-} for none, C{yes} and C{no}, numbers as they are, and JSON for
    values with parts.

    @param value: the value; text is what L{text} returns.
    @param name: whether the column is to be one word.
    """
    if value is None or value == "":
        return b"-"
    if value == "-":
        return b"\\x2d"
    if isinstance(value, bool):
        return b"yes" if value else b"no"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str):
        return for_line(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return for_word(value) if name else for_line(value)


def ok(value: str) -> bytes:
    """The answer that is one value."""
    return b"OK %s\n" % value.encode("utf-8")


def unknown_command(command: bytes) -> bytes:
    """The answer to an unknown command; the reference has no separator before its name either."""
    return b"ERR UNKNOWN_COMMAND Unknown+server+command%s\r\n" % shown(command)


def refused(error: ServerError) -> bytes:
    """The answer to a command that the broker refuses."""
    return b"ERR %s %s\r\n" % (
        error.code.encode("ascii"),
        for_line(error.text.replace(" ", "+")),
    )


def incomplete(command: bytes) -> bytes:
    """The answer to a command that lacks words."""
    return b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+%s\r\n" % shown(
        command
    )


def limits(values: list[bytes]) -> tuple[int, int, int]:
    """
    The bounds that C{maxqueue} sets: one number for all priorities, or one each for high,
    normal and low. A number that is missing or not positive, or is none, means no bound (0).
    """
    numbers = [max(decimal(value), 0) for value in values[:3]]
    if len(numbers) == 1:
        return numbers[0], numbers[0], numbers[0]
    numbers += [0] * (3 - len(numbers))
    return numbers[0], numbers[1], numbers[2]
