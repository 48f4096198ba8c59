"""
C{txgear top}.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

import click

from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import is_terminal, write_json
from txgear.cli.base.statuses import DONE, MISUSED, UNREACHABLE, CommandError

if TYPE_CHECKING:
    from txgear.cli.top.acts import Act
    from txgear.cli.top.asker import News
    from txgear.cli.top.views import Row

INTERVAL: Final = 1.0
LONGEST: Final = 3600.0
SHORTEST: Final = 0.1
VIEW_NAMES: Final = ("functions", "workers", "jobs", "dead")


@click.command(epilog="Example: txgear top --server gear1.example --server gear2.example")
@click.option(
    "--view", type=click.Choice(VIEW_NAMES), default="functions", help="What to begin with.  [functions]"
)
@click.option(
    "--filter", "wanted", default="", metavar="WORDS", help="Some of it: mail.*, 'state=running older=1h'."
)
@click.option(
    "--interval",
    type=click.FloatRange(SHORTEST, LONGEST),
    default=INTERVAL,
    metavar="SECONDS",
    help=f"Between two looks.  [{INTERVAL:g}]",
)
@click.option("--once", is_flag=True, help="Print one screen, and end.")
@json_option
@server_options
def command(servers: Servers, view: str, wanted: str, interval: float, once: bool, as_json: bool) -> int:
    """
    Watch servers as they work: functions, workers, jobs and the dead, with keys to act. The key ? shows all
    of them.
    """
    if as_json and not once:
        raise CommandError("--json is for one screen: --once --json", MISUSED)
    if not once and not (is_terminal() and sys.stdin.isatty() and os.environ.get("TERM", "dumb") != "dumb"):
        raise CommandError("a terminal is wanted; --once prints one screen elsewhere", MISUSED)
    from txgear.cli.top.filters import query_of
    from txgear.cli.top.views import VIEWS

    [chosen] = [each for each in VIEWS if each.name == view]
    try:
        query_of(wanted, chosen.filters)
    except ValueError as error:
        raise CommandError(f"--filter: {error}", MISUSED) from error
    top = _Top(servers, view, wanted)
    return top.once(as_json) if once else top.run(interval)


class _Top:
    """The screen, what asks the servers, and the terminal."""

    def __init__(self, servers: Servers, view: str, wanted: str) -> None:
        from txgear.cli.top.screen import Screen
        from txgear.cli.top.views import VIEWS

        self._apis = servers.apis()
        self.screen = Screen([api.place.name for api in self._apis], self._do)
        self.screen.view = next(each for each in VIEWS if each.name == view)
        self.screen.shown.filter = wanted
        self._news: SimpleQueue[News] = SimpleQueue()

    def once(self, as_json: bool) -> int:
        """
        Print one screen.

        @return: the exit status.
        """
        from txgear.cli.top.asker import Look, News
        from txgear.cli.top.drawing import lines
        from txgear.cli.top.terminal import draw

        screen, statuses = self.screen, []
        for of, api in enumerate(self._apis):
            try:
                screen.hear(News(of, Look(api).take(screen.question, of)))
            except CommandError as error:
                if len(self._apis) == 1:
                    raise
                screen.hear(News(of, error=error.text))
                statuses.append(error.status)
        if as_json:
            write_json(
                {"view": screen.view.name, "servers": [self._document(of) for of in range(len(self._apis))]}
            )
        else:
            size = shutil.get_terminal_size()
            # Where nobody looks at a terminal, all rows that were asked for.
            height = size.lines - 1 if is_terminal() else len(screen.rows()) + len(self._apis) + 4
            drawn = lines(screen, size.columns, height, time.monotonic())[:-1]
            while drawn and not drawn[-1].plain.strip():
                drawn.pop()
            for line in drawn:
                sys.stdout.write(draw(line, size.columns, not is_terminal()).rstrip() + "\n")
        return statuses[0] if statuses else DONE

    def _document(self, of: int) -> dict[str, object]:
        heard = self.screen.heard[of]
        name = self.screen.names[of]
        if heard is None:
            return {"server": name, "error": self.screen.errors[of]}
        return {
            "server": name,
            **(heard.server or {}),
            "totals": heard.totals,
            "rows": heard.rows,
            "more": heard.more,
        }

    def run(self, interval: float) -> int:
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

            self._askers = [Asker(api, of, tell, interval) for of, api in enumerate(self._apis)]
            question = screen.question
            for asker in self._askers:
                asker.ask(question)
                asker.start()
            try:
                while not screen.over:
                    terminal.show(lines(screen, *terminal.size(), time.monotonic()))
                    for key in terminal.keys(interval):
                        if key == "redraw":
                            terminal.resized = True
                        else:
                            screen.key(key)
                    self._hear()
                    if screen.question != question:
                        question = screen.question
                        for asker in self._askers:
                            asker.ask(question)
            except KeyboardInterrupt:
                # One of the ways to end it.
                pass
            finally:
                for asker in self._askers:
                    asker.stop()
        if all(heard is None for heard in screen.heard) and all(screen.errors):
            raise CommandError(screen.errors[0], UNREACHABLE)
        return DONE

    def _hear(self) -> None:
        while True:
            try:
                news = self._news.get_nowait()
            except Empty:
                return
            failure = self._askers[news.of].failure
            if failure is not None:
                raise failure
            self.screen.hear(news)

    def _do(self, of: int, act: Act, row: Row) -> None:
        self.screen.say(f"{act.label} …")
        self._askers[of].do(lambda api: act.do(api, row))
