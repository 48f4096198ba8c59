#!/usr/bin/env bash
# CPython 3.11 and later: with its thirtieth attribute an object takes five times the memory, and calls become slower.
#
# Seen with: CPython 3.11.7, 3.12.1, 3.13.0; not with 3.10, where each object has a dict of its own.
# Needs: a python3 from 3.11 on.
#
# Expected: one attribute more costs eight bytes.
# Happens: up to 29 attributes are kept beside the object, under names that the class shares. A class whose
#   __init__ sets 30 has a dict for each object: 1.3 kB more, and each attribute and method is looked up in it,
#   which takes half as long again. Several additions to a class add up to that unseen; __slots__ ends it.
#   The times are printed, the verdict is by memory.
#
# Output (3.11.7; times differ):
#   29 attributes: 328 bytes, a method takes 23 ns
#   30 attributes: 1647 bytes, a method takes 34 ns
#   30 attributes in __slots__: 272 bytes, a method takes 20 ns
set -euo pipefail

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.implementation.name != "cpython")' ||
    { echo "$python is no CPython from 3.11 on" >&2; exit 2; }
timeout 60 "$python" - <<'PYTHON'
import sys
import timeit
import tracemalloc


def class_with(count, slots):
    names = [f"a{number}" for number in range(count)]
    lines = ["class Thing:"]
    if slots:
        lines.append(f"    __slots__ = {tuple(names)}")
    lines.append("    def __init__(self):")
    lines += [f"        self.{name} = None" for name in names]
    lines.append("    def method(self): return self.a0")
    namespace = {}
    exec("\n".join(lines), namespace)
    return namespace["Thing"]


def measure(count, slots=False):
    """Bytes of an object, and nanoseconds of a call of its method."""
    thing = class_with(count, slots)
    for _ in range(100):
        thing()
    tracemalloc.start()
    kept = [thing() for _ in range(2000)]
    size = round(tracemalloc.get_traced_memory()[0] / len(kept))
    tracemalloc.stop()

    def calls(one=thing()):
        for _ in range(1000):
            one.method()

    took = min(timeit.repeat(calls, number=100, repeat=5)) / 100_000
    print(f"{count} attributes{' in __slots__' * slots}: {size} bytes, a method takes {took * 1e9:.0f} ns")
    return size


few, many, slotted = measure(29), measure(30), measure(30, slots=True)
sys.exit(0 if few < 400 and many > 1200 and slotted < 400 else 1)
PYTHON
