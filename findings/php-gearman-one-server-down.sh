#!/usr/bin/env bash
# PHP: neither a GearmanClient nor a GearmanWorker can be given a server that is down beside one that is there.
#
# Seen with: php-gearman 2.1.0 with libgearman 1.1.20, gearmand 1.1.20 (Debian's php-gearman and
#   gearman-job-server), PHP 8.2.
# Needs: php with the extension gearman, gearmand, gearman, python3.
#
# Expected: addServer notes a server; with two of them the one that is there is used, as libgearman itself does.
# Happens: addServer and addServers connect at once, to ask for the option "exceptions", and throw where that
#   fails. A client can say false as its third argument, which is about handling exceptions: then the server
#   is only noted, and the job is done by the other one. A worker has no such argument: it cannot start.
#
# Output:
#   client: GearmanException: Failed to set exception option
#   client with false: OLLEH
#   worker: GearmanException: Failed to set exception option
set -euo pipefail

command -v gearmand >/dev/null || PATH=$PATH:/usr/sbin
for program in php gearmand gearman; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 2; }
done
php -r 'exit(extension_loaded("gearman") ? 0 : 1);' || { echo "php has no gearman" >&2; exit 2; }
work=$(mktemp -d)
server= worker=
end() {
    for process in $worker $server; do kill "$process" 2>/dev/null || true; done
}
trap 'end; rm -rf "$work"' EXIT

# Two ports that are free: one for a server, one that nobody listens on.
read -r up down <<<"$(python3 -c '
import socket
both = [socket.socket() for _ in range(2)]
for each in both:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in both))')"
gearmand --listen 127.0.0.1 --port "$up" --log-file stderr --pid-file "$work/pid" >"$work/gearmand.log" 2>&1 &
server=$!
sleep 1
gearman -h 127.0.0.1 -p "$up" -w -f upper -- tr a-z A-Z >"$work/worker.log" 2>&1 &
worker=$!
cat >"$work/client.php" <<'PHP'
<?php
function outcome(callable $do): string {
    try {
        return $do();
    } catch (GearmanException $error) {
        return get_class($error) . ": " . $error->getMessage();
    }
}

function ask(int $up, int $down, ...$option): string {
    $client = new GearmanClient();
    $client->setTimeout(5000);
    $client->addServer("127.0.0.1", $down, ...$option);
    $client->addServer("127.0.0.1", $up, ...$option);
    return @$client->doNormal("upper", "olleh");
}

[$up, $down] = [(int) $argv[1], (int) $argv[2]];
$found = [
    "client" => outcome(fn () => ask($up, $down)),
    "client with false" => outcome(fn () => ask($up, $down, false)),
    "worker" => outcome(fn () => (string) (new GearmanWorker())->addServers("127.0.0.1:$up,127.0.0.1:$down")),
];
foreach ($found as $who => $what) {
    echo "$who: $what\n";
}
$refused = "GearmanException: Failed to set exception option";
exit(array_values($found) === [$refused, "OLLEH", $refused] ? 0 : 1);
PHP
timeout 30 php "$work/client.php" "$up" "$down"
