"""Access rules: a table of identities by acts by functions. Each cell is tried on every way to a real server,
and again on the same connections after a reload that turns each of them round."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

import pytest
import trustme

from processes import PATIENCE, Servers, free_port, wait_until
from txgear.broker.rights import ACTS, SERVER_ACTS, SHUTDOWN
from txgear.protocol.constants import EXTENSION_OPTION, GET_RESULT, LOGGED_IN, LOGIN
from txgear.security.tokens import Token, new_token
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

IDENTITIES: Final = ("web", "team-a", "team-b", "nobody")
FUNCTIONS: Final = ("mail", "mail.send", "Mail.send")
"""The first begins like the second, and the third differs in a capital only."""
FUNCTION_ACTS: Final = tuple(sorted(ACTS - SERVER_ACTS))
OWN_ACTS: Final = tuple(sorted(SERVER_ACTS))

UNKNOWN_JOB: Final = b"ERR UNKNOWN_JOB\r\n"


class Table:
    """
    What is allowed to whom. The rules say it in different ways: each identity has its own.

    @ivar turned: whether each cell is the opposite of what it was at first.
    """

    def __init__(self, turned: bool) -> None:
        self.turned = turned

    def may(self, identity: str, act: str, function: str = "") -> bool:
        """A cell: half of them are allowed, without any order."""
        return crc32(f"{identity} {act} {function}".encode()) % 2 == self.turned

    def acts(self, identity: str, function: str, allowed: bool) -> list[str]:
        return [act for act in FUNCTION_ACTS if self.may(identity, act, function) == allowed]

    def rules(self) -> Iterator[str]:
        """The tables of the file."""
        yield rule("admin", "allow", ["all"])
        for identity in IDENTITIES:
            yield rule(identity, "allow", [act for act in OWN_ACTS if self.may(identity, act)])
            if identity.startswith("team"):
                # Too much is allowed by a pattern, before or behind the rule that denies a part of it.
                wide = rule("team-*" if identity == "team-a" else identity, "allow", ["all"], "*")
                narrow = [
                    rule(identity, "deny", self.acts(identity, function, False), function)
                    for function in FUNCTIONS
                ]
                yield from [wide, *narrow] if identity == "team-a" else [*narrow, wide]
            else:
                for function in FUNCTIONS:
                    yield rule(identity, "allow", self.acts(identity, function, True), function)


def rule(identity: str, word: str, acts: list[str], function: str = "") -> str:
    functions = f"functions = {json.dumps([function])}\n" if function else ""
    return f"[[access]]\nidentities = {json.dumps([identity])}\n{word} = {json.dumps(acts)}\n{functions}"


class Way:
    """
    One identity's connections to a server, for both protocols, with TLS or without.

    @ivar peer: that on the Gearman port.
    """

    def __init__(
        self,
        identity: str,
        token: str,
        port: int,
        web_port: int,
        api_port: int,
        context: ssl.SSLContext | None,
    ) -> None:
        """
        @param web_port: that of gearmand's HTTP, and C{api_port} that of the web.
        """
        self.identity = identity
        self._api_port = api_port
        self.peer = WirePeer(port, timeout=PATIENCE, tls=context)
        self._headers = {"X-Gearman-Background": "true", "X-Gearman-Unique": ""}
        if context is None:
            self._web = http.client.HTTPConnection("127.0.0.1", web_port, timeout=PATIENCE)
        else:
            self._web = http.client.HTTPSConnection("localhost", web_port, timeout=PATIENCE, context=context)
        self.peer.send(P.OPTION_REQ, EXTENSION_OPTION)
        self.peer.expect(P.OPTION_RES, EXTENSION_OPTION)
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
            self.peer.send(LOGIN, token.encode("ascii"))
            self.peer.expect(LOGGED_IN, identity.encode("ascii"))

    def close(self) -> None:
        self.peer.close()
        self._web.close()

    # One request each

    def answer(self, line: str) -> list[bytes]:
        """The lines of the answer to a text command."""
        rows = [self.peer.ask(line)]
        while not rows[0].startswith((b"ERR ", b"OK")) and rows[-1] != b".\n":
            rows.append(self.peer.read_until(b"\n"))
        return rows

    def denied(self, line: str) -> bool:
        """Whether a text command is refused; otherwise it may be that there is nothing to do just now."""
        (answer,) = self.answer(line)
        return answer.startswith(b"ERR ACCESS_DENIED Not+allowed:+")

    def submits(self, function: str, unique: bytes = b"") -> bytes | None:
        """The handle of a job; nothing if it is refused."""
        self.peer.send(P.SUBMIT_JOB_BG, function.encode(), unique, b"")
        got = self.peer.read()
        if got.type == P.JOB_CREATED:
            return got.body
        assert got.type == P.ERROR
        assert got.args[0] == b"ACCESS_DENIED"
        return None

    def works(self, function: str) -> bool:
        self.peer.send(P.CAN_DO, function.encode())
        refusals = [got.body for got in self.peer.sync()]
        assert refusals in ([], [b"ACCESS_DENIED\0Not allowed: work " + function.encode()])
        return not refusals

    def outcome(self, handle: bytes) -> bytes:
        """What GET_RESULT says of a job that is queued."""
        self.peer.send(GET_RESULT, b"token", handle, b"", b"", b"0")
        return self.peer.read().args[2]

    def asked(self, method: str, function: str) -> int:
        """The status of an answer of HTTP."""
        self._web.request(method, f"/{function}", headers=self._headers)
        response = self._web.getresponse()
        response.read()
        return response.status

    def corrected(self, handle: str) -> int:
        """The status of an answer of the web, where a job is given another workload."""
        return self.status("PUT", f"/api/v1/jobs/{handle}/workload", b"new")

    def status(self, method: str, path: str, body: bytes | None = None) -> int:
        """The status of an answer of the web."""
        web = http.client.HTTPConnection("127.0.0.1", self._api_port, timeout=PATIENCE)
        headers = {name: value for name, value in self._headers.items() if name == "Authorization"}
        web.request(method, path, body, headers)
        response = web.getresponse()
        response.read()
        web.close()
        return response.status

    def places(self) -> list[int]:
        """Our ends of both connections: others have other ports."""
        assert self._web.sock is not None
        return [self.peer.local_port, int(self._web.sock.getsockname()[1])]

    # All of them

    def check(self, table: Table, function: str, handle: bytes, unique: bytes) -> None:
        """
        Each cell of this identity and function, on all ways.

        @param handle: a job of somebody else, which is queued; C{unique} is its unique.
        """

        def may(act: str, name: str = function) -> bool:
            return table.may(self.identity, act, name)

        where = table.turned, self.identity, function
        # Binary.
        known = b"1" if may("see") else b"0"
        assert self.peer.status_of(handle)[0] == known, where
        assert self.peer.status_of(b"127.0.0.1:4730//" + handle)[0] == known, where
        self.peer.send(P.GET_STATUS_UNIQUE, unique)
        assert self.peer.expect(P.STATUS_RES_UNIQUE).args[:2] == [unique, known], where
        outcome = b"pending" if may("read") else b"refused"
        assert self.outcome(handle) == (outcome if may("see") else b"unknown"), where
        assert (self.submits(function) is not None) == may("submit"), where
        assert self.submits(function, unique) == (handle if may("submit") and may("see") else None), where
        assert self.works(function) == may("work"), where
        # HTTP.
        http_status = {"GET": 202 if may("submit") else 403, "HEAD": 200 if may("see") else 404}
        for method, status in http_status.items():
            assert self.asked(method, function) == (status if may("http", "") else 403), (where, method)
        # Text, first what names a job.
        names = [row.partition(b"\t")[0] for row in self.answer("status")]
        assert (function.encode() in names) == may("see"), where
        text = handle.decode()
        assert (self.answer(f"job {text}") == [UNKNOWN_JOB]) != may("see"), where
        for command, act in (
            (f"workload {text}", "read"),
            (f"requeue job {text}", "requeue"),
            (f"forget job {text}", "forget"),
            (f"prioritise job {text} high", "prioritise"),
            (f"move job {text} {function}", "move"),
            (f"review job {text} r", "review"),
            (f"cancel job {text}", "cancel"),
        ):
            if act == "cancel":
                refusal = 401 if self.identity == "nobody" else 403
                status = 404 if not may("see") else 200 if may("correct") else refusal
                assert self.corrected(text) == (status if may("http", "") else refusal), where
            first = self.answer(command)[0]
            refused = first.startswith(b"ERR ACCESS_DENIED")
            expected = (False, True) if not may("see") else (not may(act), False)
            assert (refused, first == UNKNOWN_JOB) == expected, (where, command)
        # Then what names a function; it has other jobs still.
        for command, act in (
            ("pause", "pause"),
            ("resume", "resume"),
            ("create function", "create"),
            ("maxqueue", "maxqueue"),
            ("requeue function", "requeue"),
            ("forget dead", "forget"),
            ("purge", "purge"),
        ):
            assert self.denied(f"{command} {function}") != may(act), (where, command)
        # This one tells nothing of functions that may not be seen, and spares them.
        alike = [name for name in FUNCTIONS if name.lower() == function.lower()]
        spared = [name for name in alike if may("see", name) and not may("drop", name)]
        assert self.denied(f"drop function {function}") == (not may("drop") or bool(spared)), where

    def check_own(self, table: Table, worker: str) -> None:
        """
        Each cell of this identity that is for no function.

        @param worker: the number of a worker that is somebody else's.
        """
        assert self.denied("getpid") != table.may(self.identity, "settings")
        workers = b"".join(self.answer("workers"))
        assert (b" the-admin :" in workers) == table.may(self.identity, "peers")
        told = self.answer(f"worker {worker} pause")[0].split(b" ")[1]
        may = b"NOT_STEERABLE" if table.may(self.identity, "manage") else b"ACCESS_DENIED"
        assert told == (may if table.may(self.identity, "peers") else b"UNKNOWN_WORKER")
        refusal = 401 if self.identity == "nobody" else 403
        may_reload = table.may(self.identity, "reload") and table.may(self.identity, "http")
        assert self.status("POST", "/api/v1/server/reload") == (200 if may_reload else refusal)
        if not table.may(self.identity, SHUTDOWN):
            # Of those who may, only one can.
            assert self.denied("shutdown")


def test_each_cell(start_server: Servers, tmp_path: Path) -> None:
    tokens = {name: new_token() for name in ("admin", *IDENTITIES[:-1])}
    config = tmp_path / "txgear.toml"

    def write(table: Table) -> None:
        known = [
            f'[[identity]]\nname = "{name}"\ntokens = ["{Token.of(token.encode())}"]\n'
            for name, token in tokens.items()
        ]
        config.write_text("".join([*known, *table.rules()]))

    before, after = Table(False), Table(True)
    write(before)
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls_port, web_port, web_tls_port, api_port = (free_port() for _ in range(4))
    server = start_server(
        *("--config", str(config), "--protocol", "http", "--http-port", str(web_port), "--allow-shutdown"),
        *(
            "--listen",
            "127.0.0.1",
            "--tls-listen",
            f"127.0.0.1:{tls_port}",
            "--http-tls-port",
            str(web_tls_port),
        ),
        *("--web", f"tcp:{api_port}:interface=127.0.0.1"),
        *("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")),
    )
    admin = Way("admin", tokens["admin"], server.port, web_port, api_port, None)
    admin.peer.send(P.SET_CLIENT_ID, b"the-admin")
    admin.peer.send(P.CAN_DO, b"admins")
    worker = admin.answer("connections worker=the-admin")[0].split(b"\t")[0].decode()
    ways = [
        Way(identity, tokens.get(identity, ""), *ports, api_port, secure)
        for identity in IDENTITIES
        for ports, secure in (((server.port, web_port), None), ((tls_port, web_tls_port), context))
    ]

    def check(table: Table) -> list[list[int]]:
        number = 0
        for way in ways:
            way.check_own(table, worker)
            for function in FUNCTIONS:
                number += 1
                assert admin.answer(f"create function {function}") == [b"OK\r\n"]
                unique = b"%d-%d" % (table.turned, number)
                handle, other = admin.submits(function, unique), admin.submits(function)
                assert handle is not None
                assert other is not None
                way.check(table, function, handle, unique)
        return [way.places() for way in ways]

    def workers() -> list[int]:
        rows = [row.split(b"\t") for row in admin.answer("status")[:-1]]
        return [int(row[3]) for row in rows if row[0] != b"admins"]

    places = check(before)
    assert sum(workers()) == sum(
        before.may(way.identity, "work", function) for way in ways for function in FUNCTIONS
    )
    write(after)
    server.signal(signal.SIGHUP)
    # Who works for what it may not any more is found soon after; all else holds at once.
    wait_until(lambda: not any(workers()), what="workers that have lost their functions")
    assert check(after) == places
    last = next(way for way in ways if after.may(way.identity, SHUTDOWN))
    assert last.answer("shutdown") == [b"OK\r\n"]
    for way in (admin, *ways):
        way.close()
    assert server.wait() == 0
