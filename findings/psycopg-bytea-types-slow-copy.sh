#!/usr/bin/env bash
# psycopg 3: to say with set_types() that the values of a COPY are bytea makes them ten times as slow to write.
#
# Seen with: psycopg 3.3.9 with psycopg-binary 3.3.9 (PyPI), CPython 3.11.7.
# Needs: python3 with venv. No database: what is measured happens before anything is sent.
#
# Expected: with the C package, bytes are written by it. Copy.set_types() is recommended for a binary COPY, and for
#   numbers, texts, dates it changes nothing of that: what is found for int8, text or date is of psycopg_binary.
# Happens: for bytea there are found, by its oid, the dumper of psycopg.dbapi20 for Binary objects, which is a class
#   in Python, as it was registered after that for bytes. Each value is then a call of a Python method. Without
#   set_types() bytes are written in C; and with them again once the dumper for bytes is registered once more.
#
# Output:
#   int8: psycopg_binary._psycopg
#   text: psycopg_binary._psycopg
#   bytea: psycopg.dbapi20
#   with set_types(['bytea']): more than 3 times the time
#   registered once more: about the same time
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet 'psycopg[binary]==3.3.9' >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys
import time

import psycopg
from psycopg._copy_base import format_row_binary
from psycopg.adapt import Transformer
from psycopg.pq import Format
from psycopg.types.string import BytesBinaryDumper

TYPES = ("int8", "text", "bytea")
ROW = (bytes(100),) * 5
ROWS, TIMES = 2000, 20


def seconds(names=()):
    """The processor's time for some rows as write_row() makes them; set_types() is the one other call."""
    transformer = Transformer()
    if names:
        oids = [psycopg.adapters.types[name].oid for name in names]
        transformer.set_dumper_types(oids, Format.BINARY)
    taken = []
    for _ in range(TIMES):
        out = bytearray()
        begin = time.process_time()
        for _ in range(ROWS):
            format_row_binary(ROW, transformer, out)
        taken.append(time.process_time() - begin)
    return min(taken)


def told(ratio):
    """A ratio, as precise as it is the same on each machine."""
    if ratio > 3:
        return "more than 3 times the time"
    return "about the same time" if ratio < 1.5 else "somewhat more time"


lines = []
for name in TYPES:
    dumper = psycopg.adapters.get_dumper_by_oid(psycopg.adapters.types[name].oid, Format.BINARY)
    lines.append(f"{name}: {dumper.__module__}")
plain, typed = seconds(), seconds(["bytea"] * len(ROW))
lines.append(f"with set_types(['bytea']): {told(typed / plain)}")
psycopg.adapters.register_dumper(bytes, BytesBinaryDumper)
lines.append(f"registered once more: {told(seconds(['bytea'] * len(ROW)) / plain)}")
print("\n".join(lines))
wanted = [
    "int8: psycopg_binary._psycopg",
    "text: psycopg_binary._psycopg",
    "bytea: psycopg.dbapi20",
    "with set_types(['bytea']): more than 3 times the time",
    "registered once more: about the same time",
]
sys.exit(0 if lines == wanted else 1)
PYTHON
