"""A server and somebody before its dashboard, for what is done there in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from browsing import Tab
from operating import Operator
from processes import Server, wait_until
from wirepeer import P, WirePeer

Do = Callable[["Stage"], None]


class Acts(dict[str, Do]):
    """
    What can be done: where a form is sent, the word in it that says what is wanted, and C{all} for all that
    match; with what does it.
    """

    def by(self, *keys: str) -> Callable[[Do], Do]:
        """This is how these are done."""

        def known(do: Do) -> Do:
            for each in keys:
                assert each not in self, each
                self[each] = do
            return do

        return known


@dataclass
class Stage:
    """
    A server, somebody before its dashboard, and an operator who looks at what has come of it.
    """

    server: Server
    tab: Tab
    operator: Operator
    client: WirePeer
    folder: Path

    @property
    def page(self) -> Page:
        return self.tab.page

    def open(self, path: str) -> Page:
        return self.tab.open(path)

    def press(self, name: str, within: Locator | None = None, sure: str = "") -> None:
        """
        Press a button.

        @param sure: what is to be answered to the question that comes then.
        """
        (within or self.page.get_by_role("main")).get_by_role("button", name=name, exact=True).click()
        if sure:
            self.page.get_by_role("dialog").get_by_role("button", name=sure, exact=True).click()

    def done(self, text: str = "") -> None:
        """The page says what has been done."""
        note = self.page.locator("#notes .note:not(.critical)")
        expect(note).to_be_visible()
        expect(note).to_contain_text(text)

    def order(self, line: str) -> str:
        answer = self.operator.order(line)
        assert answer.startswith("OK"), answer
        return answer

    def submit(self, function: str, count: int = 1) -> list[str]:
        """Background jobs; their handles."""
        name = function.encode()
        return [
            self.client.submit(
                name, b"%d" % number, b"%s-%d" % (name[-20:], number), P.SUBMIT_JOB_BG
            ).decode()
            for number in range(count)
        ]

    def ended(self, function: str, count: int = 1, how: P = P.WORK_FAIL) -> list[str]:
        """Jobs that have ended so."""
        handles = self.submit(function, count)
        with WirePeer(self.server.port) as worker:
            worker.can_do(function.encode())
            for _ in range(count):
                worker.send(how, worker.grab_soon().handle, *([b"it is so"] if how != P.WORK_FAIL else []))
            worker.sync()
        return handles

    def settings(self, function: str) -> list[str]:
        """What C{functions} says of one; nothing if it does not list it."""
        rows = self.server.list(f"functions function={function}")
        return rows[0] if rows else []

    def jobs(self, words: str) -> list[str]:
        """The handles of those that a list has."""
        return [row[0] for row in self.server.list(words)]

    def fact(self, command: str, name: str) -> str:
        """A value of a thing that a text command tells all of."""
        return next(value for fact, value, *_ in self.server.list(command) if fact == name)

    def until(self, is_so: Callable[[], object]) -> None:
        """Wait until the server is so."""

        def looked() -> object:
            # The browser has its turns meanwhile, and its news are heard.
            self.page.wait_for_timeout(10)
            return is_so()

        wait_until(looked, what="what was done")

    def select(self, *handles: str) -> Locator:
        """Mark rows; what can be done with them."""
        for handle in handles:
            self.page.get_by_role("checkbox", name=f"Select {handle}", exact=True).check()
        return self.page.get_by_role("group", name="With the selected jobs")

    def all_that_match(self) -> Locator:
        """What can be done with all that match."""
        self.page.get_by_text("Do something to all that match").click()
        return self.page.get_by_role("group", name="With all that match")

    def confirm(self, button: str) -> None:
        """See how many there are, say yes, and see the end of it."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(re.compile(r"Task \d+"))
        self.press(button)
        self.ended_well()

    def ended_well(self) -> None:
        """The page of a task shows its end."""
        facts = self.page.locator("#head")
        expect(facts).to_contain_text("Ended")
        expect(facts).to_contain_text("done")
