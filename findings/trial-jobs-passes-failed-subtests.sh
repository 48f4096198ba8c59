#!/usr/bin/env bash
# `trial -j2`: a test of unittest's own TestCase that fails within subTest() is neither failed nor passed, and the run
# ends with "PASSED" and the status 0.
#
# Seen with: Twisted 26.10.0 (PyPI), CPython 3.10.13, 3.11.7, 3.12.1 and 3.13.0.
# Needs: python3 with venv.
#
# Expected: what `python -m unittest` says of it, and `trial` without -j: it has failed. Trial's documentation (of the
#   package twisted.trial) has it that tests of the standard library's TestCase run under it as they are; and a test
#   that is run has some outcome.
# Happens: unittest hands failures of a subTest() to the result's addSubTest(), where there is one, and to nothing else. What
#   plain trial puts around its reporter has none, so unittest does without. In the processes of -j the reporter is
#   there without that, and has one, which it inherits from unittest's TestResult: it notes the failure in the
#   process, and sends nothing. The test's name is printed without an outcome. So a build that was made faster by
#   -j passes. Tests of trial's own TestCase are well: those know no subtests, and fail at the first.
#
# Output:
#   unittest.TestCase, python -m unittest: FAILED (failures=2), 1
#   unittest.TestCase, trial: FAILED (failures=1), 1
#   unittest.TestCase, trial -j2: PASSED, 0
#   SynchronousTestCase, trial -j2: FAILED (failures=1), 1
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

cd "$work"
cat >test_standard.py <<'PYTHON'
from unittest import TestCase


class Squares(TestCase):
    def test_squares(self):
        for number in range(4):
            with self.subTest(number=number):
                self.assertLess(number**2, 4)
PYTHON
sed 's/from unittest import/from twisted.trial.unittest import SynchronousTestCase as/' test_standard.py >test_trial.py

# tried NAME MODULE RUNNER...: the last line, and the status, of what runs the tests of a module.
tried() {
    local name=$1 module=$2 status=0
    shift 2
    timeout 30 venv/bin/python -m "$@" "$module" >output 2>&1 || status=$?
    echo "$name: $(grep -E '^(PASSED|FAILED|OK)' output), $status"
}
{
    tried "unittest.TestCase, python -m unittest" test_standard unittest
    tried "unittest.TestCase, trial" test_standard twisted.trial
    tried "unittest.TestCase, trial -j2" test_standard twisted.trial -j2
    tried "SynchronousTestCase, trial -j2" test_trial twisted.trial -j2
} >found
cat found
diff - found <<'WANTED' >/dev/null || exit 1
unittest.TestCase, python -m unittest: FAILED (failures=2), 1
unittest.TestCase, trial: FAILED (failures=1), 1
unittest.TestCase, trial -j2: PASSED, 0
SynchronousTestCase, trial -j2: FAILED (failures=1), 1
WANTED
