"""
A real browser for tests: Debian's Chromium by Playwright, and axe-core, which finds what shuts people out.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from needs import lacks, requires

AXE: Final = "axe-core@4.14.1"
"""What is had from npm."""
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOURS: Final = ("color-contrast", "link-in-text-block")
"""The rules by which two looks of the same width can differ."""
MOST_HIGH: Final = 1400
"""Pixels of a picture."""
MILLISECONDS: Final = 15_000
"""How long a browser may take for anything."""
expect.set_options(timeout=MILLISECONDS)


class Look(NamedTuple):
    """How a page is looked at."""

    name: str
    width: int
    height: int
    scheme: str


LOOKS: Final = (
    Look("wide-light", 1280, 900, "light"),
    Look("wide-dark", 1280, 900, "dark"),
    Look("phone-light", 390, 844, "light"),
    Look("phone-dark", 390, 844, "dark"),
)
ALL_RULES: Final = (LOOKS[0], LOOKS[3])
"""The looks for which all rules are asked, which takes ten times as long: each width, and each scheme."""


@cache
def axe_script() -> str:
    """axe-core, as one script. The test is skipped where there is no npm, or fails if we insist."""
    npm = requires("npm")
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", AXE],
            cwd=folder,
            capture_output=True,
            timeout=120,
            check=False,
        )
        lacks("" if done.returncode == 0 else f"npm does not get {AXE}: {done.stderr.decode()[-300:]}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as packed:
            script = packed.extractfile("package/axe.min.js")
            assert script is not None
            return script.read().decode("utf-8")


def chromium() -> str:
    """The path of Chromium; without it the test is skipped, or fails if we insist."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    lacks("" if found else "there is no program chromium")
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser that shows nothing to anybody."""
    path = chromium()
    with sync_playwright() as playwright:
        # As root it does not sandbox itself; it is shown pages of this machine only.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Post(NamedTuple):
    """
    A form that was sent.

    @ivar path: where, without the query.
    @ivar fields: what was in it.
    """

    path: str
    fields: dict[str, str]


class Tab:
    """
    One page in a browser of its own, which fails the test for whatever the console says of errors.

    @ivar page: Playwright's.
    @ivar errors: what the console has said.
    @ivar posts: the forms that were sent.
    """

    def __init__(self, browser: Browser, base: str, look: Look, **options: Any) -> None:
        self.base = base
        self._context = browser.new_context(
            viewport={"width": look.width, "height": look.height},
            color_scheme=look.scheme,  # type: ignore[arg-type]
            **{"locale": "en-GB", "timezone_id": "Europe/Berlin", "reduced_motion": "reduce", **options},
        )
        self._context.set_default_timeout(MILLISECONDS)
        self.page: Page = self._context.new_page()
        self.errors: list[str] = []
        self.posts: list[Post] = []
        self._scripted = options.get("java_script_enabled", True)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def _asked(self, request: Request) -> None:
        if request.method == "POST":
            fields = dict(parse_qsl(request.post_data or "", keep_blank_values=True))
            self.posts.append(Post(urlsplit(request.url).path, fields))

    def close(self) -> None:
        self._context.close()

    def open(self, path: str, status: int = 200) -> Page:
        """
        Load a page; it stays as it is on the server from then on.

        @param status: what the server is to answer with.
        """
        self.errors.clear()
        answer = self.page.goto(self.base + path, wait_until="load")
        assert answer is not None
        assert answer.status == status, f"{path}: {answer.status}"
        if self._scripted and self.page.locator("body[data-live]").count():
            self.is_live()
        if status >= 400:
            # The browser says in its console what it was answered.
            told, self.errors = self.errors, []
            assert len(told) == 1, told
            assert f"status of {status}" in told[0], told
        return self.page

    def is_live(self) -> None:
        """The page's scripts are at work: what is pressed before that is lost."""
        expect(self.page.locator("#line")).to_have_text("Live")

    def look(self, look: Look) -> None:
        """Have the page that is open look otherwise."""
        self.page.set_viewport_size({"width": look.width, "height": look.height})
        self.page.emulate_media(color_scheme=look.scheme)  # type: ignore[arg-type]

    def is_calm(self) -> None:
        """Nothing has gone wrong in the page."""
        assert not self.errors, self.errors

    def check_axe(self, rules: tuple[str, ...] = RULES) -> None:
        """Nothing in the page shuts anybody out, as far as a program can tell."""
        # By way of the debugger: the page itself takes no script from elsewhere.
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(f"() => {{ {axe_script()} }}")
        wanted = {"type": "tag" if rules is RULES else "rule", "values": rules}
        found: Any = self.page.evaluate(
            "only => axe.run({runOnly: only, resultTypes: ['violations'], preload: false})", wanted
        )
        faults = [
            f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in found["violations"]
        ]
        assert not faults, "\n".join(faults)

    def fits(self) -> None:
        """Nothing sticks out at the side."""
        wide, room = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= room, f"{wide} pixels wide, and there is room for {room}"

    def picture(self, path: Path) -> None:
        """Keep what it looks like: all of it, as far as it is not very long."""
        high = self.page.evaluate(
            "Math.ceil(document.querySelector('footer').getBoundingClientRect().bottom)"
        )
        wide = self.page.evaluate("innerWidth")
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = {"x": 0, "y": 0, "width": wide, "height": min(high, MOST_HIGH)}
        self.page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]

    def check_looks(self, looks: Sequence[Look] = LOOKS) -> None:
        """The page that is open is good in each of these looks."""
        for look in looks:
            self.look(look)
            try:
                self.fits()
                self.check_axe(RULES if look in ALL_RULES else COLOURS)
            except AssertionError as fault:
                raise AssertionError(f"{look.name}: {fault}") from None
        self.look(LOOKS[0])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser that the tests of one file share."""
    with launched() as found:
        yield found
