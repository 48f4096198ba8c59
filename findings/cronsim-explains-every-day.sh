#!/usr/bin/env bash
# cronsim's explain() says of a line that runs every day that it runs on one day of the week, or of the month.
#
# Seen with: cronsim 2.8 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: what explain() says of a line is when the line runs.
# Happens: where a field of days names all days without a star (1-31, 0-7), cronsim takes the two fields of days as
#   Debian's cron does, by "or": such a line runs every day, and its own iterator has it so. explain() leaves the
#   field with all days out, as if it were a star, and says the other one only. A step that is longer than its range
#   (*/70) runs at the first value, once an hour; explain() says "every 70th minute".
#
# Output:
#   0 0 1-31 * MON: "At 00:00 on Monday", 7 runs in a week
#   0 0 1 * 0-7: "At 00:00 on the first day of every month", 7 runs in a week
#   */70 * * * *: "Every 70th minute of every hour", 24 runs in a day
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet cronsim==2.8 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys
from datetime import datetime, timedelta, timezone

from cronsim import CronSim

# A Wednesday; no first day of a month in the week after it.
BEGIN = datetime(2026, 7, 7, 23, 59, tzinfo=timezone.utc)


def runs(line, days):
    count = 0
    for moment in CronSim(line, BEGIN):
        if moment > BEGIN + timedelta(days=days):
            return count
        count += 1


same = True
for line, days, words, expected in (
    ("0 0 1-31 * MON", 7, "At 00:00 on Monday", 7),
    ("0 0 1 * 0-7", 7, "At 00:00 on the first day of every month", 7),
    ("*/70 * * * *", 1, "Every 70th minute of every hour", 24),
):
    said, count = CronSim(line, BEGIN).explain(), runs(line, days)
    print(f"{line}: {said!r}, {count} runs in a {'week' if days == 7 else 'day'}".replace("'", '"'))
    same = same and (said, count) == (words, expected)
sys.exit(0 if same else 1)
PYTHON
