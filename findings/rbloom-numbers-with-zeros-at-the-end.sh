#!/usr/bin/env bash
# rbloom: a Bloom filter of numbers that have many zeros at their end says yes of nearly all that it does not have.
#
# Seen with: rbloom 1.5.4 (PyPI), CPython 3.11.7 on x86-64.
# Needs: python3 with venv.
#
# Expected: a filter that is made for 30,000 keys and for one wrong answer in a hundred, and has 30,000 keys, is wrong
#   about once in a hundred times. Its page warns that Python's hash() may collide, so that the rate is not perfectly
#   correct; here no two hashes are the same.
# Happens: it says yes of all that it has not, and thinks that it has a tenth of its keys. The hash of a whole number is
#   the number, that of a fraction of 65,536 ends with forty-five zeros in binary, and what is made of a hash to have
#   more of them is multiplied, which brings nothing from its upper bits to the lower ones. Samples of 16 bits as
#   fractions are such numbers, and identifiers of which only the upper bits differ. As texts the same numbers
#   are well, and so are they with a hash function of one's own.
#
# Output (the last line differs a little from run to run):
#   n: wrong 0.3% of the time, about 27308 keys
#   n * 2**40: wrong 100.0% of the time, about 3386 keys
#   n / 65536: wrong 100.0% of the time, about 3899 keys
#   str(n / 65536): wrong 1.0% of the time, about 30017 keys
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet rbloom==1.5.4 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys

from rbloom import Bloom

KEYS, RATE = 30_000, 0.01
KINDS = {
    "n": lambda n: n,
    "n * 2**40": lambda n: n * 2**40,
    "n / 65536": lambda n: n / 65536,
    "str(n / 65536)": lambda n: str(n / 65536),
}


def tried(kind):
    """How often a full filter says yes of a key that it has not, and how many it thinks that it has."""
    filled = Bloom(KEYS, RATE)
    # Each second one is in it.
    filled.update(kind(2 * n) for n in range(KEYS))
    others = [kind(2 * n + 1) for n in range(KEYS)]
    if len({hash(kind(n)) for n in range(2 * KEYS)}) < 2 * KEYS:
        sys.exit("two hashes are the same")
    return sum(key in filled for key in others) / KEYS, filled.approx_items


found = {name: tried(kind) for name, kind in KINDS.items()}
for name, (rate, keys) in found.items():
    print(f"{name}: wrong {rate:.1%} of the time, about {keys:.0f} keys")
well = all(found[name][0] < 0.02 for name in ("n", "str(n / 65536)"))
useless = all(found[name][0] > 0.9 for name in ("n * 2**40", "n / 65536"))
sys.exit(0 if well and useless else 1)
PYTHON
