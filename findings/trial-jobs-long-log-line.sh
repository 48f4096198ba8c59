#!/usr/bin/env bash
# trial -j2: a test that logs a line of more than 64 KiB fails, though it does nothing wrong.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: with -j2 the same tests pass as without.
# Happens: trial's worker processes send each line of the log to the manager as one value of an AMP command,
#   and such a value may have 65,535 bytes. The log observer in the worker raises AMP's TooLong; that is
#   logged as an error of the observer, and trial makes a logged error a failed test.
#
# Output:
#   trial: PASSED (successes=2)
#   trial -j2: FAILED (errors=1, successes=1)
#   twisted.protocols.amp.TooLong:
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }
cd "$work"
cat >test_long.py <<'PYTHON'
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase


class LongLineTests(SynchronousTestCase):
    def test_short(self):
        Logger().info("x" * 1000)

    def test_long(self):
        Logger().info("x" * 70000)
PYTHON

timeout 60 venv/bin/python -m twisted.trial test_long >alone.txt 2>&1 && alone=0 || alone=$?
timeout 60 venv/bin/python -m twisted.trial -j2 test_long >together.txt 2>&1 && together=0 || together=$?
echo "trial: $(tail -n 1 alone.txt)"
echo "trial -j2: $(tail -n 1 together.txt)"
grep TooLong together.txt | sort -u | tail -n 1 || true
[ "$alone" = 0 ] && [ "$together" != 0 ] && grep -q 'amp.TooLong' together.txt
