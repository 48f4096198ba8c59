#!/usr/bin/env bash
# msgspec: a datetime whose time zone is not at full minutes from UTC, as most were a century ago and some in 1970,
# comes back from JSON as another moment, and from MessagePack as the right one.
#
# Seen with: msgspec 0.23.0, tzdata 2026.6 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: what is decoded is the moment that was encoded, in each format; so it is for all other zones, and what cannot
#   be said in a format is refused, or said in UTC.
# Happens: RFC 3339, and so JSON's text, has hours and minutes for the offset. msgspec rounds the offset to a minute and
#   leaves the time of day as it was, so the text names a moment that is up to half a minute away, and nothing is raised;
#   to_builtins() and keys of dicts do the same. MessagePack has the timestamp, and no offset. Python's zoneinfo gives such
#   offsets for dates before a zone had standard time (New York until 1883, Paris until 1911, Liberia until
#   1972), so birthdays and archives are moved. astimezone(timezone.utc) before it is encoded ends it.
#
# Output:
#   Africa/Monrovia 1970-01-01T12:00:00-00:44:30: JSON 30 s early, MessagePack right
#   Europe/Paris 1900-01-01T12:00:00+00:09:21: JSON 21 s late, MessagePack right
#   America/New_York 1880-01-01T12:00:00-04:56:02: JSON 2 s early, MessagePack right
#   Europe/Paris 1950-01-01T12:00:00+01:00: JSON right, MessagePack right
#   Europe/Paris 1900-01-01T11:50:39+00:00: JSON right, MessagePack right
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet msgspec==0.23.0 tzdata==2026.6 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

# The zones are those of the package, not the system's, which may leave out what was before 1970.
PYTHONTZPATH='' timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import msgspec

WANTED = """\
Africa/Monrovia 1970-01-01T12:00:00-00:44:30: JSON 30 s early, MessagePack right
Europe/Paris 1900-01-01T12:00:00+00:09:21: JSON 21 s late, MessagePack right
America/New_York 1880-01-01T12:00:00-04:56:02: JSON 2 s early, MessagePack right
Europe/Paris 1950-01-01T12:00:00+01:00: JSON right, MessagePack right
Europe/Paris 1900-01-01T11:50:39+00:00: JSON right, MessagePack right"""


def judged(zone, moment):
    said = []
    for name, form in ("JSON", msgspec.json), ("MessagePack", msgspec.msgpack):
        away = (form.decode(form.encode(moment), type=datetime) - moment).total_seconds()
        said.append(f"{name} {abs(away):.0f} s {'late' if away > 0 else 'early'}" if away else f"{name} right")
    return f"{zone} {moment.isoformat()}: {', '.join(said)}"


def noon(zone, year):
    return datetime(year, 1, 1, 12, tzinfo=ZoneInfo(zone))


found = "\n".join(
    [
        judged("Africa/Monrovia", noon("Africa/Monrovia", 1970)),
        judged("Europe/Paris", noon("Europe/Paris", 1900)),
        judged("America/New_York", noon("America/New_York", 1880)),
        judged("Europe/Paris", noon("Europe/Paris", 1950)),
        judged("Europe/Paris", noon("Europe/Paris", 1900).astimezone(timezone.utc)),
    ]
)
print(found)
sys.exit(0 if found == WANTED else 1)
PYTHON
