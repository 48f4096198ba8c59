"""A browser for tests: what one sends and keeps, and nothing that it shows."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlencode

from processes import run, txgear
from webpeer import Answer, WebPeer

HTML: Final = "text/html,application/xhtml+xml,*/*;q=0.8"
FORM: Final = "application/x-www-form-urlencoded"


class Secret(NamedTuple):
    """
    A token.

    @ivar token: what its owner has.
    @ivar entry: what stands in the server's file.
    """

    token: str
    entry: str

    @classmethod
    def new(cls) -> Secret:
        """One that nobody has seen yet."""
        words = run([*txgear(), "token", "new"]).stdout.decode().split()
        return cls(words[1], words[3])


def write_rules(path: Path, **identities: Secret | None) -> None:
    """
    A file in which each of these may do everything.

    @param identities: their tokens by their names; C{None} for one without.
    """
    tables = [
        f'[[identity]]\nname = "{name}"\n' + (f'tokens = ["{secret.entry}"]\n' if secret else "")
        for name, secret in identities.items()
    ]
    path.write_text("\n".join([*tables, '[[access]]\nidentities = ["*"]\nallow = ["all"]\n']))


class Browser:
    """
    One browser.

    @ivar cookies: what it sends.
    @ivar jar: each C{Set-Cookie} that it was sent, by the names of the cookies.
    """

    def __init__(self, where: int | str, *, tls: ssl.SSLContext | None = None, scheme: str = "http") -> None:
        self.where = where
        self.tls = tls
        self.origin = f"{'https' if tls else scheme}://localhost"
        self.cookies: dict[str, str] = {}
        self.jar: dict[str, str] = {}

    def headers(self) -> dict[str, str]:
        """What it says of a visit to a page."""
        said = {"Accept": HTML, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        if self.cookies:
            said["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return said

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """A request of a connection of its own."""
        said = {**self.headers(), **{name.replace("_", "-"): value for name, value in headers.items()}}
        with WebPeer(self.where, tls=self.tls) as peer:
            answer = peer.ask(method, path, body, **said)
        for each in answer.headers.get_all("Set-Cookie", []):
            name, _, rest = each.partition("=")
            self.jar[name] = each
            self.cookies[name] = rest.partition(";")[0]
            if "Max-Age=0" in each:
                del self.cookies[name]
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        """Go to a page, and follow nothing."""
        return self.ask("GET", path, b"", **headers)

    def form_token(self, path: str) -> str:
        """What the forms of a page have."""
        found = re.search(rb'name="form_token" value="([^"]+)"', self.get(path).body)
        assert found is not None
        return found[1].decode()

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        """Send a form."""
        said = {"Content_Type": FORM, "Origin": self.origin, **headers}
        return self.ask("POST", path, urlencode(fields).encode(), **said)

    def sign_in(self, secret: Secret, next: str = "/") -> Answer:
        """As somebody does who is led there."""
        token = self.form_token("/sign-in")
        return self.post("/sign-in", {"form_token": token, "token": secret.token, "next": next})

    def sign_out(self) -> Answer:
        """By the button that is on each page."""
        return self.post("/sign-out", {"form_token": self.form_token("/")})

    def is_in(self) -> bool:
        """Whether it is let in."""
        answer = self.get("/")
        assert answer.status in (200, 303), answer
        return answer.status == 200
