#!/usr/bin/env bash
# cronsim loses runs where clocks are changed by half an hour: `0 */6 * * *` does not run at 6:00.
#
# Seen with: cronsim 2.8 (PyPI), tzdata 2026.6 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: cronsim says that it handles changes of clocks as Debian's cron does. On Lord Howe Island clocks
#   are put back from 2:00 to 1:30 on 5 April 2026, and forward from 2:00 to 2:30 on 4 October. Debian's cron
#   (3.0pl1-162) runs `0 */6 * * *` at 0:00, 6:00, 12:00 and 18:00 on both days.
# Happens: the run at 6:00 is left out on both days. On other days, and where clocks are changed by an hour,
#   all are there.
#
# Output:
#   Australia/Lord_Howe 2026-04-05: 00:00 12:00 18:00
#   Australia/Lord_Howe 2026-10-04: 00:00 12:00 18:00
#   Australia/Lord_Howe 2026-05-05: 00:00 06:00 12:00 18:00
#   Australia/Sydney 2026-04-05: 00:00 06:00 12:00 18:00
#   Australia/Sydney 2026-10-04: 00:00 06:00 12:00 18:00
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet cronsim==2.8 tzdata==2026.6 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

# The package's time zones, not the system's.
PYTHONTZPATH='' timeout 60 "$work/venv/bin/python" - <<'PYTHON'
from datetime import datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

ALL = "00:00 06:00 12:00 18:00"


def runs(zone, day):
    midnight = datetime.fromisoformat(day)
    found = takewhile(
        lambda moment: moment.date() == midnight.date(),
        CronSim("0 */6 * * *", (midnight - timedelta(minutes=1)).replace(tzinfo=ZoneInfo(zone))),
    )
    shown = " ".join(f"{moment:%H:%M}" for moment in found)
    print(f"{zone} {day}: {shown}")
    return shown


shifts = [runs("Australia/Lord_Howe", day) for day in ("2026-04-05", "2026-10-04")]
others = [
    runs("Australia/Lord_Howe", "2026-05-05"),
    runs("Australia/Sydney", "2026-04-05"),
    runs("Australia/Sydney", "2026-10-04"),
]
raise SystemExit(0 if shifts == ["00:00 12:00 18:00"] * 2 and others == [ALL] * 3 else 1)
PYTHON
