"""
The options of C{twistd txgear} that a table can tell: those with a value, and those without.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from txgear.broker.rules import UNLIMITED
from txgear.daemon.passwords import STORE_PASSWORD
from txgear.daemon.service import BACKLOG
from txgear.daemon.webport import WEB
from txgear.protocol.constants import DEFAULT_PORT, MAX_PACKET
from txgear.protocol.textlines import LEVELS
from txgear.server.settings import WORKER_GRACE
from txgear.server.values import COERCIONS
from txgear.stores.hosts import TIMEOUT
from txgear.stores.tenure import LENGTH

PARAMETERS: Final[Sequence[Sequence[Any]]] = [
    ("port", "p", DEFAULT_PORT, "TCP port of the Gearman protocol", COERCIONS["port"]),
    (
        "backlog",
        "b",
        BACKLOG,
        "connections that the system accepts ahead of the server",
        COERCIONS["backlog"],
    ),
    (
        "job-retries",
        "j",
        UNLIMITED,
        "how often a job may run, its worker lost each time, before it fails; -1 for no bound",
        COERCIONS["job-retries"],
    ),
    (
        "job-handle-prefix",
        None,
        None,
        "what job handles start with [default: H: and the host's name]",
        COERCIONS["job-handle-prefix"],
    ),
    (
        "worker-wakeup",
        "w",
        0,
        "workers woken for a job at the most; 0 for as many as there are jobs",
        COERCIONS["worker-wakeup"],
    ),
    (
        "keepalive-idle",
        None,
        -1,
        "seconds of silence before a TCP keep-alive probe; -1: the system's",
        COERCIONS["keepalive-idle"],
    ),
    (
        "keepalive-interval",
        None,
        -1,
        "seconds between TCP keep-alive probes; -1: the system's",
        COERCIONS["keepalive-interval"],
    ),
    (
        "keepalive-count",
        None,
        -1,
        "TCP keep-alive probes without answer before the end; -1: the system's",
        COERCIONS["keepalive-count"],
    ),
    (
        "file-descriptors",
        "f",
        None,
        "files and connections that may be open at once",
        COERCIONS["file-descriptors"],
    ),
    (
        "max-packet",
        None,
        MAX_PACKET,
        "bytes of the largest packet that is taken, as 64M or 1G",
        COERCIONS["max-packet"],
    ),
    (
        "unfinished-memory",
        None,
        None,
        "bytes of packets of all peers that have not arrived whole, as 64M or 2G; beyond that the large"
        " ones wait for each other [default: 512M]",
        COERCIONS["unfinished-memory"],
    ),
    ("verbose", None, "NOTICE", f"what --log-file is told: {', '.join(LEVELS)}", COERCIONS["verbose"]),
    ("log-file", "l", None, "write the log to this file, too; SIGHUP reopens it"),
    (
        "audit-log",
        None,
        None,
        "append to this file who changed something, and who was refused, as lines of JSON; SIGHUP reopens it",
        # As with --config.
        os.path.abspath,
    ),
    (
        "config",
        None,
        None,
        "TOML file with policies, schedules, identities and access rules; SIGHUP has it read again",
        # The process may change its folder before it is read again.
        os.path.abspath,
    ),
    (
        "handover",
        None,
        None,
        "Unix socket over which the next server with the same option is handed the ports, and nobody is"
        " refused meanwhile; in a folder that only the server's user can write",
        os.path.abspath,
    ),
    (
        "web",
        None,
        None,
        "where programs and browsers see the server: HOST:PORT, tls:HOST:PORT, an endpoint string, or"
        f" '' for nowhere [default: {WEB}]",
    ),
    (
        "statsd",
        None,
        None,
        "host:port of a statsd that is sent metrics, by UDP; needs the extra statsd",
    ),
    (
        "store",
        None,
        None,
        "where background jobs are kept: sqlite:///path, postgresql://..., mysql://..., or memory: for"
        " memory only [default: a SQLite file for the port, in $STATE_DIRECTORY, else in"
        " /var/lib/txgear for root, else in $XDG_STATE_HOME/txgear]",
    ),
    (
        "store-password-file",
        None,
        None,
        f"file whose first line is the store's password [default: what {STORE_PASSWORD} holds]",
    ),
    (
        "store-timeout",
        None,
        int(TIMEOUT),
        "seconds that a submit may wait for the store; by default more where its nodes stand still for"
        " longer when one of them dies",
        COERCIONS["store-timeout"],
    ),
    (
        "cluster-name",
        None,
        None,
        "what this server is called among those of --cluster [default: the host and the process]",
        COERCIONS["cluster-name"],
    ),
    (
        "advertise",
        None,
        None,
        "endpoint at which clients and workers reach this server; the others of --cluster show it",
        COERCIONS["advertise"],
    ),
    (
        "lease",
        None,
        int(LENGTH),
        "seconds after which the others of --cluster take over what a server had that does not answer",
        COERCIONS["lease"],
    ),
    (
        "gearmand-table",
        None,
        None,
        "table of a gearmand in the store's database: the start mentions jobs that are left there",
    ),
    (
        "queue-memory",
        None,
        None,
        "bytes that queued jobs and their workloads take in memory, as 64M or 2G; all others stay in the"
        " store until their turn comes [default: 256M]",
        COERCIONS["queue-memory"],
    ),
    (
        "worker-grace",
        None,
        int(WORKER_GRACE),
        "seconds for which the jobs of one of txgear's own workers stay its own when its connection is"
        " lost; 0 for none",
        COERCIONS["worker-grace"],
    ),
    (
        "can-do-timeout-unit",
        None,
        "milliseconds",
        "what workers mean by the number of CAN_DO_TIMEOUT: milliseconds, as the protocol has it, or"
        " seconds, as some libraries do; txgear's own are understood in any case",
        COERCIONS["can-do-timeout-unit"],
    ),
    (
        "tls-cert",
        None,
        None,
        "PEM file with the certificate of the ports with TLS, and its chain",
        os.path.abspath,
    ),
    ("tls-key", None, None, "PEM file with the key of that certificate", os.path.abspath),
    (
        "tls-ca",
        None,
        None,
        "PEM file with the authorities of clients' certificates, for --tls-client",
        os.path.abspath,
    ),
    (
        "tls-client",
        None,
        None,
        "ask clients for a certificate, or require one: ask or require",
        COERCIONS["tls-client"],
    ),
]
"""Long name, short name, default, help, and what makes a value of the text."""

FLAGS: Final[Sequence[Sequence[Any]]] = [
    ("cluster", None, "share the store with other servers, and take over the jobs of those that die"),
    ("keepalive", None, "use the --keepalive-... figures on accepted connections"),
    ("exceptions", None, "send WORK_EXCEPTION to all clients, not only to those that ask for it"),
    (
        "refuse-by-closing",
        None,
        "refuse a submit by closing the connection, for client libraries that do not understand ERROR",
    ),
    ("otel", None, "send metrics to OpenTelemetry, where OTEL_... variables say; needs the extra otel"),
    ("allow-shutdown", None, "obey the text commands shutdown and shutdown graceful"),
]
"""Long name, short name and help."""
