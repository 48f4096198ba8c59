"""
The dead set of the dashboard without JavaScript: what its forms do to groups, to what is selected and to
reviews is looked for on the server, by text commands, also after it was started again.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest

from browserpeer import FORM, Browser
from operating import configured
from processes import Server, Servers, free_port, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only

PATIENCE: Final = 20.0

HOSTILE: Final = b"<b>\"'*[x]&\xe2\x80\xae"
"""The name of a function."""


class User(Browser):
    """Somebody who runs no scripts."""

    def see(self, path: str, status: int = 200) -> str:
        answer = self.get(path)
        assert answer.status == status, answer
        return answer.body.decode()

    def send(self, path: str, *fields: tuple[str, str]) -> str:
        """Send a form; where that leads."""
        token = self.form_token("/dead")
        body = urlencode([("form_token", token), *fields]).encode()
        answer = self.ask("POST", path, body, Content_Type=FORM, Origin=self.origin)
        assert answer.status == 303, answer.body
        return str(answer.headers["Location"])

    def confirm(self, path: str, button: str) -> None:
        """What is asked on the page of a task; all of it is done after that."""
        wait_until(lambda: f">{button}</button>" in self.see(path), PATIENCE, what=button)
        begun = self.send(f"{path}/confirm")
        wait_until(lambda: "<dt>Ended</dt>" in self.see(begun), PATIENCE, what=f"the end of {begun}")


def kill(server: Server, function: bytes, *messages: bytes) -> list[str]:
    """A dead job for each of these last words; an empty one says only that it has failed."""
    peer = server.connect()
    peer.send(P.CAN_DO, function)
    handles = []
    for message in messages:
        peer.send(P.SUBMIT_JOB_BG, function, b"", b"to: <i>nobody</i>")
        handles.append(peer.expect(P.JOB_CREATED).args[0].decode())
        peer.send(P.GRAB_JOB)
        handle = peer.expect(P.JOB_ASSIGN).args[0]
        peer.send(P.WORK_EXCEPTION, handle, message) if message else peer.send(P.WORK_FAIL, handle)
    peer.sync()
    peer.close()
    return handles


def dead(server: Server, words: str = "") -> list[str]:
    return [row[0] for row in server.list(f"dead {words}".strip())]


def test_groups_and_reviews(start_server: Servers, tmp_path: Path) -> None:
    options = configured(tmp_path, '[[function]]\nname = "*"\nretries = 0\n')
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    port = free_port()

    def start() -> tuple[Server, User]:
        return start_server(*options, f"--web=127.0.0.1:{port}", store=store), User(port)

    server, user = start()
    failed = kill(server, b"mail", b"", b"", b"")
    raised = kill(server, b"mail", b"<b>550</b>", b"551", b"552", b"553")
    hostile = kill(server, HOSTILE, b"why")
    page = user.see("/dead")
    assert "8 jobs, in 3 groups." in page
    assert "<b>" not in page
    groups = list(dict.fromkeys(unescape(each) for each in re.findall(r'formaction="([^"]+)"', page)))
    assert groups[:2] == ["/dead?function=mail&reason=exception", "/dead?function=mail&reason=fail"]

    # A whole group, after a question with the count.
    asked = user.send(groups[1], ("to", "all"), ("act", "requeue"))
    assert dead(server) == failed + raised + hostile
    user.confirm(asked, "Queue again 3 jobs")
    assert dead(server) == raised + hostile
    assert [row[0] for row in server.list("jobs function=mail")] == failed

    # A group is set aside, and then all are forgotten but these.
    asked = user.send(groups[0], ("to", "all"), ("act", "review"), ("review", "odd-1"))
    user.confirm(asked, "Set 4 jobs aside in odd-1")
    assert dead(server) == hostile
    assert [row[:2] for row in server.list("reviews")] == [["odd-1", "4"]]
    user.confirm(user.send("/dead", ("to", "all"), ("act", "forget")), "Forget 1 job")
    assert dead(server) == []
    assert dead(server, "review=odd-1") == raised

    # All of that outlives the server.
    wait_until(lambda: server.list("reviews"), what="the review")
    server.stop()
    server, user = start()
    assert dead(server, "review=odd-1") == raised
    page = user.see("/reviews/odd-1")
    assert page.count("to: &lt;i&gt;nobody&lt;/i&gt;") == 4
    assert "&lt;b&gt;550&lt;/b&gt;" in page

    # One by one.
    chosen = [("handle", handle) for handle in raised]
    assert user.send("/reviews/odd-1", ("act", "requeue"), chosen[0]) == "/reviews/odd-1"
    assert (
        user.send("/reviews/odd-1", ("act", "move"), ("function", "mail.odd"), chosen[1]) == "/reviews/odd-1"
    )
    assert user.send("/reviews/odd-1", ("act", "put-back"), chosen[2]) == "/reviews/odd-1"
    assert dead(server) == [raised[2]]
    # One that is moved is behind the others.
    assert [row[:2] for row in server.list("dead review=odd-1")] == [
        [raised[3], "mail"],
        [raised[1], "mail.odd"],
    ]
    user.confirm(user.send("/reviews/odd-1", ("to", "all"), ("act", "put-back")), "Put back 2 jobs")
    assert server.list("reviews") == []
    # What is put back counts as what has died last.
    assert dead(server) == [raised[2], raised[3], raised[1]]
    user.see("/reviews/odd-1", 404)


def test_a_group_of_a_hostile_name_is_just_that(start_server: Servers, tmp_path: Path) -> None:
    """Its name is no pattern."""
    port = free_port()
    options = configured(tmp_path, '[[function]]\nname = "*"\nretries = 0\n')
    server, user = start_server(*options, f"--web=127.0.0.1:{port}"), User(port)
    (handle,) = kill(server, HOSTILE, b"")
    others = kill(server, b"<b>\"'anythingx&\xe2\x80\xae", b"", b"")
    groups = [unescape(each) for each in re.findall(r'formaction="([^"]+)"', user.see("/dead"))]
    user.confirm(user.send(groups[-1], ("to", "all"), ("act", "forget")), "Forget 1 job")
    assert dead(server) == others
    assert handle not in user.see("/dead")
