#!/usr/bin/env bash
# trial -j2: Hypothesis forgets with each run which examples failed, so a rare failure is not tried again in the next one.
#
# Seen with: Twisted 26.10.0, hypothesis 6.170.17 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: what has failed is in Hypothesis's database, .hypothesis in the folder from which the tests are run, and is
#   what the next run tries first, until it is mended: so with `trial`, and so with pytest, with xdist's -n2 as well.
# Happens: Hypothesis takes the working folder at its import. trial imports the tests where it was started, and goes to
#   _trial_temp after that; the processes of `trial -j` are started in folders of their own in _trial_temp, and import
#   them there. The database is written and read in these, and trial removes _trial_temp at the beginning of the next run.
#   Nothing is said of it. HYPOTHESIS_STORAGE_DIRECTORY with an absolute path ends it.
#
# Output:
#   trial: a second run begins with what has failed
#   trial -j2: a second run begins with something else
#   trial -j2, HYPOTHESIS_STORAGE_DIRECTORY: a second run begins with what has failed
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 hypothesis==6.170.17 \
    >"$work/pip.log" 2>&1 || { cat "$work/pip.log" >&2; exit 2; }

mkdir "$work/tests"
cat >"$work/tests/test_numbers.py" <<'PYTHON'
import os

from hypothesis import given, settings
from hypothesis.strategies import integers
from twisted.trial.unittest import SynchronousTestCase


class NumbersTests(SynchronousTestCase):
    def test_all_are_small(self):
        tried = []

        @settings(max_examples=5000, deadline=None)
        @given(integers(0, 100_000))
        def check(number):
            tried.append(number)
            self.assertLess(number, 99_000)

        try:
            check()
        finally:
            with open(os.environ["TRIED"], "w") as file:
                file.write(f"{tried[0]} {tried[-1]}\n")
PYTHON
unset HYPOTHESIS_STORAGE_DIRECTORY CI
export TRIED="$work/tried"
cd "$work/tests"

# Both runs fail; prints whether the second has tried first what the first had tried last.
twice() {
    local last first
    for run in 1 2; do
        : >"$TRIED"
        timeout 120 "$work/venv/bin/python" -m twisted.trial "$@" test_numbers >"$work/trial.log" 2>&1 || true
        grep -q '^FAILED' "$work/trial.log" && [ -s "$TRIED" ] || { cat "$work/trial.log" >&2; exit 2; }
        if [ "$run" = 1 ]; then read -r _ last <"$TRIED"; else read -r first _ <"$TRIED"; fi
    done
    if [ "$first" = "$last" ]; then echo "a second run begins with what has failed"; else echo "a second run begins with something else"; fi
    rm -rf .hypothesis _trial_temp
}

alone=$(twice)
echo "trial: $alone"
jobs=$(twice -j2)
echo "trial -j2: $jobs"
export HYPOTHESIS_STORAGE_DIRECTORY="$work/hypothesis"
kept=$(twice -j2)
echo "trial -j2, HYPOTHESIS_STORAGE_DIRECTORY: $kept"

[ "$alone, $jobs" = "a second run begins with what has failed, a second run begins with something else" ]
[ "$kept" = "$alone" ]
