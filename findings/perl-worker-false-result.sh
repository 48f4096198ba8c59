#!/usr/bin/env bash
# Perl's Gearman::Worker: a function that returns 0, or an empty string, never ends its job with gearmand, which hands
# it out again at once, some hundred times a second.
#
# Seen with: Gearman::Worker 2.004.015 (Debian's libgearman-client-perl 2.004.015-1), Perl 5.36.0, gearman and
#   gearmand 1.1.20 (Debian's gearman-tools and gearman-job-server).
# Needs: these packages, python3. It starts a server of its own.
#
# Expected: the client gets what the function has returned, "0" or nothing: the page of the module says that the return
#   value is sent to it. "00", "0.0" and "0E0", which are true in Perl, do arrive.
# Happens: what Perl takes for false is left out of WORK_COMPLETE, with all that parts it from the handle; a reference
#   to it fares no better. gearmand cannot read that and closes the connection, of which the worker says nothing: it
#   connects anew and is given the same job. The client waits, and a background job is done for ever, as gearmand
#   counts attempts only if it is started with --job-retries.
#
# Output:
#   one: answer 1, after 1 run
#   zero: no answer, after 20 runs or more
#   empty: no answer, after 20 runs or more
set -euo pipefail

command -v gearmand >/dev/null || PATH=$PATH:/usr/sbin
for program in gearmand gearman gearadmin perl python3; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 2; }
done
perl -MGearman::Worker -e '' 2>/dev/null || { echo "Gearman::Worker is not installed" >&2; exit 2; }
work=$(mktemp -d)
server=
worker=
end() {
    for process in $worker $server; do
        kill -KILL "$process" || true
        # The shell says what became of it.
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
gearmand --listen 127.0.0.1 --port "$port" --log-file stderr --pid-file "$work/pid" >"$work/gearmand.log" 2>&1 &
server=$!
for _ in $(seq 50); do
    gearadmin --host 127.0.0.1 --port "$port" --server-version >/dev/null 2>&1 && break
    sleep 0.1
done

timeout 60 perl - "$port" "$work/runs" <<'PERL' &
use strict;
use warnings;
use Gearman::Worker;
use IO::Handle;

my ($port, $path) = @ARGV;
open my $runs, '>>', $path or die;
$runs->autoflush(1);
my $worker = Gearman::Worker->new(job_servers => ["127.0.0.1:$port"]);
my %functions = (one => 1, zero => 0, empty => '');
for my $name (keys %functions) {
    $worker->register_function($name => sub { print {$runs} "$name\n"; return $functions{$name}; });
}
$worker->work while 1;
PERL
worker=$!
for _ in $(seq 50); do
    gearadmin --host 127.0.0.1 --port "$port" --status | grep -q '^zero.*1$' && break
    sleep 0.1
done

# How a job ends, and how often it was run within two seconds.
tried() {
    local status=0 answer runs
    answer=$(timeout 2 gearman -h 127.0.0.1 -p "$port" -f "$1" data) || status=$?
    runs=$(grep -cx "$1" "$work/runs")
    if [ "$status" = 124 ]; then answer="no answer"; else answer="answer $answer"; fi
    if [ "$runs" -ge 20 ]; then runs="20 runs or more"; else runs="$runs run"; fi
    echo "$answer, after $runs"
}
found=$(for function in one zero empty; do echo "$function: $(tried "$function")"; done)
echo "$found"
[ "$found" = "one: answer 1, after 1 run
zero: no answer, after 20 runs or more
empty: no answer, after 20 runs or more" ]
