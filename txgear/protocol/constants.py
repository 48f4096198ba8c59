"""
The numbers, words and bounds of the Gearman protocol.

Packet types have the names of the protocol's own table. L{TEXT}, L{WRONG_MAGIC} and
L{MALFORMED} are not in that table and never in a header: with them the decoder tells
that it has found something else than a packet. L{RESTARTED} is no packet either.
"""

from __future__ import annotations

from typing import Final

REQUEST_MAGIC: Final = b"\0REQ"
RESPONSE_MAGIC: Final = b"\0RES"
HEADER_SIZE: Final = 12
"""Bytes of the header of a binary packet: magic, type, length of the body."""

DEFAULT_PORT: Final = 4730

RESTARTED: Final = -3
"""
Another attempt at a job begins, and what the worker of the last one has sent is void. A notice within the
server, to peers that ask for it; its one argument is the handle. It is never written to a connection.
"""
MALFORMED: Final = -2
"""A packet whose body lacks arguments; its one argument is the type's name."""
WRONG_MAGIC: Final = -1
"""A packet with the magic of the other direction."""
TEXT: Final = 0
"""A line of text, without its line end, as its one argument."""

CAN_DO: Final = 1
CANT_DO: Final = 2
RESET_ABILITIES: Final = 3
PRE_SLEEP: Final = 4
UNUSED: Final = 5
NOOP: Final = 6
SUBMIT_JOB: Final = 7
JOB_CREATED: Final = 8
GRAB_JOB: Final = 9
NO_JOB: Final = 10
JOB_ASSIGN: Final = 11
WORK_STATUS: Final = 12
WORK_COMPLETE: Final = 13
WORK_FAIL: Final = 14
GET_STATUS: Final = 15
ECHO_REQ: Final = 16
ECHO_RES: Final = 17
SUBMIT_JOB_BG: Final = 18
ERROR: Final = 19
STATUS_RES: Final = 20
SUBMIT_JOB_HIGH: Final = 21
SET_CLIENT_ID: Final = 22
CAN_DO_TIMEOUT: Final = 23
ALL_YOURS: Final = 24
WORK_EXCEPTION: Final = 25
OPTION_REQ: Final = 26
OPTION_RES: Final = 27
WORK_DATA: Final = 28
WORK_WARNING: Final = 29
GRAB_JOB_UNIQ: Final = 30
JOB_ASSIGN_UNIQ: Final = 31
SUBMIT_JOB_HIGH_BG: Final = 32
SUBMIT_JOB_LOW: Final = 33
SUBMIT_JOB_LOW_BG: Final = 34
SUBMIT_JOB_SCHED: Final = 35
SUBMIT_JOB_EPOCH: Final = 36
SUBMIT_REDUCE_JOB: Final = 37
SUBMIT_REDUCE_JOB_BACKGROUND: Final = 38
GRAB_JOB_ALL: Final = 39
JOB_ASSIGN_ALL: Final = 40
GET_STATUS_UNIQUE: Final = 41
STATUS_RES_UNIQUE: Final = 42
LAST_TYPE: Final = STATUS_RES_UNIQUE

PRIVATE: Final = 0x5458_0000
"""The types of this project's own packets are this and a small number; C{54 58} are the letters TX."""
SUBMIT_JOB_OPTIONS: Final = PRIVATE + 1
GET_RESULT: Final = PRIVATE + 2
RESULT: Final = PRIVATE + 3
GRAB_JOB_OPTIONS: Final = PRIVATE + 4
JOB_ASSIGN_OPTIONS: Final = PRIVATE + 5
WORK_BEAT: Final = PRIVATE + 6
JOB_WITHDRAWN: Final = PRIVATE + 7
LOGIN: Final = PRIVATE + 8
LOGGED_IN: Final = PRIVATE + 9
WORKER_STATE: Final = PRIVATE + 10
STEER: Final = PRIVATE + 11
STEERED: Final = PRIVATE + 12
SWITCH_HTTP: Final = PRIVATE + 13
SWITCHED_HTTP: Final = PRIVATE + 14
WORKER_HELLO: Final = PRIVATE + 15
WORKER_WELCOME: Final = PRIVATE + 16
WORKER_GONE: Final = PRIVATE + 17
FUNCTION_LOAD: Final = PRIVATE + 18
FUNCTION_LOADS: Final = PRIVATE + 19
WORK_RETRY: Final = PRIVATE + 20
WORKER_OFFER: Final = PRIVATE + 21

HIGH: Final = 0
NORMAL: Final = 1
LOW: Final = 2
PRIORITIES: Final = (HIGH, NORMAL, LOW)
"""The three priorities, in the order in which they are served."""

EXCEPTIONS_OPTION: Final = b"exceptions"
EXTENSION_OPTION: Final = b"txgear-1"
"""The option of OPTION_REQ with which a peer asks for the packets from L{PRIVATE} on."""
LEAVING_OPTION: Final = b"txgear-leaving"
"""The one with which a client asks to be told when the server ends: what has no answer then, nobody does."""

OUTCOME_UNKNOWN: Final = b"unknown"
"""In RESULT: there was never such a job, or it is forgotten."""
OUTCOME_PENDING: Final = b"pending"
"""In RESULT: the job has not ended."""
OUTCOME_REFUSED: Final = b"refused"
"""In RESULT: the server cannot tell at present; the data says why, in words."""

WORD_STOP: Final = b"stop"
"""In STEER: take no job, finish what is in hand, and leave."""
WORD_REGISTER: Final = b"register"
"""In STEER: do the function that the argument names, which the worker knows, and does not do now."""
WORD_UNREGISTER: Final = b"unregister"
"""In STEER: do the function that the argument names no more; jobs in hand are finished."""

STEERED_DONE: Final = b"done"
"""In STEERED: so it is, or will be without any more words."""
STEERED_REFUSED: Final = b"refused"
"""In STEERED: the worker does not do it; the data says why, in words."""

SHUTTING_DOWN: Final = "The server is shutting down"
"""The text of QUEUE_ERROR while a server drains: the job was not taken, and another server may take it."""

NOT_ALLOWED: Final = "Not allowed: "
"""What the text of ACCESS_DENIED begins with; what was asked for follows."""

UNIQUE_FROM_WORKLOAD: Final = b"-"
"""The unique of a job whose workload stands for its unique."""

MAX_UNIQUE: Final = 64
"""Bytes of a unique or a reducer at the most, as in the reference."""
MAX_HANDLE: Final = 63
"""Bytes of a job handle at the most: libgearman has 64 bytes for it and a NUL."""
MAX_CLIENT_ID: Final = 127
"""Bytes of a client id that are kept; the reference cuts longer ones, and says nothing."""
MAX_OPTIONS: Final = 8192
"""
Bytes of the options of SUBMIT_JOB_OPTIONS at the most, and of a WORKER_STATE: all settings together take far
fewer.
"""
MAX_HELLO: Final = 512 * 1024
"""Bytes of a WORKER_HELLO at the most: as many jobs as may be in it fit, whatever their handles look like."""
MOST_CLAIMED: Final = 1000
"""
Jobs that a WORKER_HELLO may claim at the most; those behind them are not looked at. Few workers have ten in
hand.
"""
MAX_TOKEN: Final = 64
"""Bytes at the most of the token that tells the answers to GET_RESULT apart."""
MAX_FUNCTION: Final = 8191
"""Bytes of a function's name at the most: what fits the reference's receive buffer."""
MAX_LINE: Final = 8192
"""Bytes of a text command at the most: what fits the reference's receive buffer."""
MAX_LINE_WORDS: Final = 5
"""Words of a text command at the most; with more the reference closes the connection."""
MAX_PACKET: Final = 64 * 1024 * 1024
"""Bytes of a packet's body at the most, by default; the operator may set another bound."""
