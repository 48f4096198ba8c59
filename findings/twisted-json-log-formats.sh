#!/usr/bin/env bash
# twisted.logger: where a log is written as JSON, what messages say of how numbers and times are to look is lost, also in
# the log that is written as text beside it.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: "took {seconds:.2f} s" is the same text in each log: written at once, written beside one in JSON
#   (jsonFileLogObserver), or made later from that with eventsFromJSONLogFile() and formatEvent(). An observer leaves the
#   event as it is, as the next one is given the same.
# Happens: to write JSON, the fields of the message are made texts with str() and kept in the event; what comes after the
#   colon is used to tell fields apart only. Whoever formats the event after that takes these texts. So a log in JSON
#   that is added for a collector changes the one that people read, if it is the first of the two; as the last one it
#   does not. Conversions (!r) and calls, as in {name()}, are kept in all cases.
#
# Output:
#   text alone: took 0.30 s, 1,234,567 jobs, ff, at 10:30, 'a', b
#   text, then JSON: took 0.30 s, 1,234,567 jobs, ff, at 10:30, 'a', b
#   JSON, then text: took 0.30000000000000004 s, 1234567 jobs, 255, at 2026-01-02 10:30:00, 'a', b
#   from the JSON: took 0.30000000000000004 s, 1234567 jobs, 255, at 2026-01-02 10:30:00, 'a', b
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys
from datetime import datetime
from io import StringIO

from twisted.logger import (
    FileLogObserver,
    Logger,
    LogPublisher,
    eventsFromJSONLogFile,
    formatEvent,
    jsonFileLogObserver,
)

WANTED = """\
text alone: took 0.30 s, 1,234,567 jobs, ff, at 10:30, 'a', b
text, then JSON: took 0.30 s, 1,234,567 jobs, ff, at 10:30, 'a', b
JSON, then text: took 0.30000000000000004 s, 1234567 jobs, 255, at 2026-01-02 10:30:00, 'a', b
from the JSON: took 0.30000000000000004 s, 1234567 jobs, 255, at 2026-01-02 10:30:00, 'a', b"""


def written(order):
    """What is in the log as text, and in the one as JSON, with observers in this order."""
    files = {"text": StringIO(), "json": StringIO()}
    observers = {"text": FileLogObserver(files["text"], formatEvent), "json": jsonFileLogObserver(files["json"])}
    log = Logger(observer=LogPublisher(*[observers[name] for name in order]))
    log.info(
        "took {seconds:.2f} s, {jobs:,} jobs, {flags:x}, at {time:%H:%M}, {name!r}, {called()}",
        seconds=0.1 + 0.2,
        jobs=1234567,
        flags=255,
        time=datetime(2026, 1, 2, 10, 30),
        name="a",
        called=lambda: "b",
    )
    files["json"].seek(0)
    return files["text"].getvalue(), files["json"]


found = "\n".join([
    f"text alone: {written(['text'])[0]}",
    f"text, then JSON: {written(['text', 'json'])[0]}",
    f"JSON, then text: {written(['json', 'text'])[0]}",
    f"from the JSON: {formatEvent(next(iter(eventsFromJSONLogFile(written(['json'])[1]))))}",
])
print(found)
sys.exit(0 if found == WANTED else 1)
PYTHON
