#!/usr/bin/env bash
# CPython: two hundred small tuples that nobody has any more keep fifty megabytes from the system, until a full garbage
# collection, which finds no garbage.
#
# Seen with: CPython 3.10.13, 3.11.7, 3.12.1 and 3.13.0, Linux. Nothing is installed.
# Needs: a python3 that is CPython, with its own allocator (pymalloc), as it is by default.
#
# Expected: objects that nobody refers to are freed at once, and an arena (1 MiB since 3.10) in which none is left goes back
#   to the system. The garbage collector is for cycles: where there are none, a collection changes nothing.
# Happens: up to 2,000 tuples of each length below twenty are not freed but put on a free list, each at its place. If
#   they came into being while much else did, nearly every arena has one of them, and stays, be it 99 % empty. Only a
#   collection of the oldest generation clears the lists; gc.collect()'s page says so, but not what they hold. Texts,
#   numbers, bytes, and a msgspec.Struct with gc=False are nothing to the collector: a program that has
#   mainly these does not come to such a collection, however many of them come and go.
#
# Output (3.11.7; some MiB differ):
#   a million texts: 65 MiB of arenas, let go: 6 MiB, 0 full collections
#   a million texts, 200 tuples: 66 MiB of arenas, let go: 59 MiB, 0 full collections
#   after gc.collect(), which found 0: 6 MiB
set -euo pipefail

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10) or sys.implementation.name != "cpython")' ||
    { echo "$python is no CPython from 3.10 on" >&2; exit 2; }
PYTHONMALLOC=pymalloc timeout 60 "$python" - <<'PYTHON'
import gc
import os
import re
import sys
import tempfile

TEXTS, TUPLES = 1_000_000, 200


def arenas():
    """MiB that the allocator has from the system, by its own account, which it writes to the standard error."""
    with tempfile.TemporaryFile("w+") as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        file.seek(0)
        count, size = re.search(r"^(\d+) arenas \* (\d+) bytes/arena", file.read(), re.MULTILINE).groups()
    return int(count) * int(size) >> 20


def tried(tuples):
    """Have a million texts, and some tuples in between; then let go of all of them."""
    full = gc.get_stats()[2]["collections"]
    texts, pairs = set(), []
    for number in range(TEXTS):
        texts.add(f"text {number:010}")
        if tuples and number % (TEXTS // tuples) == 0:
            pairs.append((number, number))
    most = arenas()
    del texts, pairs
    left, full = arenas(), gc.get_stats()[2]["collections"] - full
    and_tuples = f", {tuples} tuples" * bool(tuples)
    print(f"a million texts{and_tuples}: {most} MiB of arenas, let go: {left} MiB, {full} full collections")
    return most, left, full


plain_most, plain_left, _ = tried(0)
most, left, full = tried(TUPLES)
found = gc.collect()
collected = arenas()
print(f"after gc.collect(), which found {found}: {collected} MiB")
given_back = plain_most > 60 and plain_left < 15
held = most > 60 and left > 45 and full == 0
sys.exit(0 if given_back and held and found == 0 and collected < 15 else 1)
PYTHON
