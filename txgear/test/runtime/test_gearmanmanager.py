"""Tests of L{txgear.runtime.gearmanmanager}."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.runtime.config import FunctionTable, RuntimeTable
from txgear.runtime.gearmanmanager import Translation, import_file
from txgear.runtime.ini import read_ini
from txgear.runtime.reading import parse_runtime


class TranslationTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.workers("reverse_string", "fetch_url", folder="workers")
        self.general = f"[GearmanManager]\nworker_dir = {self.folder}/workers\n"

    def workers(self, *names: str, folder: str) -> None:
        """Have files of functions."""
        place = self.folder / folder
        place.mkdir(parents=True)
        for name in names:
            (place / f"{name}.php").touch()

    def text(self, ini: str) -> str:
        return Translation("g.ini", read_ini(ini)).text()

    def table(self, ini: str) -> RuntimeTable:
        """What the runtime makes of a translation."""
        return parse_runtime(self.text(ini), str(self.folder / "workers.toml"))

    def processes(self, ini: str) -> dict[str, tuple[int | None, set[str]]]:
        """By group: how many there are, and what for."""
        return {name: (group.processes, set(group.function)) for name, group in self.table(ini).group.items()}

    def notes(self, ini: str) -> str:
        """The comments, in one line."""
        lines = self.text(ini).splitlines()
        return " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


class CountTests(TranslationTestCase):
    def test_one_of_each_by_default(self) -> None:
        self.assertEqual(
            self.processes(self.general),
            {"fetch_url": (1, {"fetch_url"}), "reverse_string": (1, {"reverse_string"})},
        )

    def test_for_all(self) -> None:
        self.assertEqual(
            self.processes(self.general + "count = 3"), {"all": (3, {"fetch_url", "reverse_string"})}
        )

    def test_the_file_that_gearmanmanager_explains(self) -> None:
        """Its own comment counts 21 processes, 10, 5, 5 and 1."""
        self.workers("Sum", folder="classes")
        ini = f"""
        [GearmanManager]
        worker_dir={self.folder}/workers,{self.folder}/classes
        include=*
        count=10
        dedicated_count=1
        timeout = 300
        [reverse_string]
        count = 3
        [Sum]
        dedicated_count=5
        dedicated_only=1
        [fetch_url]
        count=15
        timeout = 30
        """
        self.assertEqual(
            self.processes(ini),
            {
                "all": (10, {"reverse_string", "fetch_url"}),
                "reverse_string": (1, {"reverse_string"}),
                "fetch_url": (5, {"fetch_url"}),
                "Sum": (5, {"Sum"}),
            },
        )
        found = self.table(ini).group
        self.assertEqual(found["all"].function["fetch_url"].timeout, 30)
        self.assertEqual(found["all"].function["reverse_string"].timeout, 300)
        self.assertIn("as milliseconds", self.notes(ini))

    def test_more_of_one(self) -> None:
        ini = self.general + "count = 2\n[fetch_url]\ndedicated_count = 4\n[reverse_string]\ncount = 1"
        self.assertEqual(
            self.processes(ini),
            {"all": (2, {"fetch_url", "reverse_string"}), "fetch_url": (4, {"fetch_url"})},
        )

    def test_only_dedicated(self) -> None:
        ini = self.general + "count = 2\n[fetch_url]\ndedicated_only = 1\n[reverse_string]\n"
        error = self.assertRaises(ConfigurationError, self.text, ini)
        self.assertIn("g.ini: [fetch_url] has dedicated_only without a dedicated_count", str(error))

    def test_none_for_all_is_left(self) -> None:
        ini = self.general + "count = 2\nexclude = reverse_string\n[fetch_url]\n"
        ini += "dedicated_only = yes\ndedicated_count = 3"
        self.assertEqual(self.processes(ini), {"fetch_url": (3, {"fetch_url"})})

    def test_no_numbers(self) -> None:
        ini = self.general + "count = many\n[fetch_url]\ncount = 2 of them\ndedicated_count = -3"
        self.assertEqual(self.processes(ini)["fetch_url"], (2, {"fetch_url"}))

    def test_more_than_there_may_be(self) -> None:
        ini = self.general + "count = 5000"
        self.assertEqual(self.processes(ini)["all"][0], 1000)
        self.assertIn("TODO: 1000 are the most here", self.text(ini))


class FunctionTests(TranslationTestCase):
    def functions(self, ini: str) -> set[str]:
        return {name for group in self.table(ini).group.values() for name in group.function}

    def test_commands(self) -> None:
        [function] = (
            self.table(self.general + "prefix = Shop_\nexclude = fetch_url")
            .group["reverse_string"]
            .function.values()
        )
        place = (self.folder / "workers" / "reverse_string.php").resolve()
        self.assertEqual(
            function,
            FunctionTable(command=("php", "gearman-job.php", str(place), "Shop_reverse_string")),
        )

    def test_include_and_exclude(self) -> None:
        self.assertEqual(self.functions(self.general + "include = fetch_url"), {"fetch_url"})
        self.assertEqual(self.functions(self.general + "exclude = fetch_url"), {"reverse_string"})
        both = self.general + "include[] = fetch_url\ninclude[] = reverse_string\nexclude = fetch_url"
        self.assertEqual(self.functions(both), {"reverse_string"})

    def test_blanks(self) -> None:
        ini = self.general + "include = fetch_url, reverse_string"
        self.assertEqual(self.functions(ini), {"fetch_url", "reverse_string"})
        self.assertIn("TODO include: GearmanManager takes the blanks", self.notes(ini))

    def test_a_section_without_a_function(self) -> None:
        ini = self.general + "[gone]\ncount = 3"
        self.assertEqual(self.functions(ini), {"fetch_url", "reverse_string"})
        self.assertIn("TODO [gone]: there is no such function", self.notes(ini))

    def test_no_folder(self) -> None:
        """What the file names is known then, and nothing else."""
        ini = "[GearmanManager]\nworker_dir = /nowhere/, /neither\ninclude = a,b\nexclude = c\n"
        ini += "[c]\n[b]\ncount = 2"
        table = self.table(ini)
        self.assertEqual(self.functions(ini), {"a", "b"})
        self.assertEqual(table.group["b"].processes, 2)
        self.assertEqual(table.group["a"].function["a"].command[2], "/nowhere/a.php")
        self.assertIn("TODO worker_dir: /nowhere/ is not here", self.notes(ini))
        self.assertIn("TODO worker_dir: /neither is not here", self.notes(ini))

    def test_some_folders(self) -> None:
        ini = f"[GearmanManager]\nworker_dir = {self.folder}/workers,/nowhere\n[other]\n"
        self.assertEqual(self.functions(ini), {"fetch_url", "reverse_string", "other"})

    def test_nothing_at_all(self) -> None:
        error = self.assertRaises(ConfigurationError, self.text, "[GearmanManager]\nworker_dir = /nowhere")
        self.assertIn("no function is known of it: no .php is in /nowhere", str(error))

    def test_names_that_no_group_can_have(self) -> None:
        self.workers("a b", "a-b", "ä", "all", "x" * 100, folder="odd")
        ini = f"[GearmanManager]\nworker_dir = {self.folder}/odd\ncount = 1\ndedicated_count = 1"
        groups = self.processes(ini)
        self.assertEqual(groups["all"][1], {"a b", "a-b", "ä", "all", "x" * 100})
        self.assertEqual(
            {name: functions for name, (_, functions) in groups.items() if name != "all"},
            {
                "a-b": {"a b"},
                "a-b-2": {"a-b"},
                "group": {"ä"},
                "all-2": {"all"},
                "x" * 48: {"x" * 100},
            },
        )

    def test_file_names_that_are_no_texts(self) -> None:
        (self.folder / "odd").mkdir()
        Path(os.fsdecode(os.fsencode(self.folder / "odd") + b"/\xff\n.php")).touch()
        (self.folder / "odd" / 'quo"ted.php').touch()
        ini = f"[GearmanManager]\nworker_dir = {self.folder}/odd"
        self.assertEqual(self.functions(ini), {'quo"ted'})
        self.assertIn("its name is no text; write it yourself", self.notes(ini))


class SettingTests(TranslationTestCase):
    def test_defaults(self) -> None:
        """Those of GearmanManager, not ours."""
        table = self.table(self.general)
        self.assertEqual(table.servers, ("127.0.0.1",))
        self.assertEqual(table.stop_timeout, 60)
        group = table.group["fetch_url"]
        self.assertEqual(group.max_age, 4200)
        self.assertAlmostEqual(4200 * (1 - group.splay), 3600, places=0)
        self.assertEqual(group.max_jobs, None)
        self.assertEqual(group.function["fetch_url"].timeout, None)

    def test_numbers(self) -> None:
        table = self.table(
            self.general
            + "host = 10.1.1.1:4730, [::1]:4731\ngraceful_shutdown_wait_time = 5\nmax_worker_lifetime = 90\n"
            "worker_restart_splay = 10\nmax_runs_per_worker = 7\ntimeout = 20"
        )
        self.assertEqual(table.servers, ("10.1.1.1:4730", "[::1]:4731"))
        self.assertEqual(table.stop_timeout, 5)
        group = table.group["fetch_url"]
        self.assertEqual((group.max_age, group.splay, group.max_jobs), (100, 0.1, 7))
        self.assertEqual(group.function["fetch_url"].timeout, 20)

    def test_numbers_that_say_nothing_there(self) -> None:
        ini = "max_worker_lifetime = 0\nworker_restart_splay = 0\nmax_runs_per_worker = 0\ntimeout = 0\n"
        table = self.table(self.general + ini + "host =\n")
        self.assertEqual(table, self.table(self.general))

    def test_numbers_that_are_too_large(self) -> None:
        table = self.table(
            self.general
            + "timeout = 999999999\nmax_worker_lifetime = 999999999\ngraceful_shutdown_wait_time = 999999999"
        )
        self.assertEqual(table.group["fetch_url"].function["fetch_url"].timeout, 2_000_000)
        self.assertEqual(table.group["fetch_url"].max_age, 315_360_000)
        self.assertEqual(table.stop_timeout, 315_360_000)

    def test_what_has_no_equal(self) -> None:
        notes = self.notes(
            self.general
            + "user = www-data\npid_file = /run/g.pid\nlog_file = syslog\nauto_update = 1\nprefix = P_\n"
            "worker_initial_spawn_splay = 100\nverbose = 1\ndaemon = on\ntypo = 1\n"
            "[fetch_url]\npriority = 3\nfoo = 1\n[reverse_string]\npriority = 0"
        )
        for words in (
            "TODO user = www-data: the runtime does not change its user: say User=www-data in its",
            "TODO pid_file = /run/g.pid: of the process: twistd --pidfile=/run/g.pid",
            "TODO log_file = syslog:",
            "TODO daemon = 1:",
            "TODO verbose = 1:",
            "TODO worker_initial_spawn_splay = 100:",
            "auto_update: nothing to do for commands",
            "prefix = P_: it is in the commands",
            "TODO typo: GearmanManager has no such setting.",
            "TODO priority = 3: no equal.",
            "TODO foo: GearmanManager has no such setting.",
        ):
            self.assertIn(words, notes)
        self.assertNotIn("priority = 0", notes)

    def test_nothing_is_said_of_what_is_not_there(self) -> None:
        notes = self.notes(self.general + "auto_update = 0\nuser =\n")
        for word in ("auto_update", "user", "prefix", "milliseconds", "worker_dir"):
            self.assertNotIn(word, notes)

    def test_no_section_for_all(self) -> None:
        """The name of its section is in small letters: GearmanManager takes it for nothing at all."""
        ini = self.general.replace("GearmanManager", "gearmanmanager") + "[a]\n"
        notes = self.notes("count = 3\n" + ini)
        self.assertIn("TODO: there is no section [GearmanManager] in it", notes)
        self.assertIn("TODO count: these stand before the first section", notes)
        self.assertEqual(self.processes(ini), {"a": (1, {"a"})})

    def test_nothing_ends_a_comment(self) -> None:
        ini = self.general + "user = \u2028x\x0bservers: 1\n"
        self.assertEqual(self.table(ini), self.table(self.general))


class FileTests(TranslationTestCase):
    def refused(self, name: str, content: bytes | None) -> str:
        path = self.folder / name
        if content is not None:
            path.write_bytes(content)
        return str(self.assertRaises(ConfigurationError, import_file, path)).replace(f"{self.folder}/", "")

    def test_file(self) -> None:
        path = self.folder / "gearman.ini"
        path.write_text(self.general)
        self.assertEqual(import_file(path), Translation("gearman.ini", read_ini(self.general)).text())

    def test_no_file(self) -> None:
        self.assertEqual(self.refused("none.ini", None), "none.ini: No such file or directory")

    def test_php(self) -> None:
        self.assertIn("config.php: it is PHP, which only PHP can run", self.refused("config.php", None))

    def test_no_utf_8(self) -> None:
        self.assertEqual(self.refused("a.ini", b"x = \xff"), "a.ini: it is not in UTF-8, from byte 4 on")

    def test_no_ini(self) -> None:
        self.assertIn("a.ini: line 1: a key and a value are wanted", self.refused("a.ini", b"word"))

    def test_empty(self) -> None:
        self.assertIn("a.ini: no function is known of it", self.refused("a.ini", b""))
