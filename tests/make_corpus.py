"""Makes the malformed messages of `corpus/`: run it after a change, and commit what it writes.

Each entry tells what is wrong with the message and what the server has to do. A server may do more than one
thing with some of them; then only its survival is asked for.
"""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import Final, NamedTuple

from wirepeer import HEADER, REQ, RES, P, packet

FOLDER: Final = Path(__file__).with_name("corpus")


class Then(Enum):
    """What the server does with a message."""

    CLOSES = auto()  #: closes the connection without a byte
    REFUSES_AND_CLOSES = auto()  #: answers an ERROR, then closes
    REFUSES = auto()  #: answers an ERROR, and the connection goes on
    ANSWERS = auto()  #: answers one packet, of whatever kind, and the connection goes on
    IGNORES = auto()  #: answers nothing, and the connection goes on
    SURVIVES = auto()  #: whatever it likes


class Nasty(NamedTuple):
    """One malformed message."""

    name: str
    data: bytes
    note: str
    then: Then
    #: The ERROR's code, where it is agreed upon.
    code: bytes = b""
    #: The reference does something else, a defect of its own.
    ours_only: bool = False


def header(type: int, size: int, magic: bytes = REQ) -> bytes:
    """A header that may lie."""
    return HEADER.pack(magic, type, size)


#: The types that the server takes, and how many arguments each has before its last one or its data.
SEPARATORS: Final = {
    P.SUBMIT_JOB: 2,
    P.WORK_STATUS: 2,
    P.SUBMIT_JOB_BG: 2,
    P.SUBMIT_JOB_HIGH: 2,
    P.CAN_DO_TIMEOUT: 1,
    P.SUBMIT_JOB_HIGH_BG: 2,
    P.SUBMIT_JOB_LOW: 2,
    P.SUBMIT_JOB_LOW_BG: 2,
    P.SUBMIT_JOB_SCHED: 7,
    P.SUBMIT_JOB_EPOCH: 3,
    P.SUBMIT_REDUCE_JOB: 3,
    P.SUBMIT_REDUCE_JOB_BACKGROUND: 3,
}

#: The types that only a server sends; from a peer they are refused.
SERVERS_OWN: Final = (
    P.NOOP,
    P.JOB_CREATED,
    P.NO_JOB,
    P.JOB_ASSIGN,
    P.ECHO_RES,
    P.ERROR,
    P.STATUS_RES,
    P.OPTION_RES,
    P.JOB_ASSIGN_UNIQ,
    P.JOB_ASSIGN_ALL,
    P.STATUS_RES_UNIQUE,
)

#: Bodies with the right number of arguments for them.
_BODIES: Final = {P.STATUS_RES: b"a\0" * 4 + b"a", P.STATUS_RES_UNIQUE: b"a\0" * 5 + b"a"}


def _headers() -> list[Nasty]:
    too_long = "a declared length over the limit"
    return [
        Nasty(
            "magic-unknown",
            header(P.ECHO_REQ, 0, b"\0ABC"),
            "a magic that is neither REQ nor RES",
            Then.CLOSES,
        ),
        Nasty("magic-nuls", bytes(12), "twelve NULs", Then.CLOSES),
        Nasty("magic-lower-case", header(P.ECHO_REQ, 0, b"\0req"), "the magic in small letters", Then.CLOSES),
        Nasty(
            "magic-of-answer",
            packet(P.ECHO_REQ, b"data", magic=RES),
            "a request that says it is an answer",
            Then.REFUSES,
            b"INVALID_MAGIC",
        ),
        Nasty("type-0", header(0, 0), "type 0 is no packet", Then.CLOSES),
        Nasty("type-0-with-body", header(0, 4) + b"abcd", "type 0 with a body", Then.CLOSES),
        Nasty("type-43", header(43, 0), "the first type that does not exist", Then.CLOSES),
        Nasty("type-43-with-body", header(43, 4) + b"abcd", "an unknown type with a body", Then.CLOSES),
        Nasty("type-1000", header(1000, 0), "a type far above all others", Then.CLOSES),
        Nasty(
            "type-max",
            header(0xFFFFFFFF, 0),
            "the largest type, which kills the reference",
            Then.CLOSES,
            b"",
            True,
        ),
        Nasty("type-5", header(5, 0), "the number that was never used", Then.REFUSES, b"INVALID_COMMAND"),
        Nasty(
            "type-all-yours",
            packet(P.ALL_YOURS),
            "a request from which nothing follows; the reference refuses it",
            Then.IGNORES,
            ours_only=True,
        ),
        Nasty(
            "length-max-echo", header(P.ECHO_REQ, 0xFFFFFFFF), too_long, Then.REFUSES_AND_CLOSES, b"", True
        ),
        Nasty(
            "length-max-can-do", header(P.CAN_DO, 0xFFFFFFFF), too_long, Then.REFUSES_AND_CLOSES, b"", True
        ),
        Nasty(
            "length-max-grab", header(P.GRAB_JOB, 0xFFFFFFFF), too_long, Then.REFUSES_AND_CLOSES, b"", True
        ),
        Nasty(
            "length-2g-submit", header(P.SUBMIT_JOB, 0x80000000), too_long, Then.REFUSES_AND_CLOSES, b"", True
        ),
        Nasty(
            "length-one-over",
            header(P.SUBMIT_JOB, 64 * 2**20 + 1),
            too_long,
            Then.REFUSES_AND_CLOSES,
            b"",
            True,
        ),
        Nasty(
            "length-max-unknown-type",
            header(77, 0xFFFFFFFF),
            "unknown and too long at once",
            Then.CLOSES,
            b"",
            True,
        ),
    ]


def _separators() -> list[Nasty]:
    nasty = []
    for kind, count in SEPARATORS.items():
        for present in range(count):
            data = packet(kind, *[b"x"] * present, b"the-last-one-without-its-NUL")
            # With the last NUL alone missing it is a packet without data; REDUCE is documented with three
            # arguments.
            good = present == count - 1 and kind not in (P.WORK_STATUS, P.CAN_DO_TIMEOUT, P.SUBMIT_JOB_SCHED)
            nasty.append(
                Nasty(
                    f"nul-missing-{kind:02}-{present}",
                    data,
                    f"{kind.name} with {present} of {count} NULs",
                    Then.ANSWERS if good else Then.REFUSES,
                    ours_only=True,
                )
            )
    nasty += [
        Nasty(
            f"nul-missing-{kind:02}-0",
            packet(kind, b"H:nowhere:1"),
            f"{kind.name} with the handle alone, as some workers end a job without a result",
            Then.REFUSES,
            ours_only=True,
        )
        for kind in (P.WORK_COMPLETE, P.WORK_DATA, P.WORK_WARNING, P.WORK_EXCEPTION)
    ]
    nasty += [
        Nasty(
            f"not-for-servers-{kind:02}",
            packet(kind, _BODIES.get(kind, b"a\0b\0c\0d\0e")),
            f"{kind.name}, which only a server sends",
            Then.REFUSES,
            b"INVALID_COMMAND",
        )
        for kind in SERVERS_OWN
    ]
    return nasty


def _arguments() -> list[Nasty]:
    name = b"corpus-function"
    long_unique = b"u" * 65
    too_large = b"ARGUMENT_TOO_LARGE"
    nasty = [
        Nasty(
            f"unique-65-{kind:02}",
            packet(kind, name, long_unique, b"data"),
            "a unique of 65 bytes",
            Then.REFUSES,
            too_large,
        )
        for kind in (
            P.SUBMIT_JOB,
            P.SUBMIT_JOB_BG,
            P.SUBMIT_JOB_HIGH,
            P.SUBMIT_JOB_HIGH_BG,
            P.SUBMIT_JOB_LOW,
            P.SUBMIT_JOB_LOW_BG,
        )
    ]
    nasty += [
        Nasty(
            "unique-65-36",
            packet(P.SUBMIT_JOB_EPOCH, name, long_unique, b"0", b"data"),
            "a unique of 65 bytes for a later time",
            Then.REFUSES,
            too_large,
        ),
        Nasty(
            "unique-65-37",
            packet(P.SUBMIT_REDUCE_JOB, name, long_unique, b"reducer", b"", b"data"),
            "a unique of 65 bytes with a reducer, with which the reference hands out its memory",
            Then.REFUSES,
            too_large,
            True,
        ),
        Nasty(
            "unique-6000-38",
            packet(P.SUBMIT_REDUCE_JOB_BACKGROUND, name, b"u" * 6000, b"reducer", b"", b"data"),
            "a unique of 6000 bytes with a reducer",
            Then.REFUSES,
            too_large,
            True,
        ),
        Nasty(
            "reducer-65",
            packet(P.SUBMIT_REDUCE_JOB, name, b"unique", b"r" * 65, b"", b"data"),
            "a reducer of 65 bytes",
            Then.REFUSES,
            too_large,
        ),
        Nasty(
            "unique-8000",
            packet(P.SUBMIT_JOB_BG, name, b"u" * 8000, b""),
            "a very long unique",
            Then.REFUSES,
            too_large,
        ),
        Nasty(
            "can-do-8193", packet(P.CAN_DO, b"f" * 8193), "a function name that is too long", Then.SURVIVES
        ),
        Nasty("can-do-1m", packet(P.CAN_DO, b"f" * 2**20), "a function name of a megabyte", Then.SURVIVES),
        Nasty(
            "submit-name-8192",
            packet(P.SUBMIT_JOB_BG, b"f" * 8192, b"", b""),
            "the same in a submit",
            Then.SURVIVES,
        ),
        Nasty(
            "submit-name-empty",
            packet(P.SUBMIT_JOB_BG, b"", b"", b"data"),
            "a job of no function",
            Then.SURVIVES,
        ),
        Nasty("can-do-empty", packet(P.CAN_DO, b""), "a function without a name", Then.SURVIVES),
        Nasty("can-do-nul", packet(P.CAN_DO, b"a\0b"), "a NUL inside a function's name", Then.SURVIVES),
        Nasty("can-do-nuls", packet(P.CAN_DO, b"\0" * 100), "a name of NULs", Then.SURVIVES),
        Nasty(
            "can-do-newline",
            packet(P.CAN_DO, b"a\nb\tc\r\n.\n"),
            "line ends in a function's name",
            Then.SURVIVES,
        ),
        Nasty(
            "cant-do-unknown",
            packet(P.CANT_DO, b"never-registered"),
            "CANT_DO of what it could not do",
            Then.IGNORES,
        ),
        Nasty("cant-do-nul", packet(P.CANT_DO, b"never\0registered"), "a NUL inside the name", Then.SURVIVES),
        Nasty("client-id-nul", packet(P.SET_CLIENT_ID, b"a\0b"), "a NUL inside a client's id", Then.SURVIVES),
        Nasty(
            "client-id-long", packet(P.SET_CLIENT_ID, b"i" * 5000), "a client id of 5000 bytes", Then.SURVIVES
        ),
        Nasty(
            "client-id-binary",
            packet(P.SET_CLIENT_ID, bytes(range(1, 256))),
            "every byte in an id",
            Then.SURVIVES,
        ),
        Nasty(
            "can-do-timeout-text",
            packet(P.CAN_DO_TIMEOUT, name, b"soon"),
            "a timeout that is no number",
            Then.SURVIVES,
        ),
        Nasty(
            "can-do-timeout-negative",
            packet(P.CAN_DO_TIMEOUT, name, b"-5"),
            "a negative timeout",
            Then.SURVIVES,
        ),
        Nasty(
            "can-do-timeout-huge",
            packet(P.CAN_DO_TIMEOUT, name, b"9" * 30),
            "a timeout of 30 digits",
            Then.SURVIVES,
        ),
        Nasty("can-do-timeout-empty", packet(P.CAN_DO_TIMEOUT, name, b""), "an empty timeout", Then.SURVIVES),
        Nasty(
            "option-unknown",
            packet(P.OPTION_REQ, b"wishes"),
            "an unknown option",
            Then.REFUSES,
            b"UNKNOWN_OPTION",
        ),
        Nasty(
            "option-empty",
            packet(P.OPTION_REQ, b""),
            "an option without a name",
            Then.REFUSES,
            b"UNKNOWN_OPTION",
        ),
        Nasty("option-64", packet(P.OPTION_REQ, b"o" * 64), "a long option", Then.REFUSES, b"UNKNOWN_OPTION"),
        Nasty("get-status-empty", packet(P.GET_STATUS, b""), "the status of no handle", Then.ANSWERS),
        Nasty("get-status-63", packet(P.GET_STATUS, b"h" * 63), "the longest handle", Then.ANSWERS),
        Nasty(
            "get-status-64",
            packet(P.GET_STATUS, b"h" * 64),
            "a handle that is too long",
            Then.ANSWERS,
            ours_only=True,
        ),
        Nasty(
            "get-status-7000",
            packet(P.GET_STATUS, b"h" * 7000),
            "a very long handle",
            Then.ANSWERS,
            ours_only=True,
        ),
        Nasty(
            "get-status-unique-64",
            packet(P.GET_STATUS_UNIQUE, b"u" * 64),
            "the longest unique",
            Then.ANSWERS,
            ours_only=True,
        ),
        Nasty(
            "get-status-unique-7000",
            packet(P.GET_STATUS_UNIQUE, b"u" * 7000),
            "a very long unique",
            Then.ANSWERS,
            ours_only=True,
        ),
        Nasty(
            "epoch-text",
            packet(P.SUBMIT_JOB_EPOCH, name, b"", b"later", b"data"),
            "a time in words",
            Then.ANSWERS,
        ),
        Nasty(
            "epoch-empty", packet(P.SUBMIT_JOB_EPOCH, name, b"", b"", b"data"), "an empty time", Then.ANSWERS
        ),
        Nasty(
            "epoch-negative",
            packet(P.SUBMIT_JOB_EPOCH, name, b"", b"-1", b"data"),
            "a time before 1970",
            Then.ANSWERS,
        ),
        Nasty(
            "epoch-30-digits",
            packet(P.SUBMIT_JOB_EPOCH, name, b"", b"9" * 30, b"data"),
            "a time of 30 digits",
            Then.ANSWERS,
            ours_only=True,
        ),
        Nasty(
            "epoch-9-digits-float",
            packet(P.SUBMIT_JOB_EPOCH, name, b"", b"1e308", b"data"),
            "a time as a floating point number",
            Then.ANSWERS,
        ),
        Nasty(
            "sched-garbage",
            packet(P.SUBMIT_JOB_SCHED, name, b"", b"x", b"99", b"-1", b"*/0", b"8", b"data"),
            "minute x, hour 99, day -1, month */0, weekday 8",
            Then.REFUSES,
        ),
        Nasty(
            "sched-nines",
            packet(P.SUBMIT_JOB_SCHED, name, b"", *[b"9" * 40] * 5, b"data"),
            "five numbers of 40 digits",
            Then.REFUSES,
        ),
    ]
    unknown = b"JOB_NOT_FOUND"
    for kind, tail in (
        (P.WORK_STATUS, (b"1", b"2")),
        (P.WORK_COMPLETE, (b"result",)),
        (P.WORK_FAIL, ()),
        (P.WORK_EXCEPTION, (b"broken",)),
        (P.WORK_DATA, (b"data",)),
        (P.WORK_WARNING, (b"warning",)),
    ):
        note = f"{kind.name} for a handle that does not exist"
        nasty.append(
            Nasty(
                f"handle-unknown-{kind:02}", packet(kind, b"H:nowhere:1", *tail), note, Then.REFUSES, unknown
            )
        )
        nasty.append(
            Nasty(f"handle-empty-{kind:02}", packet(kind, b"", *tail), "an empty handle", Then.REFUSES)
        )
        nasty.append(
            Nasty(
                f"handle-long-{kind:02}",
                packet(kind, b"h" * 4000, *tail),
                "a handle of 4000 bytes",
                Then.SURVIVES,
            )
        )
    nasty += [
        Nasty(
            "work-status-negative",
            packet(P.WORK_STATUS, b"H:nowhere:1", b"-1", b"-2147483649"),
            "negative progress",
            Then.REFUSES,
            unknown,
        ),
        Nasty(
            "work-fail-nul",
            packet(P.WORK_FAIL, b"H:nowhere:1\0"),
            "a NUL after the last argument",
            Then.REFUSES,
            unknown,
        ),
    ]
    return nasty


def _pieces() -> list[Nasty]:
    whole = packet(P.SUBMIT_JOB_BG, b"corpus-function", b"", b"data")
    nasty = [
        Nasty(
            f"truncated-{size:02}",
            whole[:size],
            f"the first {size} bytes of a submit, and then the end",
            Then.SURVIVES,
        )
        for size in (1, 4, 8, 11, 12, 13, 20, len(whole) - 1)
    ]
    nasty += [
        Nasty(
            "truncated-declares-much",
            header(P.SUBMIT_JOB_BG, 64 * 2**20) + b"corpus-function\0\0some",
            "a body that never comes, of the longest size allowed",
            Then.SURVIVES,
        ),
        Nasty("body-missing", header(P.CAN_DO, 1), "one byte that never comes", Then.SURVIVES),
        Nasty("body-for-none", packet(P.GRAB_JOB, b"what for"), "a body where none belongs", Then.SURVIVES),
        Nasty("body-for-sleep", packet(P.PRE_SLEEP, b"zzz"), "a body where none belongs", Then.SURVIVES),
        Nasty(
            "body-for-reset", packet(P.RESET_ABILITIES, b"all"), "a body where none belongs", Then.SURVIVES
        ),
        Nasty("text-endless", b"x" * 20_000, "a text line without an end", Then.CLOSES),
        Nasty("text-8193", b"x" * 8193, "a byte more than a line may have", Then.CLOSES),
        Nasty("text-six-words", b"a b c d e f\n", "six words", Then.CLOSES),
        Nasty("text-thousand-words", b"a " * 1000 + b"\n", "a thousand words", Then.CLOSES),
        Nasty("text-binary", bytes(range(128, 256)) + b"\n", "no letters at all", Then.SURVIVES),
        Nasty("text-nul", b"status\0\n", "a NUL in a text line", Then.SURVIVES),
        Nasty("text-returns", b"\r\r\r\r\n", "carriage returns", Then.SURVIVES),
        Nasty(
            "text-http", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "a browser at the wrong port", Then.SURVIVES
        ),
        Nasty(
            "text-tls",
            bytes.fromhex("1603010200010001fc0303") + bytes(range(200)) + b"\n",
            "a TLS greeting to a port without TLS",
            Then.SURVIVES,
        ),
        Nasty(
            "text-overlong-name",
            b"create function " + b"n" * 8000 + b"\n",
            "a name of 8000 letters",
            Then.SURVIVES,
        ),
        Nasty(
            "text-maxqueue-huge",
            b"maxqueue corpus-function " + b"9" * 40 + b"\r\n",
            "a limit of 40 digits",
            Then.SURVIVES,
        ),
        Nasty("text-format", b"%s%n%s {0} \\x00 $(id)\n", "what other languages would expand", Then.SURVIVES),
    ]
    return nasty


CORPUS: Final = [*_headers(), *_separators(), *_arguments(), *_pieces()]


def main() -> None:
    """Write every message into a file of its own."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.bin"):
        old.unlink()
    for nasty in CORPUS:
        (FOLDER / f"{nasty.name}.bin").write_bytes(nasty.data)


if __name__ == "__main__":
    main()
