"""What the tests of `txgear gearman` and `txgear gearadmin` share: the C tools and ours, side by side."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import trustme

from needs import requires
from processes import Program, Server, Servers, free_port, run, txgear

Done = subprocess.CompletedProcess[bytes]

#: What differs from run to run by nature, by rule: process ids in errors, handles, generated uniques.
NATURES = {
    "pid": (re.compile(rb"pid\(\d+\)"), b"pid(PID)"),
    "handle": (re.compile(rb"H:[-.\w]+:\d+"), b"HANDLE"),
    "unique": (re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), b"UNIQUE"),
}

_numbers = itertools.count(1)


class Tool:
    """One of the two programs of a name: the C one, or ours."""

    def __init__(self, program: str, ours: bool) -> None:
        self.ours = ours
        # By its name alone, as it calls itself what it is called.
        self.command = [*txgear(), program] if ours else [program]

    def __call__(self, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
        """Run it to its end."""
        return run([*self.command, *words], stdin=stdin, env=env)


def both(program: str) -> tuple[Tool, Tool]:
    """The C tool and ours."""
    requires(program)
    return Tool(program, False), Tool(program, True)


def normal(said: bytes, names: Mapping[str, str], seen: Counter[str] | None = None) -> bytes:
    """What was said, without what differs by nature; how much of that there was is counted."""
    for what, (pattern, instead) in NATURES.items():
        said, count = pattern.subn(instead, said)
        if seen is not None:
            seen[what] += count
    for word, name in names.items():
        said = said.replace(name.encode(), word.encode())
    return said


def reference(directory: Path) -> Server:
    """A real gearmand."""
    port = free_port()
    options = ["-p", str(port), "-L", "127.0.0.1", "-l", "stderr", "-P", str(directory / "gearmand.pid")]
    return Server(directory, port=port, command=[requires("gearmand"), *options])


def fresh_names() -> dict[str, str]:
    """Functions that no other run has used, of the same length in all."""
    number = next(_numbers)
    return {"{f}": f"function-f-{number:05}", "{g}": f"function-g-{number:05}"}


def filled(words: Sequence[str], names: Mapping[str, str], **more: str) -> list[str]:
    """Words of a command line with the names in them."""
    made = []
    for word in words:
        for place, name in {**names, **{f"{{{key}}}": value for key, value in more.items()}}.items():
            word = word.replace(place, name)
        made.append(word)
    return made


def ended(program: Program) -> tuple[int, bytes, bytes]:
    """How a program in the background ended, and what it said."""
    return program.wait(), program.stdout, program.stderr


def tls_files(folder: Path) -> dict[str, str]:
    """Make certificates of a server and a client; the environment that names the client's files."""
    authority, other = trustme.CA(), trustme.CA()
    for name, whose in (("server", "localhost"), ("client", "me")):
        issued = authority.issue_cert(whose)
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    return {
        "GEARMAND_CA_CERTIFICATE": f"{folder}/ca.pem",
        "GEARMAN_CLIENT_PEM": f"{folder}/client.pem",
        "GEARMAN_CLIENT_KEY": f"{folder}/client.key",
    }


def with_tls(start_server: Servers, folder: Path) -> tuple[int, dict[str, str]]:
    """A server that demands certificates: its port of TLS, and a client's environment."""
    env = tls_files(folder)
    port = free_port()
    start_server(
        *("--listen=127.0.0.1", f"--tls-listen=127.0.0.1:{port}", "--tls-client=require"),
        *(f"--tls-ca={folder}/ca.pem", f"--tls-cert={folder}/server.pem", f"--tls-key={folder}/server.key"),
    )
    return port, env
