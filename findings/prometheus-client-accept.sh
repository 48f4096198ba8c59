#!/usr/bin/env bash
# prometheus_client answers in OpenMetrics to a scraper that refuses it, and raises TypeError at a version in quotes.
#
# Seen with: prometheus_client 0.26.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: `Accept` is read as HTTP has it (RFC 9110, 12.4.2 and 5.6.6): q=0 is "not acceptable", the higher q is what the
#   client likes better, and a parameter's value means the same with quotes and without.
# Happens: choose_encoder, which its own web servers and those of others ask, takes the first format that it knows,
#   whatever its q; and a version in quotes makes it raise TypeError, so that a scrape ends as an error of the server.
#
# Output:
#   application/openmetrics-text;version=1.0.0;q=0, text/plain;version=0.0.4 -> application/openmetrics-text
#   application/openmetrics-text;version=1.0.0;q=0.1, text/plain;version=0.0.4;q=0.9 -> application/openmetrics-text
#   application/openmetrics-text;version="1.0.0" -> TypeError
#   application/openmetrics-text;version=1.0.0 -> application/openmetrics-text
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet prometheus_client==0.26.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
from prometheus_client.exposition import choose_encoder

OPENMETRICS = "application/openmetrics-text"


def chosen(accept):
    try:
        found = choose_encoder(accept)[1].partition(";")[0]
    except TypeError as error:
        found = type(error).__name__
    print(accept, "->", found)
    return found


found = [
    chosen(f"{OPENMETRICS};version=1.0.0;q=0, text/plain;version=0.0.4"),
    chosen(f"{OPENMETRICS};version=1.0.0;q=0.1, text/plain;version=0.0.4;q=0.9"),
    chosen(f'{OPENMETRICS};version="1.0.0"'),
    chosen(f"{OPENMETRICS};version=1.0.0"),
]
raise SystemExit(0 if found == [OPENMETRICS, OPENMETRICS, "TypeError", OPENMETRICS] else 1)
PYTHON
