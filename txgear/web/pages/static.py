"""
What pages load beside themselves: the style sheet, the modules of JavaScript, the icon. All of it is this
server's own.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from txgear.web.answers import Answer, Problem
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

FOLDER: Final = Path(__file__).with_name("static")
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOREVER: Final = "public, max-age=31536000, immutable"
"""How long a file may be taken from a cache: its address changes when the file does."""


class Static:
    """
    All of these files, in memory.

    Modules import each other by relative addresses, so that what tells one state of them from another is a
    part of the path which they share.

    @ivar root: the path that all begin with.
    """

    def __init__(self) -> None:
        files = sorted(path for path in FOLDER.iterdir() if path.suffix in TYPES)
        self._files = {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in files}
        state = blake2b(digest_size=6)
        for name, (content, _) in self._files.items():
            state.update(name.encode("ascii") + b"\0" + content)
        self._state = state.hexdigest()
        self.root = f"/static/{self._state}"

    def url(self, name: str) -> str:
        """
        The path of a file, for templates.

        @raise KeyError: there is no such file.
        """
        self._files[name]
        return f"{self.root}/{name}"

    def serve(self, request: WebRequest, state: str, name: str) -> Answer:
        """One of them."""
        found = self._files.get(name)
        if found is None:
            raise Problem(404, "not_found", "There is no such file")
        content, kind = found
        # A page of a server that was another version a moment ago still gets what there is now.
        fresh = {"Cache-Control": FOREVER} if state == self._state else {}
        return Answer(content, 200, fresh, kind)

    def routes(self) -> list[Route]:
        """Everybody may have them: they say nothing of this server."""
        return [Route("GET", "/static/<state>/<name>", self.serve, free=True, types=())]
