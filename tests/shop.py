"""
A server with the background work of a web shop: something of everything that the dashboard shows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dashboardpages import PLACES
from processes import PATIENCE, Server, free_port, wait_until
from wirepeer import P, WirePeer, packet

CONFIG: Final = """
[[function]]
name = "mail.*"
retries = 1
backoff = "50ms"
results = "1h"
dead = { keep = "30d", jobs = 100000 }

[[function]]
name = "order.invoice"
retries = 0
results = "1h"

[[function]]
name = "image.*"
retries = 2
backoff = "10m"
timeout = "2m"
concurrency = 4
results = "1h"

[[function]]
name = "search.*"
rate = "20/s"
max_queue = 5000

[[schedule]]
name = "stock report"
cron = "30 6 * * mon-fri"
timezone = "Europe/Berlin"
function = "report.stock"
workload = '{"to": "stock@shop.example"}'

[[schedule]]
name = "clean up"
cron = "*/15 * * * *"
function = "cleanup"
"""

ORDER: Final = json.dumps(
    {
        "order": 48213,
        "customer": {"name": "Ada Byron", "mail": "ada@shop.example"},
        "lines": [
            {"article": "A-100", "count": 2, "price": "19.90"},
            {"article": "B-7", "count": 1, "price": "4.50"},
        ],
        "paid": True,
        "note": None,
    }
).encode()
PHP: Final = (
    b'O:7:"Invoice":3:{s:2:"id";i:48213;s:10:"\0*\0address";'
    b'a:2:{s:4:"name";s:9:"Ada Byron";s:4:"city";s:6:"London";}s:5:"total";d:44.3;}'
)


WORKER_STATE: Final = packet(
    0x5458000A,
    json.dumps(
        {
            "words": [
                *("pause", "resume", "stop", "grow", "shrink", "restart", "register", "unregister"),
                "rotate-logs",
            ],
            "functions": [
                {"name": "report.stock", "done": 48_213, "failed": 17, "active": 1},
                {"name": "report.sales", "in_use": False, "done": 960, "failed": 0},
            ],
            "concurrency": 2,
            "memory": 61_865_984,
        }
    ).encode(),
)
"""The packet in which a worker says how it is, and what it can be told."""


WORKER_HELLO: Final = packet(
    0x5458000F,
    json.dumps(
        {
            "key": "5e" * 16,
            "id": "reports-1",
            "host": "shop-2",
            "pid": 412,
            "version": "txgear 0.1.0",
            "group": "reports",
            "started": 1_763_900_000.0,
        }
    ).encode(),
)
"""The packet in which it says who it is."""


@dataclass
class Shop:
    """
    @ivar server: it.
    @ivar web: the port of its web.
    @ivar peers: clients and workers.
    @ivar handles: of one job of each kind, by what it is; so are
    @ivar others: numbers of workers and tasks, and the name of a review.
    """

    server: Server
    web: int
    peers: list[WirePeer] = field(default_factory=list)
    handles: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """What the addresses of its pages begin with."""
        return f"http://127.0.0.1:{self.web}"

    def path_of(self, name: str) -> str:
        """The address of one of L{PLACES}."""
        return PLACES[name].path.format(**self.handles, **self.others)

    def connect(self, name: str) -> WirePeer:
        """A client or worker that calls itself so."""
        peer = self.server.connect(PATIENCE)
        peer.send(P.SET_CLIENT_ID, name.encode())
        self.peers.append(peer)
        return peer

    def close(self) -> None:
        """End it."""
        for peer in self.peers:
            peer.close()
        self.server.stop()


def store_of(path: Path) -> str:
    """The store of a shop whose files are in a folder."""
    return f"sqlite:///{path / 'shop.sqlite'}"


def open_shop(path: Path, *options: str, config: str = "", port: int | None = None) -> Shop:
    """
    Start it, and let it have work.

    @param path: a folder for its files.
    @param config: more of its file.
    """
    file = path / "shop.toml"
    file.write_text(CONFIG + config)
    web = free_port()
    server = Server(
        path,
        f"--web=tcp:{web}:interface=127.0.0.1",
        "--config",
        str(file),
        *options,
        port=port,
        store=store_of(path),
    )
    shop = Shop(server, web)
    try:
        _fill(shop)
    except BaseException:
        shop.close()
        raise
    return shop


def _fill(shop: Shop) -> None:
    client = shop.connect("shop-web-1")

    def submit(function: bytes, workload: bytes, unique: bytes = b"", kind: P = P.SUBMIT_JOB_BG) -> str:
        return client.submit(function, workload, unique, kind).decode()

    mailer = shop.connect("mailer-1 pid 2041")
    mailer.can_do(b"mail.order", b"mail.news")
    for number in range(3):
        shop.handles["dead"] = submit(b"mail.order", ORDER, b"order-%d" % (48210 + number))
        for _ in range(2):
            job = mailer.grab_soon()
            mailer.send(
                P.WORK_EXCEPTION,
                job.handle,
                b"SMTPRecipientsRefused: 550 5.1.1 ada@shop.example: no such user",
            )
    submit(b"mail.news", b"Summer sale", b"news-1")
    for _ in range(2):
        mailer.send(P.WORK_FAIL, mailer.grab_soon().handle)
    for number in range(4):
        shop.handles["done"] = submit(b"mail.order", ORDER, b"order-%d" % (48220 + number))
        mailer.complete(mailer.grab_soon(), b'{"sent": true, "id": "<%d@shop.example>"}' % number)

    invoices = shop.connect("invoices-1 pid 977")
    invoices.can_do(b"order.invoice")
    shop.handles["php"] = submit(b"order.invoice", PHP, b"invoice-48213")
    invoices.send(P.WORK_FAIL, invoices.grab_soon().handle)

    images = shop.connect("images-1 pid 3120")
    images.can_do(b"image.resize", b"image.thumbnail")
    shop.handles["retried"] = submit(b"image.resize", b"catalogue/A-99.tif 800x600", b"A-99")
    images.send(P.WORK_EXCEPTION, images.grab_soon().handle, b"OSError: cannot identify image file")
    shop.handles["running"] = submit(b"image.resize", b"catalogue/A-100.tif 800x600", b"A-100")
    job = images.grab_soon()
    images.send(P.WORK_DATA, job.handle, b"read 48 MB\n")
    images.send(P.WORK_STATUS, job.handle, b"3", b"10")
    images.sync()
    for number in range(14):
        submit(b"image.thumbnail", b"catalogue/A-%d.tif" % number, b"thumb-%d" % number)

    for number in range(12):
        submit(b"search.index", b"article %d" % number, b"article-%d" % number)
    waiting = shop.connect("shop-web-2")
    shop.handles["awaited"] = waiting.submit(b"price.convert", b"19.90 EUR GBP", b"price-1").decode()
    client.send(P.SUBMIT_JOB_EPOCH, b"mail.news", b"news-2", b"9999999999", b"Winter sale")
    shop.handles["later"] = client.expect(P.JOB_CREATED).body.decode()
    idle = shop.connect("cleaner-1 pid 88")
    idle.can_do(b"cleanup")
    idle.send(P.PRE_SLEEP)
    steered = shop.connect("reports-1")
    steered.send(P.OPTION_REQ, b"txgear-1")
    steered.expect(P.OPTION_RES)
    steered.send_raw(WORKER_HELLO)
    steered.expect(0x54580010)
    steered.send_raw(WORKER_STATE)
    steered.can_do(b"report.stock")
    with WirePeer(shop.server.port) as operator:
        for line in (
            "pause search.index",
            "review dead watch most=2 function=mail.order",
            "requeue dead preview=yes function=mail.*",
        ):
            assert operator.ask(line).startswith(b"OK"), line
    numbers = {row[2].replace("\\x20", " "): row[0] for row in shop.server.list("connections")}
    shop.others.update(worker=numbers["images-1 pid 3120"], steered=numbers["reports-1"])
    shop.others.update(review="watch", task="1", counted="2")
    wait_until(lambda: all(row[2] == "done" for row in shop.server.list("tasks")), what="the ends of tasks")
