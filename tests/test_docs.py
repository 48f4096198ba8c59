"""The documentation: its examples print what it says, and it names all there is to set or to ask."""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from operating import configured
from processes import Program, Programs, Server, Servers, run, twistd, wait_until
from txgear.broker.rights import ACTS, AUDIT, CORRECT, HTTP, METRICS, RELOAD
from txgear.daemon.config import parse_config
from txgear.policies import Policy
from txgear.protocol.packets import PACKETS, PRIVATE_PACKETS, Decoder
from txgear.runtime.reading import parse_runtime
from txgear.server import textcommands
from txgear.server.gear import GearProtocol
from wirepeer import P

DOCS: Final = Path(__file__).parent.parent / "docs"
RUNTIME: Final = DOCS / "runtime"

#: What the file of a runtime must have at the least.
GROUP: Final = '\n[group.shop]\nmodules = ["shop"]\n'

#: Where the pages say that the server, and its configuration, are.
PORT: Final = "4730"
CONFIG: Final = "/etc/txgear.toml"

#: Seconds for one example; each takes two or three.
RUNNING: Final = 30.0

pytestmark = pytest.mark.txgear_only


class Block(NamedTuple):
    """A block of code of a page."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(*block) for block in found]


def configurations(page: Path) -> list[str]:
    """
    What a page would have the operator write down for a server; another project's file is not that, nor is
    that of a runtime.
    """
    return [
        text
        for language, text in blocks(page)
        if language == "toml"
        and not text.startswith("[build-system]")
        and page.parent != RUNTIME
        and "[group." not in text
    ]


def configuration(page: Path) -> str:
    """All of it, as one file."""
    return "\n".join(configurations(page))


def examples(page: Path) -> list[tuple[str, str]]:
    """The whole scripts of a page, each with what stands in the block after it."""
    following = zip(blocks(page), blocks(page)[1:], strict=False)
    return [
        (script.text, printed.text)
        for script, printed in following
        if (script.language, printed.language) == ("python", "text") and "__main__" in script.text
    ]


def pages() -> list[Path]:
    """All pages in Markdown."""
    return sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)


WITH_GROUPS: Final = [page for page in pages() if page.parent == RUNTIME or "\n[group." in page.read_text()]
CONFIGURED: Final = [page for page in pages() if configuration(page)]
WITH_EXAMPLES: Final = [page for page in CONFIGURED if examples(page)]


def name(page: Path) -> str:
    return str(page.relative_to(DOCS).with_suffix(""))


def test_each_policy_and_recipe_has_an_example() -> None:
    policies = {name(page) for page in (DOCS / "policies").glob("*.md")} - {"policies/index"}
    recipes = {f"howto/{page}" for page in ("mail", "nightly", "rate-limited-api", "results-later")}
    assert {name(page) for page in WITH_EXAMPLES} >= policies | recipes


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name)
def test_example(page: Path, start_server: Servers, tmp_path: Path) -> None:
    """The scripts of a page, at a server with the configuration of the page, print what the page says."""
    options = configured(tmp_path, configuration(page))
    server = start_server(*options, store=f"sqlite:///{tmp_path}/jobs.sqlite")
    for script, printed in examples(page):
        text = script.replace(PORT, str(server.port)).replace(CONFIG, options[-1])
        path = tmp_path / "example.py"
        path.write_text(text)
        done = run([sys.executable, path], timeout=RUNNING)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.decode() == printed, done.stderr.decode()


@pytest.mark.parametrize("page", CONFIGURED, ids=name)
def test_configuration(page: Path) -> None:
    """What a page would have written down is right, each block by itself and all together."""
    for text in configurations(page):
        config = parse_config(text, name(page))
        # The table of the ceiling shows what holds without it.
        assert (
            config.policies.rules
            or config.schedules
            or not config.access.is_empty
            or text.startswith("[ceiling]")
        )
    parse_config(configuration(page), name(page))


@pytest.mark.parametrize("page", WITH_GROUPS, ids=name)
def test_configuration_of_a_runtime(page: Path) -> None:
    """What a page would have written down is right; some of it is for all groups, and names none."""
    for language, text in blocks(page):
        if language == "toml" and (page.parent == RUNTIME or "[group." in text):
            parse_runtime(text if "[group." in text else text + GROUP, name(page))


def test_all_settings_are_described() -> None:
    policies = "\n".join(page.read_text() for page in (DOCS / "policies").glob("*.md"))
    missing = [item.name for item in fields(Policy) if f"`{item.name}`" not in policies]
    assert not missing
    for setting in (item.name for item in fields(Policy)):
        assert re.search(rf"^{setting} = ", policies, re.MULTILINE), f"no configuration has {setting}"


def test_all_commands_are_described() -> None:
    page = (DOCS / "commands.md").read_text()
    words = [command.decode() for command in textcommands.OWN_COMMANDS]
    missing = [word for word in words if not re.search(rf"`{word}[ `]", page)]
    assert not missing


# The protocol's page

PROTOCOL: Final = DOCS / "protocol.md"


def rights() -> list[tuple[str, str]]:
    """The requests of each row of the table of rights, and what they take."""
    section = PROTOCOL.read_text().partition("\n## Rights\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE)[1:]


def test_each_request_takes_a_right_or_none() -> None:
    """The table has every packet that a peer may send, and every text command: a new one is decided on."""
    requests = " ".join(column for column, _ in rights())
    names = {kind: name for kind, (name, *_) in (PACKETS | PRIVATE_PACKETS).items()}
    asked = [names[kind] for kind in GearProtocol.requests if kind in names]
    assert sorted(re.findall(r"\b[A-Z][A-Z_]+\b", re.sub("`.*?`", "", requests))) == sorted(asked)
    commands = {line.partition(" ")[0].encode() for line in re.findall("`(.*?)`", requests)}
    assert commands == {*textcommands.COMMANDS, *textcommands.OWN_COMMANDS}
    words = set(re.findall("`(.*?)`", " ".join(needed for _, needed in rights())))
    # These are of ports that speak HTTP.
    assert words >= ACTS - {AUDIT, CORRECT, HTTP, METRICS, RELOAD}


class Shown(NamedTuple):
    """A packet as the page shows it."""

    direction: str
    title: str
    data: bytes
    text: str


def shown() -> list[Shown]:
    """The packets of the page: a line that names them, then their bytes and what these are as text."""
    found = []
    for block in blocks(PROTOCOL):
        for head, _, rows in re.findall(
            r"^(\w+ (?:->|<-) [\w ]+)\n(((?:    .*\n)+))", block.text, re.MULTILINE
        ):
            lines = [line[4:] for line in rows.splitlines()]
            data = bytes.fromhex("".join(line[:47] for line in lines))
            direction, title = re.split(r"(?<=[>-]) ", head, maxsplit=1)
            found.append(Shown(direction, title, data, "".join(line[47:].strip(" ") for line in lines)))
    return found


def test_bytes_and_their_text_are_the_same() -> None:
    packets = shown()
    assert len(packets) > 20
    for packet in packets:
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in packet.data)
        assert packet.text.replace(" ", "") == text.replace(" ", "")


def test_packets_are_what_they_are_called() -> None:
    names = {kind: shape[0] for kind, shape in {**PACKETS, **PRIVATE_PACKETS}.items()}
    seen = set()
    for packet in shown():
        decoder = Decoder(b"\0RES" if packet.direction.endswith("<-") else b"\0REQ")
        decoder.extended = True
        if packet.title != "text":
            ((kind, _),) = decoder.feed(packet.data)
            assert names[kind] == packet.title
            seen.add(kind)
    assert seen >= set(PRIVATE_PACKETS), "each packet of txgear's own has an example"


def test_packets_of_our_own_are_listed() -> None:
    """The table has each with its type, in both ways to write a number, and its arguments."""
    rows = re.findall(
        r"^\| (\d+) \| `([0-9a-f ]+)` \| (\w+) \| [^|]* \| ([^|]*) \| ([^|]*) \|",
        PROTOCOL.read_text(),
        re.MULTILINE,
    )
    listed = {
        int(number): (
            title,
            len([word for word in arguments.split(",") if word.strip()]),
            data.strip().isascii(),
        )
        for number, _, title, arguments, data in rows
    }
    assert listed == PRIVATE_PACKETS
    assert all(bytes.fromhex(octets) == int(number).to_bytes(4, "big") for number, octets, *_ in rows)


# Pages whose code is no whole script


def python(page: Path) -> list[str]:
    return [text for language, text in blocks(page) if language == "python"]


@pytest.mark.parametrize("page", [page for page in pages() if python(page)], ids=name)
def test_code_is_python(page: Path) -> None:
    for text in python(page):
        compile(text, name(page), "exec")


def test_tests_for_users_pass(tmp_path: Path) -> None:
    """The page about testing has tests of its own, each block going on where the last one ended."""
    path = tmp_path / "test_page.py"
    path.write_text("\n".join(python(DOCS / "howto" / "testing.md")))
    done = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path], cwd=tmp_path)
    assert done.returncode == 0, done.stdout.decode()


def tac(page: str, port: int, folder: Path) -> Path:
    """The .tac file of a page, for a server at this port."""
    (text,) = [text for text in python(DOCS / "howto" / page) if "application = Application(" in text]
    path = folder / "example.tac"
    servers = '["gear1.example", "gear2.example"]'
    assert servers in text
    path.write_text(text.replace(servers, f'"127.0.0.1:{port}"'))
    return path


def end(program: Program) -> None:
    """As a service manager would; twistd ends by the signal itself then."""
    program.signal(signal.SIGTERM)
    assert program.wait() == -signal.SIGTERM, program.log()
    assert b"Traceback" not in program.stdout + program.stderr
    assert b"Unhandled" not in program.stdout + program.stderr


def test_worker_tac(server: Server, programs: Programs, tmp_path: Path) -> None:
    """The worker's file is one that twistd runs, and stops."""
    path = tac("worker.md", server.port, tmp_path)
    program = programs.start([*twistd(), "-n", "--pidfile=", "-y", path])
    server.wait_for_workers("reverse")
    peer = server.connect()
    handle = peer.submit(b"reverse", b"abc")
    peer.expect(P.WORK_COMPLETE, handle, b"cba")
    end(program)
    wait_until(lambda: server.unused("reverse"), what="the worker's end")


def test_client_tac(server: Server, programs: Programs, tmp_path: Path) -> None:
    """The client's file is one, too: with something to do."""
    path = tac("client.md", server.port, tmp_path)
    with path.open("a") as file:
        file.write('reactor.callWhenRunning(client.submit_background, "from_tac")\n')
    program = programs.start([*twistd(), "-n", "--pidfile=", "-y", path])
    server.wait_for_total("from_tac", 1)
    end(program)
