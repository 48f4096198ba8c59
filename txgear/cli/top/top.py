"""
C{txgear top}.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

import click

from txgear.cli.base.options import Seconds, Servers, json_option, server_options
from txgear.cli.base.output import is_terminal, write_json
from txgear.cli.base.statuses import DONE, MISUSED, CommandError

if TYPE_CHECKING:
    from txgear.cli.top.acts import Act
    from txgear.cli.top.asker import Asker, News
    from txgear.cli.top.views import Row

INTERVAL: Final = 1.0
LONGEST: Final = 3600.0
SHORTEST: Final = 0.1
STALE_SECONDS: Final = 4.0
"""Seconds, beside the time between two looks, after which what a server said is old."""
TICK: Final = 1.0
"""Seconds after which times on the screen go on, at the most."""
PRINTED: Final = 160
"""Cells of a line where there is no terminal and nothing is said of it."""
SERVERS_PART: Final = 3
POOR: Final = ("", "dumb", "unknown")
"""Values of C{TERM} of terminals on which nothing can be drawn."""
VIEW_NAMES: Final = ("functions", "workers", "jobs", "dead")


@click.command(epilog="Example: txgear top --server gear1.example --server gear2.example")
@click.option(
    "--view", type=click.Choice(VIEW_NAMES), default="functions", help="What to begin with.  [functions]"
)
@click.option(
    "--filter", "wanted", default="", metavar="WORDS", help="Some of it: mail.*, 'state=running older=1h'."
)
@click.option(
    "--sort",
    default="",
    metavar="NAME",
    help="By this: queue, age, wrong ...; -NAME from the largest on.",
)
@click.option(
    "--interval",
    type=Seconds(SHORTEST, LONGEST),
    default=INTERVAL,
    metavar="SECONDS",
    help=f"Between two looks.  [{INTERVAL:g}]",
)
@click.option("--once", is_flag=True, help="Print one screen, and end.")
@json_option
@server_options
def command(
    servers: Servers, view: str, wanted: str, sort: str, interval: float, once: bool, as_json: bool
) -> int:
    """
    Watch servers as they work: functions, workers, jobs and the dead, with keys to act. The key ? shows all
    of them.
    """
    if as_json and not once:
        raise CommandError("--json is for one screen: --once --json", MISUSED)
    if not once and not (is_terminal() and sys.stdin.isatty()):
        raise CommandError("a terminal is wanted; --once prints one screen elsewhere", MISUSED)
    if not once and (term := os.environ.get("TERM", "")) in POOR:
        raise CommandError(
            f"a terminal is wanted whose cursor can be moved, and TERM is {term!r}; --once prints one screen",
            MISUSED,
        )
    from txgear.cli.top.filters import query_of
    from txgear.cli.top.views import VIEWS

    [chosen] = [each for each in VIEWS if each.name == view]
    try:
        query_of(wanted, chosen.filters)
    except ValueError as error:
        raise CommandError(f"--filter: {error}", MISUSED) from error
    orders = [order.name for order in chosen.orders]
    if sort and sort.removeprefix("-") not in orders:
        raise CommandError(f"--sort: there is no {sort!r} here; there are {', '.join(orders)}", MISUSED)
    top = _Top(servers, interval)
    screen = top.screen
    screen.view = chosen
    screen.shown.filter = wanted
    if sort:
        screen.shown.order = orders.index(sort.removeprefix("-"))
        screen.shown.turned = screen.order.down != sort.startswith("-")
    return top.once(as_json) if once else top.run()


class _Top:
    """The screen, what asks the servers, and the terminal."""

    def __init__(self, servers: Servers, interval: float) -> None:
        from txgear.cli.base.api import Api
        from txgear.cli.top.screen import Screen

        self._apis: list[Callable[[], Api]] = [
            partial(Api, place, servers.token, servers.timeout) for place in servers.places()
        ]
        names = [place.name for place in servers.places()]
        self.screen = Screen(names, self._do, stale=interval + STALE_SECONDS)
        self._interval = interval
        self._news: SimpleQueue[News] = SimpleQueue()

    def once(self, as_json: bool) -> int:
        """
        Print one screen.

        @return: the exit status.
        """
        screen, said = self.screen, is_terminal() and not as_json
        screen.still, screen.height = True, 0
        self._ask_each()
        if not any(screen.heard):
            # The first of them says enough.
            raise CommandError(screen.errors[0], screen.statuses[0])
        if as_json:
            write_json(
                {"view": screen.view.name, "servers": [self._document(of) for of in range(len(self._apis))]}
            )
        else:
            self._print(said)
        return next((status for status in screen.statuses if status != DONE), DONE)

    def _ask_each(self) -> None:
        """One look at each server, at all of them at the same time."""
        from txgear.cli.top.asker import Asker

        question = self.screen.question
        askers = [Asker(api, of, self._news.put, 0.0) for of, api in enumerate(self._apis)]
        threads = [Thread(target=asker.look, args=(question,), daemon=True) for asker in askers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._hear(askers)

    def _print(self, terminal: bool) -> None:
        """
        @param terminal: whether it is one; elsewhere all rows have room, and lines are as long as they are.
        """
        from txgear.cli.top.drawing import lines
        from txgear.cli.top.painting import Painter

        screen = self.screen
        size = shutil.get_terminal_size()
        width = size.columns if terminal or "COLUMNS" in os.environ else PRINTED
        height = size.lines - 1 if terminal else len(screen.rows()) + SERVERS_PART * len(self._apis) + 4
        drawn = lines(screen, width, height, time.monotonic())
        while drawn and not drawn[-1].plain.strip():
            drawn.pop()
        painter = Painter(colours=not os.environ.get("NO_COLOR"))
        for line in drawn:
            sys.stdout.write((painter.printed(line) if terminal else line.plain.rstrip()) + "\n")

    def _document(self, of: int) -> dict[str, object]:
        heard = self.screen.heard[of]
        name = self.screen.names[of]
        if heard is None:
            return {"server": name, "error": self.screen.errors[of]}
        rows = [place.row for place in self.screen.rows() if place.of == of]
        return {
            "server": name,
            **(heard.server or {}),
            "totals": heard.totals,
            "rows": rows,
            "more": heard.more,
        }

    def run(self) -> int:
        """
        Show it until somebody has seen enough.

        @return: the exit status.
        """
        from txgear.cli.top.asker import Asker
        from txgear.cli.top.drawing import lines
        from txgear.cli.top.terminal import Terminal

        screen = self.screen
        with Terminal() as terminal:

            def tell(news: News) -> None:
                self._news.put(news)
                terminal.wake()

            self._askers = [Asker(api, of, tell, self._interval) for of, api in enumerate(self._apis)]
            question = screen.question
            for asker in self._askers:
                asker.ask(question)
                asker.start()
            try:
                while not screen.over:
                    width, height = terminal.size()
                    terminal.show(lines(screen, width, height, time.monotonic()), width, height)
                    if screen.question != question:
                        question = screen.question
                        for asker in self._askers:
                            asker.ask(question)
                    for key in terminal.keys(min(self._interval, TICK)):
                        if key == "redraw":
                            terminal.resized = True
                        else:
                            screen.key(key)
                    self._hear(self._askers)
            except KeyboardInterrupt:
                # One of the ways to end it.
                pass
            finally:
                for asker in self._askers:
                    asker.stop()
        if not any(screen.heard) and all(screen.errors):
            raise CommandError(screen.errors[0], screen.statuses[0])
        return DONE

    def _hear(self, askers: Sequence[Asker]) -> None:
        while True:
            try:
                news = self._news.get_nowait()
            except Empty:
                return
            failure = askers[news.of].failure
            if failure is not None:
                raise failure
            self.screen.hear(news)

    def _do(self, of: int, act: Act, row: Row) -> None:
        begun = self._askers[of].do(lambda api: act.do(api, row))
        self.screen.say(f"{act.label} ..." if begun else "Wait: nothing has come of the acts before yet")
