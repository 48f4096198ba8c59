#!/usr/bin/env bash
# psycopg 3: an attempt to connect that has timed out stays connected until the garbage collector runs.
#
# Seen with: psycopg 3.3.9 with psycopg-binary 3.3.9 (PyPI), CPython 3.11.7.
# Needs: python3 with venv. A listener in the same process plays a server that never answers.
#
# Expected: after psycopg.connect() has raised ConnectionTimeout, its connection is closed: nobody has it.
# Happens: the error's traceback holds the frame of connect(), which holds what was to become the connection, and
#   that refers to the error: a cycle, though the program has let go of the error. The socket stays open, and the
#   server, once it answers again, has a session with nobody. Where little is allocated, as in a program that only
#   tries to reach its database, that may be for minutes; the collector, or traceback.clear_frames(), ends it.
#
# Output:
#   open after 3 attempts: 3
#   open after gc.collect(): 0
#   open after 3 attempts with clear_frames(): 0
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet 'psycopg[binary]==3.3.9' >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import gc
import os
import socket
import sys
import traceback

import psycopg

ATTEMPTS = 3


def sockets():
    """How many sockets this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def attempt(port, clear):
    try:
        psycopg.connect(host="127.0.0.1", port=port, dbname="tried", user="tried", connect_timeout=2)
    except psycopg.errors.ConnectionTimeout as error:
        if clear:
            traceback.clear_frames(error.__traceback__)
    else:
        sys.exit("who has answered?")


gc.disable()
with socket.create_server(("127.0.0.1", 0)) as silent:
    port = silent.getsockname()[1]
    before = sockets()
    for _ in range(ATTEMPTS):
        attempt(port, clear=False)
    left = sockets() - before
    print(f"open after {ATTEMPTS} attempts: {left}")
    gc.collect()
    collected = sockets() - before
    print(f"open after gc.collect(): {collected}")
    for _ in range(ATTEMPTS):
        attempt(port, clear=True)
    cleared = sockets() - before
    print(f"open after {ATTEMPTS} attempts with clear_frames(): {cleared}")
sys.exit(0 if (left, collected, cleared) == (ATTEMPTS, 0, 0) else 1)
PYTHON
