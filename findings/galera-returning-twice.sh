#!/usr/bin/env bash
# MariaDB with Galera: a statement with RETURNING that a node tries again by itself answers with the rows of all of its
# attempts, so that a queue emptied by "DELETE ... LIMIT 1 RETURNING" gives out the same element twice.
#
# Seen with: MariaDB 10.11.19, Galera 26.4.23 (Debian's mariadb-server 1:10.11.19-0+deb12u1 and galera-4
#   26.4.23-0+deb12u1), PyMySQL 1.2.4 (PyPI).
# Needs: Debian's mariadb-server and galera-4, rsync, lsof, setpriv, python3 with venv. It starts two nodes of its own.
#
# Expected: a statement under autocommit that is in conflict with one at another node is taken back and tried again, once
#   by default (wsrep_retry_autocommit), and its client is told what has come of it: one row, where LIMIT says 1.
# Happens: the rows of an attempt are with those that are to be sent when it is taken back, and stay there; the next
#   attempt adds its own. The client gets two rows and no error, the first of which another client has been given; where
#   the next attempt finds nothing more, that is the only row. INSERT ... ON DUPLICATE KEY UPDATE ... RETURNING
#   answers with values that were taken back in the same way. What is in the tables is right. Nothing of it happens
#   with wsrep_retry_autocommit = 0, where the client gets 1213 and tries again, nor in a transaction that is
#   begun and committed, which no node tries again.
#
# Output (the numbers of the first line differ):
#   as it is by default: 500 elements, 107 of them given out more than once, 106 answers with 2 rows
#   wsrep_retry_autocommit = 0: 500 elements, each given out once, no answer with 2 rows
#   in a transaction: 500 elements, each given out once, no answer with 2 rows
set -euo pipefail

provider=/usr/lib/galera/libgalera_smm.so
for program in mariadbd mariadb-install-db setpriv rsync lsof; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 2; }
done
[ -e "$provider" ] || { echo "there is no $provider" >&2; exit 2; }
work=$(mktemp -d)
chmod 755 "$work"
nodes=()
end() {
    for node in "${nodes[@]}"; do
        # With what it has started to copy its data.
        kill -KILL -- "-$node" 2>/dev/null || true
        # The shell says what became of it.
        wait "$node" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet PyMySQL==1.2.4 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

# MariaDB does not run as root.
somebody=()
if [ "$(id -u)" = 0 ]; then
    somebody=(setpriv --reuid=mysql --regid=mysql --clear-groups)
    chown mysql "$work"
fi
"${somebody[@]}" mariadb-install-db --no-defaults --datadir="$work/data1" --auth-root-authentication-method=normal \
    --skip-test-db >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 2; }
# The second one gets its data from the first.
"${somebody[@]}" mkdir "$work/data2"
read -r port1 port2 group1 group2 missed1 missed2 copy1 copy2 <<<"$(python3 -c '
import socket
ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
print(*(each.getsockname()[1] for each in ports))')"

# A node: its number, its ports for clients, for the group and for data, and how it begins.
node() {
    setsid "${somebody[@]}" mariadbd --no-defaults --datadir="$work/data$1" --socket=socket --pid-file="$work/pid$1" \
        --bind-address=127.0.0.1 --port="$2" --skip-name-resolve --skip-log-bin --binlog-format=ROW \
        --innodb-autoinc-lock-mode=2 --innodb-flush-log-at-trx-commit=2 --wsrep-on=ON --wsrep-provider="$provider" \
        --wsrep-node-address=127.0.0.1 --wsrep-sst-method=rsync --wsrep-sst-receive-address="127.0.0.1:$5" \
        --wsrep-provider-options="gmcast.listen_addr=tcp://127.0.0.1:$3;base_host=127.0.0.1;base_port=$3;ist.recv_addr=127.0.0.1:$4;gcache.size=8M" \
        "${@:6}" >"$work/log$1" 2>&1 &
    nodes+=($!)
}

# Wait until a node, one of so many, takes transactions.
ready() {
    "$work/venv/bin/python" - "$1" "$2" <<'PYTHON' || { tail -20 "$work"/log[12] >&2; exit 2; }
import sys
import time

import pymysql

for _ in range(80):
    try:
        with pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root") as connection:
            cursor = connection.cursor()
            cursor.execute("SHOW STATUS WHERE variable_name IN ('wsrep_ready', 'wsrep_cluster_size')")
            if dict(cursor.fetchall()) == {"wsrep_ready": "ON", "wsrep_cluster_size": sys.argv[2]}:
                sys.exit(0)
    except pymysql.MySQLError:
        pass
    time.sleep(0.5)
sys.exit(1)
PYTHON
}
node 1 "$port1" "$group1" "$missed1" "$copy1" --wsrep-new-cluster --wsrep-cluster-address=gcomm://
ready "$port1" 1
node 2 "$port2" "$group2" "$missed2" "$copy2" --wsrep-cluster-address="gcomm://127.0.0.1:$group1"
ready "$port2" 2

timeout 80 "$work/venv/bin/python" - "$port1" "$port2" <<'PYTHON' || status=$?
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import pymysql

PORTS = [int(port) for port in sys.argv[1:]]
ELEMENTS = 500
# What is said to the session before, and whether each taking is a transaction of its own.
CASES = {
    "as it is by default": ("SET wsrep_retry_autocommit = DEFAULT", False),
    "wsrep_retry_autocommit = 0": ("SET wsrep_retry_autocommit = 0", False),
    "in a transaction": ("SET wsrep_retry_autocommit = DEFAULT", True),
}
DEADLOCK = 1213


def connected(port):
    return pymysql.connect(host="127.0.0.1", port=port, user="root", autocommit=True)


def emptied(port, setting, begin, last):
    """The answers of one client, who takes elements from the queue until there are none."""
    found = []
    with connected(port) as connection, connection.cursor() as cursor:
        cursor.execute(setting)
        while monotonic() < last:
            try:
                if begin:
                    connection.begin()
                cursor.execute("DELETE FROM tried.queue ORDER BY number LIMIT 1 RETURNING number")
                rows = [number for (number,) in cursor.fetchall()]
                if begin:
                    connection.commit()
            except pymysql.MySQLError as error:
                if error.args[0] != DEADLOCK:
                    raise
                connection.rollback()
                continue
            if not rows:
                return found
            found.append(rows)
    sys.exit(2)


def tried(setting, begin):
    """How often each element was given out by two clients, one at each node, and how long the answers were."""
    with connected(PORTS[0]) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE tried.queue (number INT PRIMARY KEY) ENGINE=InnoDB")
        cursor.executemany("INSERT INTO tried.queue VALUES (%s)", [(number,) for number in range(ELEMENTS)])
    # The other node has it, too.
    sleep(1)
    last = monotonic() + 22
    with ThreadPoolExecutor(len(PORTS)) as pool:
        clients = [pool.submit(emptied, port, setting, begin, last) for port in PORTS]
    answers = [rows for client in clients for rows in client.result()]
    return Counter(number for rows in answers for number in rows), Counter(len(rows) for rows in answers)


with connected(PORTS[0]) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE DATABASE tried")
right = True
for name, (setting, begin) in CASES.items():
    times, lengths = tried(setting, begin)
    again = sum(many > 1 for many in times.values())
    shown = f"{again} of them given out more than once" if again else "each given out once"
    longer = f"{lengths[2]} answers" if lengths[2] else "no answer"
    print(f"{name}: {len(times)} elements, {shown}, {longer} with 2 rows")
    right &= len(times) == ELEMENTS and bool(again) == bool(lengths[2]) == (name == "as it is by default")
sys.exit(0 if right else 1)
PYTHON
exit "${status:-0}"
