"""The doors of the dashboard: who is let in, for how long, and what other web sites can do."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Final

import pytest

from browserpeer import FORM, Browser, Secret, write_rules
from processes import PATIENCE, Server, Servers, free_port, wait_until
from test_tls import Authority
from txgear.broker.records import SIGNED_OUT
from webpeer import Answer, WebPeer

pytestmark = pytest.mark.txgear_only

__all__ = ["authority"]

POLICY: Final = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "tls"
    folder.mkdir()
    return Authority(folder)


class House:
    """
    A server with rules.

    @ivar ann: the token of one who may do all.
    @ivar bob: that of another one.
    """

    def __init__(self, start_server: Servers, folder: Path, *options: str, store: str = "memory:") -> None:
        self.folder = folder
        self.rules = folder / "rules.toml"
        self.audit = folder / "audit.log"
        self.port = free_port()
        self.ann, self.bob = Secret.new(), Secret.new()
        write_rules(self.rules, ann=self.ann, bob=self.bob)
        self._start = start_server
        self._options = options or (f"--web=127.0.0.1:{self.port}",)
        self._store = store
        self.start()

    def start(self) -> None:
        """Start it, with the files that there are."""
        files = (f"--config={self.rules}", f"--audit-log={self.audit}")
        self.server: Server = self._start(*self._options, *files, store=self._store)

    def reload(self, **identities: Secret | None) -> None:
        """Let other tokens count."""
        before = self.server.said().count(b"rules.toml read again")
        write_rules(self.rules, **identities)
        self.server.signal(signal.SIGHUP)
        wait_until(lambda: self.server.said().count(b"rules.toml read again") > before, what="a reload")

    def browser(self, **choices: str) -> Browser:
        return Browser(self.port, **choices)  # type: ignore[arg-type]

    def audited(self, act: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        return [line for line in lines if line["act"] == act]


@pytest.fixture
def house(start_server: Servers, tmp_path: Path) -> House:
    return House(start_server, tmp_path)


def parts(said: str) -> set[str]:
    """What a header has between its semicolons."""
    return {part.strip() for part in said.split(";")}


def assert_safe(answer: Answer, *, page: bool = True) -> None:
    """What is forbidden browsers with every answer, and with every page."""
    headers = answer.headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Credentials" not in headers
    policy = parts(headers["Content-Security-Policy"])
    assert {"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= policy
    assert not any("unsafe" in part or "*" in part or "data:" in part for part in policy)
    if page:
        assert policy >= POLICY
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        assert parts(headers["Vary"].replace(",", ";")) == {"Accept", "Cookie"}
        body = answer.body.decode()
        assert "<script>" not in body
        assert "style=" not in body
        assert " onclick" not in body
    else:
        assert headers["Referrer-Policy"] == "no-referrer"


# What browsers are told


def test_headers(house: House) -> None:
    """Of pages, of what they load, of redirects and of problems."""
    browser = house.browser()
    led = browser.get("/jobs?state=dead")
    assert (led.status, led.headers["Location"]) == (303, "/sign-in?next=/jobs%3Fstate%3Ddead")
    assert_safe(led, page=False)
    page = browser.get("/sign-in")
    assert page.status == 200
    assert_safe(page)
    assert_safe(browser.post("/sign-in", {"token": "x"}))
    signed_in = browser.sign_in(house.ann, "/jobs?state=dead")
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/jobs?state=dead")
    assert_safe(signed_in, page=False)
    for path, status in (("/", 200), ("/nothing", 404), ("/sign-out", 405)):
        answer = browser.get(path)
        assert answer.status == status
        assert_safe(answer)
    assert_safe(browser.get("/", Host="evil.example"))
    assert_safe(browser.ask("POST", "/sign-out", b"x" * 2_000_000, Content_Type=FORM))
    script = browser.get("/").body.decode().partition('<script type="module" src="')[2].partition('"')[0]
    file = house.browser().get(script)
    assert file.status == 200
    assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert file.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Vary" not in file.headers
    assert "Set-Cookie" not in file.headers


def test_cookies(house: House) -> None:
    browser = house.browser()
    browser.sign_in(house.ann)
    assert browser.jar.keys() == {"txgear_visitor", "txgear_session"}
    for name, said in browser.jar.items():
        found = parts(said)
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= found
        assert not any(part.startswith("Domain") for part in found)
        assert "Secure" not in found
        assert house.ann.token[13:] not in said, name
    assert "Max-Age=43200" in parts(browser.jar["txgear_session"])


def test_tls(start_server: Servers, authority: Authority, tmp_path: Path) -> None:
    """The cookie is for this very host, and by TLS; one of another name is none."""
    port = free_port()
    house = House(start_server, tmp_path, f"--web=tls:localhost:{port}", *authority.options("ask"))
    browser = Browser(port, tls=authority.client())
    browser.sign_in(house.ann)
    assert browser.jar.keys() == {"txgear_visitor", "__Host-txgear_session"}
    for said in browser.jar.values():
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= parts(said)
    assert browser.is_in()
    browser.cookies["txgear_session"] = browser.cookies.pop("__Host-txgear_session")
    assert not browser.is_in()


def test_a_certificate_needs_no_sign_in(start_server: Servers, authority: Authority, tmp_path: Path) -> None:
    port = free_port()
    house = House(start_server, tmp_path, f"--web=tls:localhost:{port}", *authority.options("ask"))
    text = house.rules.read_text()
    shown = 'name = "ann"\ncertificates = ["client.example"]'
    house.rules.write_text('[login]\ncertificate = "dns"\n' + text.replace('name = "ann"', shown))
    house.server.signal(signal.SIGHUP)
    browser = Browser(port, tls=authority.good())
    wait_until(browser.is_in, what="a certificate that counts")
    page = browser.get("/").body
    assert b"ann" in page
    assert b"Sign out" not in page
    assert b"Sign in" not in page


def test_behind_a_proxy_with_tls(house: House) -> None:
    """It has no word in it: the browser's own C{Origin} says how its page came."""
    browser = house.browser(scheme="https")
    browser.sign_in(house.ann)
    assert "Secure" in parts(browser.jar["__Host-txgear_session"])
    assert browser.is_in()
    liar = house.browser()
    token = liar.form_token("/sign-in")
    liar.post("/sign-in", {"form_token": token, "token": house.ann.token}, X_Forwarded_Proto="https")
    assert "txgear_session" in liar.jar


def test_without_rules(start_server: Servers) -> None:
    port = free_port()
    start_server(f"--web=127.0.0.1:{port}")
    browser = Browser(port)
    page = browser.get("/")
    assert page.status == 200
    assert b"Sign" not in page.body
    assert browser.get("/sign-in?next=/jobs").headers["Location"] == "/jobs"


# How long it lasts


def test_over_a_restart(start_server: Servers, tmp_path: Path) -> None:
    """A session and the forms that are open go on, and what was signed out stays so."""
    house = House(start_server, tmp_path, store=f"sqlite:///{tmp_path}/jobs.sqlite")
    ann, bob = house.browser(), house.browser()
    ann.sign_in(house.ann)
    bob.sign_in(house.bob)
    form = ann.form_token("/")
    kept = dict(bob.cookies)
    bob.sign_out()
    assert house.server.stop() == 0
    house.start()
    assert ann.is_in()
    bob.cookies = kept
    assert not bob.is_in()
    assert ann.post("/sign-out", {"form_token": form}).headers["Location"] == "/sign-in?out=true"
    assert not ann.is_in()


def signed_out(path: Path) -> int:
    """How many sessions have ended by the store in that file."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT count(*) FROM txgear_marks WHERE kind = ?", (SIGNED_OUT,))
        return int(rows.fetchone()[0])


def test_a_kill(start_server: Servers, tmp_path: Path) -> None:
    """The key is in the store from the start on, and a sign-out in a moment."""
    path = tmp_path / "jobs.sqlite"
    house = House(start_server, tmp_path, store=f"sqlite:///{path}")
    ann, gone = house.browser(), house.browser()
    ann.sign_in(house.ann)
    gone.sign_in(house.ann)
    kept = dict(gone.cookies)
    assert signed_out(path) == 0
    gone.sign_out()
    wait_until(lambda: signed_out(path) == 1, PATIENCE, what="a sign-out in the store")
    house.server.kill()
    house.start()
    assert ann.is_in()
    gone.cookies = kept
    assert not gone.is_in()


def test_without_a_store(house: House) -> None:
    browser = house.browser()
    browser.sign_in(house.ann)
    assert house.server.stop() == 0
    house.start()
    assert not browser.is_in()
    assert browser.sign_in(house.ann).status == 303
    assert browser.is_in()


def test_tokens_that_change(house: House) -> None:
    browser = house.browser()
    browser.sign_in(house.ann)
    house.reload(ann=Secret.new(), bob=house.bob)
    wait_until(lambda: not browser.is_in(), what="the end of the session")
    browser.cookies.pop("txgear_session")
    browser.sign_in(house.bob)
    house.reload(robert=house.bob)
    assert b"robert" in browser.get("/").body


def follow(browser: Browser, port: int, path: str) -> WebPeer:
    """Keep a page open, or follow the events."""
    peer = WebPeer(port)
    said = {**browser.headers(), "Accept": "text/event-stream", "Sec-Fetch-Mode": "cors"}
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(f"{name}: {each}" for name, each in said.items())]
    peer.send("\r\n".join([*lines, "", ""]).encode())
    heard(peer, b"event: ")
    return peer


def heard(peer: WebPeer, what: bytes, seconds: float = PATIENCE) -> bytes:
    """What comes until this has come, or the connection ends."""
    peer.socket.settimeout(seconds)
    found = b""
    while what not in found and (more := peer.socket.recv(1 << 16)):
        found += more
    return found


def test_pages_that_are_open(house: House) -> None:
    """They end with their session; those of others go on."""
    ann, bob = house.browser(), house.browser()
    ann.sign_in(house.ann)
    bob.sign_in(house.bob)
    page, events = (follow(ann, house.port, path) for path in ("/", "/events"))
    others = follow(bob, house.port, "/")
    ann.sign_out()
    assert b"event: reload" in heard(page, b"event: reload", 3)
    assert b"reload" not in heard(events, b"no such event", 3), "its end"
    with pytest.raises(TimeoutError):
        heard(others, b"reload", 1)
    house.reload(ann=house.ann)
    # Its rights are told, or its connection ends, whichever comes first.
    heard(others, b"event: reload", 3)
    for peer in (page, events, others):
        peer.socket.close()


# Who guesses


def test_guesses(house: House) -> None:
    """As elsewhere: each is counted and recorded; after ten the server hangs up; a right one is taken."""
    browser = house.browser()
    token = browser.form_token("/sign-in")
    for _ in range(10):
        answer = browser.post(
            "/sign-in", {"form_token": token, "token": Secret.new().token if _ == 0 else "x"}
        )
        assert (answer.status, answer.headers["Connection"]) == (401, "close")
        assert b"This token is not known" in answer.body
    with pytest.raises(ConnectionError):
        browser.post("/sign-in", {"form_token": token, "token": "x"})
    assert browser.post("/sign-in", {"form_token": token, "token": house.ann.token}).status == 303
    lines = house.audited("login")
    assert [line["outcome"] for line in lines] == ["refused"] * 11 + ["done"]
    assert lines[-1]["identity"] == "ann"
    assert lines[-1]["token"] == house.ann.token[4:12]
    for text in (house.audit.read_text(), house.server.said().decode()):
        assert house.ann.token not in text
        assert house.ann.token[13:] not in text


def test_what_is_done_is_recorded(house: House) -> None:
    """With the id of its request."""
    browser = house.browser()
    signed_in = browser.sign_in(house.ann)
    signed_out = browser.sign_out()
    for act, answer in (("login", signed_in), ("logout", signed_out)):
        (line,) = house.audited(act)
        assert (line["identity"], line["outcome"]) == ("ann", "done")
        assert line["request"] == answer.headers["Request-Id"]
    assert house.audited("http") == [], "to be led to the sign-in is no refusal"


# Other web sites


def test_posts_of_other_sites(house: House) -> None:
    browser = house.browser()
    browser.sign_in(house.ann)
    token = browser.form_token("/")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{house.port}"},
        {"Origin": "http://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://localhost", "Sec_Fetch_Site": "cross-site"},
    ):
        answer = browser.post("/sign-out", {"form_token": token}, **headers)
        assert answer.status == 403, headers
        assert b"another web site" in answer.body
        assert b"ann" not in answer.body
    for fields in ({}, {"form_token": ""}, {"form_token": token + "x"}, {"form_token": "\N{SNOWMAN}"}):
        assert browser.post("/sign-out", fields).status == 403
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json", ""):
        answer = browser.ask("POST", "/sign-out", f"form_token={token}".encode(), Content_Type=kind)
        assert answer.status == 415
    assert browser.is_in()
    assert browser.post("/sign-out", {"form_token": token}).status == 303


def test_a_session_is_no_token(house: House) -> None:
    """It counts for what changes nothing; all else of the API wants a token."""
    browser = house.browser()
    browser.sign_in(house.ann)
    same = {"Origin": "http://localhost", "Content_Type": "application/json"}
    for path in ("/api/v1/functions", "/metrics", "/api/v1/openapi.json"):
        assert browser.get(path, Accept="*/*").status == 200
    for method, path in (
        ("POST", "/api/v1/functions/mail/pause"),
        ("POST", "/api/v1/functions/mail/purge"),
        ("POST", "/api/v1/jobs"),
        ("PATCH", "/api/v1/functions/mail"),
        ("DELETE", "/api/v1/jobs/H:x:1"),
        ("PUT", "/api/v1/jobs/H:x:1"),
    ):
        answer = browser.ask(method, path, b"{}", Accept="*/*", **same)
        assert (answer.status, answer.problem) == (401, "access_denied"), path
    assert (
        browser.get(
            "/api/v1/functions", Accept="*/*", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="cors"
        ).status
        == 401
    )


def test_sites_of_web_origin(start_server: Servers, tmp_path: Path) -> None:
    """They may use the API with a token, and see no pages."""
    port, site = free_port(), "https://board.example"
    house = House(start_server, tmp_path, f"--web=127.0.0.1:{port}", f"--web-origin={site}")
    browser = Browser(port)
    browser.sign_in(house.ann)
    token = browser.form_token("/")
    for path in ("/", "/sign-in", "/jobs"):
        answer = browser.get(path, Origin=site)
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert browser.post("/sign-out", {"form_token": token}, Origin=site).status == 403
    answer = browser.ask("OPTIONS", "/sign-out", Origin=site, Access_Control_Request_Method="POST")
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer = browser.get(
        "/api/v1/functions", Origin=site, Authorization=f"Bearer {house.ann.token}", Accept="*/*"
    )
    assert answer.headers["Access-Control-Allow-Origin"] == site
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_links_of_other_sites(house: House) -> None:
    """Browsers leave the cookie out of them: they are asked once more, as from here."""
    browser = house.browser()
    browser.sign_in(house.ann)
    without = house.browser()
    answer = without.get("/jobs?state=dead", Sec_Fetch_Site="cross-site")
    assert answer.status == 200
    assert "Set-Cookie" not in answer.headers
    assert b'content="0; url=/jobs?state=dead"' in answer.body
    assert browser.get("/jobs?state=dead").status == 200


# Hostile bytes


def test_where_one_is_led(house: House) -> None:
    """Nowhere but here."""
    for next in (
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "/\t/evil.example",
        "/\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/" + "x" * 5000,
        "",
    ):
        browser = house.browser()
        answer = browser.sign_in(house.ann, next)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
    browser = house.browser()
    for target in (
        "//evil.example/",
        "/\\evil.example",
        "/%0d%0aX:%20y",
        "/..//evil.example",
        "/%2F%2Fevil.example",
    ):
        led = browser.get(target)
        assert led.status in (303, 400)
        if led.status == 303:
            assert led.headers["Location"].startswith("/sign-in?next=/"), target
            assert "X" not in led.headers
            assert not led.headers["Location"].startswith("/sign-in?next=//")


def test_hostile_cookies(house: House) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nCookie: %b\r\n\r\n"
    for cookie in (
        b"txgear_session=" + b"x" * 8000,
        b"txgear_session=\xff\xfe\x80",
        b"txgear_session=\xe2\x98\x83",
        b"txgear_session=\x01\x1b[2J",
        b'txgear_session="\\377\\000"',
        b"=; ;;; a; txgear_session",
        b"; ".join(b"txgear_session=%d" % number for number in range(200)),
        b"\xff=\xff; txgear_visitor=\xff; txgear_note=\xff",
        b"txgear_note=" + b"!" * 5000,
    ):
        for path, status in ((b"/", 303), (b"/sign-in", 200)):
            with WebPeer(house.port) as peer:
                peer.send(request % (path, cookie))
                assert peer.answer().status == status, cookie[:60]


def test_hostile_forms(house: House) -> None:
    browser = house.browser()
    token = browser.form_token("/sign-in").encode()
    for body, status in (
        (b"&".join(b"a=1" for _ in range(1001)), 400),
        (b"token=%ff", 400),
        (b"token=\xff\xfe", 400),
        (b"form_token=%b&token=a&token=b" % token, 400),
        (b"form_token=%b&form_token=%b&token=a" % (token, token), 400),
        (b"token=" + b"x" * 20_000, 413),
        (b"%" * 5000, 403),
        (b"\0\0\0", 403),
        (b"=&=&=", 403),
    ):
        answer = browser.ask("POST", "/sign-in", body, Content_Type=FORM, Origin=browser.origin)
        assert answer.status == status, body[:60]
        assert b"<h1>" in answer.body
    assert browser.sign_in(house.ann).status == 303


def test_a_form_that_is_sent_by_half(house: House) -> None:
    """Nothing is done, and others are served."""
    head = f"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: 1000"
    halves = []
    for _ in range(50):
        half = WebPeer(house.port)
        half.send(head.encode() + b"\r\n\r\ntok")
        halves.append(half)
    assert house.browser().sign_in(house.ann).status == 303
    for half in halves:
        half.socket.shutdown(socket.SHUT_WR)
        half.socket.close()


# Problems


def test_a_server_that_is_open_and_has_no_rules(start_server: Servers, tmp_path: Path) -> None:
    port = free_port()
    house = House(start_server, tmp_path, f"--web=0.0.0.0:{port}")
    house.rules.write_text("")
    house.server.signal(signal.SIGHUP)
    browser = Browser(port)
    wait_until(lambda: b"This server has no access rules" in browser.get("/").body, what="its rules gone")
    answer = browser.get("/sign-in")
    assert answer.status == 403
    assert b"--config" in answer.body
    assert b"form_token" not in answer.body
    assert browser.get("/", Accept="application/json").problem == "no_access_rules"


def test_by_another_name(house: House) -> None:
    """What another site's page may read that has this server's address says nothing of it."""
    browser = house.browser()
    browser.sign_in(house.ann)
    for path in ("/", "/sign-in", "/nothing"):
        answer = browser.get(path, Host="evil.example")
        assert answer.status == 421
        assert b"--web-host" in answer.body
        # A time may look like a version.
        told = re.sub(rb'data-time="[^"]*"', b"", answer.body)
        for word in (b"ann", b"form_token", b"data-key", b"0.1"):
            assert word not in told, word
        assert "Set-Cookie" not in answer.headers


def test_programs_get_json(house: House) -> None:
    for path, status in (("/", 401), ("/nothing", 401), ("/sign-in", 200)):
        with WebPeer(house.port) as peer:
            answer = peer.ask("GET", path)
            assert answer.status == status
            if status != 200:
                assert answer.problem == "access_denied"
