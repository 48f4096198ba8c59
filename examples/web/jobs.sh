#!/bin/sh
# Jobs by txgear's web API from the shell: curl, and what every system has.
# Usage: sh jobs.sh http://127.0.0.1:4780 FUNCTION
# A token, where one is wanted, stands in a file that only its owner can read: a line with
#   header = "Authorization: Bearer txg_..."
# for curl's --config: CURL="curl --config /etc/txgear/curl" sh jobs.sh ...
set -eu

CURL=${CURL:-curl}
ANSWER=$(mktemp -d)
trap 'rm -r "$ANSWER"' EXIT

# Ask: the answer's body and headers are files in $ANSWER then; a problem goes to standard error.
# Its arguments are curl's.
ask() {
    $CURL --silent --show-error --fail-with-body --max-time 90 \
        --output "$ANSWER/body" --dump-header "$ANSWER/head" "$@" || {
        status=$?
        [ ! -s "$ANSWER/body" ] || cat "$ANSWER/body" >&2
        return "$status"
    }
}

# A header of the last answer. Usage: header NAME
header() {
    tr -d '\r' <"$ANSWER/head" | awk -v name="$1:" 'tolower($1) == tolower(name) { print $2 }'
}

# Submit standard input as a background job: its handle. Further arguments are curl's.
# Usage: submit FUNCTION QUERY [--header 'Txgear-Retries: 3' ...]
submit() {
    path="/api/v1/functions/$1/jobs?$2"
    shift 2
    ask --data-binary @- --header 'Content-Type: application/octet-stream' "$@" "$BASE$path"
    header Txgear-Handle
}

# The result of a job, however long it takes. Usage: result HANDLE
result() {
    until ask "$BASE/api/v1/jobs/$1/result?wait=60" && [ "$(header Txgear-Outcome)" = done ]; do
        # Without an outcome it has not ended: ask again.
        grep -q '^HTTP/[0-9.]* 202' "$ANSWER/head" || return 1
    done
    cat "$ANSWER/body"
}

# One job as JSON, for submitting many; its workload is any bytes.
# Usage: as_json FUNCTION WORKLOAD
as_json() {
    printf '{"function": "%s", "base64": "%s"}' "$1" "$(printf %s "$2" | base64 | tr -d '\n')"
}

if [ $# -lt 2 ]; then
    echo 'usage: sh jobs.sh http://127.0.0.1:4780 FUNCTION' >&2
    exit 2
fi
BASE=${1%/}
FUNCTION=$2

# In the background: tried again up to three times, the result kept for an hour.
handle=$(printf one | submit "$FUNCTION" '' --header 'Txgear-Retries: 3' --header 'Txgear-Backoff: 1s' \
    --header 'Txgear-Results: 1h')
echo submitted
result=$(result "$handle")
echo "result $result"

# At a time, and once only: who submits it again joins it.
when=$(($(date +%s) + 3))
first=$(printf two | submit "$FUNCTION" "when=$when&unique=report-1" --header 'Txgear-Results: 1h')
again=$(printf two | submit "$FUNCTION" "when=$when&unique=report-1" --header 'Txgear-Results: 1h')
if [ "$first" = "$again" ]; then echo joined; else echo two jobs; fi
result=$(result "$first")
echo "result $result"

# Many at once.
{
    printf '{"jobs": ['
    number=1
    while [ "$number" -le 100 ]; do
        [ "$number" = 1 ] || printf ,
        as_json "$FUNCTION" "job $number"
        number=$((number + 1))
    done
    printf ']}'
} | ask --data-binary @- --header 'Content-Type: application/json' "$BASE/api/v1/jobs"
echo "$(sed 's/.*"accepted":\([0-9]*\).*/\1/' "$ANSWER/body") accepted"

# While we wait: its progress, and its result.
printf three |
    $CURL --silent --show-error --no-buffer --data-binary @- --header 'Accept: text/event-stream' \
        "$BASE/api/v1/functions/$FUNCTION/jobs" |
    sed -n -e '/^event: /{' -e 's/^event: //' -e h -e '}' -e '/^data: /{' -e 's/^data: //' \
        -e H -e g -e 's/\n/ /' \
        -e 's/^progress {"numerator":\([0-9]*\),"denominator":\([0-9]*\)}/progress \1 of \2/p' \
        -e 's/^completed {"text":"\(.*\)"}/result \1/p' -e '}'
