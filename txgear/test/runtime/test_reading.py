"""
Tests for L{txgear.runtime.reading}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.tables import ConfigMistakes
from txgear.errors import ConfigurationError
from txgear.runtime.config import FunctionTable, GroupTable, RuntimeTable
from txgear.runtime.reading import parse_runtime, read_runtime

WHOLE = """\
servers = ["127.0.0.1:4730", "tls:gear.example.com:4730"]
token_file = "secrets/token"
ca_file = "/etc/ssl/ca.pem"
name = "shop"
modules = ["shop.jobs"]
hooks = ["shop.sentry"]
path = [".", "/srv/lib"]
log = "json"
stop_timeout = "2m"

[group.images]
min = 1
max = 8
concurrency = 2
soft_memory = "200M"
hard_memory = "1 GiB"
soft_time = "90 s"
hard_time = 120
max_jobs = 1000
max_age = "1h"
environment = {MAGICK_THREAD_LIMIT = "1"}

[group.mail]
modules = ["mails.*"]
hooks = ["mails.hooks"]
functions = ["mail_*"]

[group.mail.function."send mail"]
url = "http://127.0.0.1:8080/mail"
headers = {Authorization = "Bearer x"}
retry_later = "5m"
timeout = "30s"

[group.mail.function.convert]
command = ["convert", "-", "png:-"]
"""


class ReadingTests(SynchronousTestCase):
    def test_whole(self) -> None:
        found = parse_runtime(WHOLE, "/srv/shop/workers.toml")
        images = GroupTable(
            modules=("shop.jobs",),
            hooks=("shop.sentry",),
            min=1,
            max=8,
            concurrency=2,
            soft_memory=200 << 20,
            hard_memory=1 << 30,
            soft_time=90.0,
            hard_time=120.0,
            max_jobs=1000,
            max_age=3600.0,
            environment={"MAGICK_THREAD_LIMIT": "1"},
        )
        url = FunctionTable(
            url="http://127.0.0.1:8080/mail",
            headers={"Authorization": "Bearer x"},
            retry_later=300.0,
            timeout=30.0,
        )
        mail = GroupTable(
            modules=("mails.*",),
            hooks=("mails.hooks",),
            functions=("mail_*",),
            processes=1,
            function={"send mail": url, "convert": FunctionTable(command=("convert", "-", "png:-"))},
        )
        self.assertEqual(
            found,
            RuntimeTable(
                servers=("127.0.0.1:4730", "tls:gear.example.com:4730"),
                token_file="/srv/shop/secrets/token",
                ca_file="/etc/ssl/ca.pem",
                name="shop",
                modules=("shop.jobs",),
                hooks=("shop.sentry",),
                path=("/srv/shop", "/srv/lib"),
                log="json",
                stop_timeout=120.0,
                group={"images": images, "mail": mail},
            ),
        )

    def test_how_many(self) -> None:
        """Without a word there is one process; C{max} alone begins with one."""
        for said, counts in (
            ("", (1, None, None)),
            ("processes = 0", (0, None, None)),
            ("processes = 7", (7, None, None)),
            ("max = 4", (None, 1, 4)),
            ("min = 0\nmax = 4", (None, 0, 4)),
            ("min = 4\nmax = 4", (None, 4, 4)),
        ):
            group = parse_runtime(f"[group.a]\nmodules = ['m']\n{said}\n", "f").group["a"]
            self.assertEqual((group.processes, group.min, group.max), counts)

    def test_what_a_group_has_of_the_whole(self) -> None:
        """It says nothing, something else, or none."""
        text = "modules = ['m']\nhooks = ['h']\n[group.a]\n{}\n[group.a.function.f]\ncommand = ['ls']\n"
        for said, found in (
            ("", (("m",), ("h",))),
            ("modules = ['o']\nhooks = ['i']", (("o",), ("i",))),
            ("modules = []\nhooks = []", ((), ())),
        ):
            group = parse_runtime(text.format(said), "f").group["a"]
            self.assertEqual((group.modules, group.hooks), found)

    def test_a_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text("modules = ['m']\n[group.a]\n")
        self.assertEqual(read_runtime(str(path)).path, (str(path.resolve().parent),))
        path.write_text("[group.a\n")
        error = self.assertRaises(ConfigurationError, read_runtime, str(path))
        self.assertIn(f"{path}, line 1: ", str(error))
        error = self.assertRaises(ConfigurationError, read_runtime, "/nowhere/x")
        self.assertEqual(str(error), "cannot read /nowhere/x: No such file or directory")


class MistakesTests(SynchronousTestCase):
    def test_what_no_program_takes(self) -> None:
        """A NUL is nowhere in a text, and variables have names."""
        nul = "it holds a NUL, which nothing here may"
        for said in ("path = ['a\\u0000']", "token_file = '''a\\u0000'''".replace("'''", '"')):
            said = said.replace("'", '"')
            [line] = self.mistakes(f"{said}\nmodules = ['m']\n[group.g]\n")
            self.assertTrue(line.endswith(nul), line)
        for said in ('environment = {A = "\\u0000"}', 'environment = {"\\u0000" = "a"}'):
            self.assertEqual([f"environment: {nul}"], self.in_group(said))
        self.assertEqual([f"command: {nul}"], self.in_function('command = ["a", "\\u0000"]'))
        for name in ("", "A=B"):
            self.assertEqual(
                ["environment: a variable needs a name, which has no ="],
                self.in_group(f'environment = {{"{name}" = "a"}}'),
            )

    def mistakes(self, text: str) -> list[str]:
        error: ConfigMistakes = self.assertRaises(ConfigMistakes, parse_runtime, text, "f")
        return error.lines

    def in_group(self, text: str) -> list[str]:
        """The mistakes of a table, without where they are."""
        lines = self.mistakes(f"modules = ['m']\n[group.g]\n{text}\n")
        return [line.partition(": group.g")[2].removeprefix(".") for line in lines]

    def in_function(self, text: str, name: str = "x") -> list[str]:
        lines = self.mistakes(f"modules = ['m']\n[group.g.function.{name}]\n{text}\n")
        return [line.partition(f": group.g.function.{name}")[2].removeprefix(".") for line in lines]

    def test_all_of_them_in_the_order_of_the_file(self) -> None:
        self.assertEqual(
            self.mistakes(
                "[group.a]\nmodules = ['m']\nmax_job = 3\nsoft_time = 'soon'\n[group.b]\nprocesses = '3'\n"
            ),
            [
                "f, line 3: group.a.max_job: there is no such setting; there is max_jobs",
                "f, line 4: group.a.soft_time: a time is wanted, such as 90, '90s', '1.5h' or '30d', up to"
                " ten years, not 'soon'",
                "f, line 6: group.b.processes: expected whole number, got string",
            ],
        )

    def test_unknown_settings(self) -> None:
        self.assertEqual(
            self.mistakes("server = 'x'\nmodules = ['m']\n[group.a]\n"),
            ["f, line 1: server: there is no such setting; there is servers"],
        )
        (line,) = self.in_function("zzz = 1\ncommand = ['ls']")
        self.assertEqual(
            line,
            "zzz: there is no such setting; there are command, url, headers, retry_later and timeout",
        )

    def test_a_place_for_questions(self) -> None:
        """What cannot be listened at is seen before anything is started; a path is of the file's folder."""
        for place, told in (
            ("9000", "cannot listen on 9000: a host is wanted as well, as 0.0.0.0:9000"),
            ("127.0.0.1", "HOST:PORT is wanted, or the path of a socket, not '127.0.0.1'"),
        ):
            lines = self.mistakes(f"modules = ['m']\nhealth = '{place}'\n[group.a]\n")
            self.assertEqual(lines, [f"f, line 2: health: {told}"])
        for place, found in (
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("run/health", "/srv/shop/run/health"),
            ("/run/health", "/run/health"),
        ):
            text = f"modules = ['m']\nhealth = '{place}'\n[group.a]\n"
            self.assertEqual(parse_runtime(text, "/srv/shop/workers.toml").health, found)

    def test_no_group(self) -> None:
        for text in ("", "[group]\n"):
            self.assertEqual(
                self.mistakes(f"modules = ['m']\n{text}"),
                [f"f, line {1}: [group.NAME] is missing: at least one is wanted"],
            )

    def test_no_table(self) -> None:
        self.assertEqual(self.mistakes("group = 3"), ["f, line 1: group: tables [group.NAME] are wanted"])
        self.assertEqual(self.mistakes("[group]\na = 3"), ["f, line 2: group.a: a table is wanted, not 3"])

    def test_values(self) -> None:
        for said, told in (
            ("concurrency = 0", "concurrency: expected whole number >= 1"),
            ("concurrency = 1001", "concurrency: expected whole number <= 1000"),
            ("concurrency = true", "concurrency: expected whole number, got true or false"),
            ("max = -1", "max: expected whole number >= 0"),
            ("splay = 1.5", "splay: expected number <= 1.0"),
            ("nice = 20", "nice: expected whole number <= 19"),
            ("start = 'thread'", "start: spawn or fork is wanted, not 'thread'"),
            ("modules = 'm'", "modules: expected array, got string"),
            ("environment = {A = 1}", "environment: expected string, got whole number"),
            ("hard_time = 0", "hard_time: expected number > 0.0"),
            (
                "hard_memory = '200 MB'",
                "hard_memory: bytes are wanted, such as 65536, '64K' or '1G', not '200 MB'",
            ),
        ):
            self.assertEqual(self.in_group(said), [told])

    def test_what_does_not_go_together(self) -> None:
        both = "processes: there are min and max as well, and only one of these ways can count"
        for said, told in (
            ("processes = 1\nmax = 2", both),
            ("processes = 1\nmin = 1\nmax = 2", both),
            ("min = 1", "min: max is missing"),
            ("min = 3\nmax = 2", "max: it is less than min, or 0"),
            ("max = 0", "max: it is less than min, or 0"),
            ("soft_time = 5\nhard_time = 5", "soft_time: it is not less than hard_time"),
            ("soft_memory = '2G'\nhard_memory = '1G'", "soft_memory: it is not less than hard_memory"),
        ):
            self.assertEqual(self.in_group(said), [told])

    def test_names_of_groups(self) -> None:
        (line,) = self.mistakes("modules = ['m']\n[group.'a b']\n")
        self.assertEqual(
            line,
            "f, line 2: group.a b: a group is called by letters, digits, dots, dashes and underscores,"
            " 64 at the most",
        )

    def test_functions(self) -> None:
        for said, told in (
            ("", ": a command or a url is wanted"),
            ("url = 'http://a/'\ncommand = ['ls']", "url: a command or a url is wanted, not both"),
            ("command = ['']", "command: the program has no name"),
            ("command = ['ls']\nheaders = {A = 'b'}", "headers: they are for a url"),
            *(
                (
                    f"url = '{url}'",
                    f"url: http://HOST... or https://HOST... is wanted, percent-encoded, not {url!r}",
                )
                for url in ("ftp://a", "http://", "http://a b/", "http://a:0/", "http://a:x/", "http://é/")
            ),
            (
                "url = 'http://me:secret@a/'",
                "url: a name and a password do not belong there; headers may have Authorization",
            ),
            ("url = 'http://a/'\nheaders = {'a b' = 'c'}", "headers: 'a b' is no header"),
            (
                "url = 'http://a/'\nheaders = {a = 'b\\nc'}".replace("'b", '"b').replace("c'}", 'c"}'),
                "headers: 'a' is no header",
            ),
            ("command = ['ls']\ntimeout = 0", "timeout: expected number >= 0.001"),
            ("command = ['ls']\ntimeout = '30d'", "timeout: expected number <= 2000000.0"),
        ):
            self.assertEqual(self.in_function(said), [told])
        (line,) = self.mistakes("modules = ['m']\n[group.g.function.'']\ncommand = ['ls']\n")
        self.assertEqual(line, "f, line 2: group.g.function.: function is empty")

    def test_of_the_whole(self) -> None:
        self.assertEqual(
            self.mistakes("servers = []\nca_file = 'x'\nkey_file = 'k'\n[group.a]\n"),
            [
                "f, line 1: servers: at least one is wanted",
                "f, line 3: key_file: the other one of cert_file and key_file is missing",
                "f, line 4: group: group a has no functions: modules, or [group.a.function.NAME], are wanted",
            ],
        )

    def test_a_group_without_any_function(self) -> None:
        (line,) = self.mistakes("modules = ['m']\n[group.a]\nmodules = []\n")
        self.assertIn("group a has no functions", line)

    def test_names(self) -> None:
        for name in ("my shop", "-", "a-", "é", "x" * 41):
            (line,) = self.mistakes(f"modules = ['m']\nname = {name!r}\n[group.a]\n")
            self.assertEqual(
                line,
                f"f, line 2: name: letters, digits, dots, dashes and underscores are wanted, not {name!r}",
            )

    def test_tokens_are_not_told(self) -> None:
        secret = "txg_abcd1234_" + "s" * 43
        (line,) = self.mistakes(f"modules = ['m']\n[group.a]\nstart = '{secret}'\n")
        self.assertNotIn(secret, line)
