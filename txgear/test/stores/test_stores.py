"""Tests of L{txgear.stores} and of the store in memory."""

from __future__ import annotations

import pwd
import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.interfaces import IHistoryStore
from txgear.stores import default_url, make_store
from txgear.stores.membership import Membership
from txgear.stores.memory import MemoryStore
from txgear.test.support.extras import needs
from txgear.test.support.storequestions import QuestionContract
from txgear.test.support.stores import HistoryContract


class MemoryStoreTests(HistoryContract, QuestionContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.place = MemoryStore()
        super().setUp()

    def make_store(self) -> IHistoryStore:
        # It is its own place.
        return self.place


class MakeStoreTests(SynchronousTestCase):
    def refusal(self, url: str, password: str | None = None) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            make_store(url, password)
        text = str(caught.exception)
        self.assertNotIn("\n", text)
        return text

    def test_a_file_is_not_for_several_servers(self) -> None:
        with self.assertRaisesRegex(ConfigurationError, "a SQLite file has one server"):
            make_store("sqlite:////tmp/jobs.sqlite", membership=Membership(None, "", 8.0))

    @needs("psycopg", "pymysql")
    def test_names_show_where_it_is_and_no_password(self) -> None:
        for url, name in (
            ("sqlite:////var/lib/jobs.sqlite", "sqlite:////var/lib/jobs.sqlite"),
            ("postgresql://me:secret@db:5433/jobs?sslmode=require", "postgresql://me@db:5433/jobs"),
            ("postgresql:///jobs?host=/run/postgresql&password=secret", "postgresql:///jobs"),
            ("mysql://me:secret@db/jobs", "mysql://me@db/jobs"),
            ("mariadb://db/jobs", "mariadb://db/jobs"),
            (
                "postgresql://me:secret@a:5432,b/jobs?target_session_attrs=any",
                "postgresql://me@a:5432,b/jobs",
            ),
            ("postgresql://me:secret@/jobs?host=a:1&host=b:2", "postgresql://me@a:1,b:2/jobs"),
            ("postgresql://me:secret@/jobs?host=a,b&port=1,2", "postgresql://me@a:1,b:2/jobs"),
            (
                "postgresql://me:secret@/jobs?host=/run/a,b&port=5433",
                "postgresql://me@/jobs?host=/run/a:5433,b:5433",
            ),
            ("postgresql://me:secret@%2Frun%2Fa/jobs", "postgresql://me@/jobs"),
            ("mysql://me:secret@a,b:3307,[::1]:3306/jobs", "mysql://me@a,b:3307,[::1]:3306/jobs"),
        ):
            self.assertEqual(make_store(url).name, name)
            if "sqlite" not in url:
                self.assertEqual(make_store(url, "secret").name, name)

    @needs("psycopg", "pymysql")
    def test_a_password_given_apart_is_the_one(self) -> None:
        for url in ("postgresql://me:old@db/jobs", "mysql://me@db/jobs"):
            self.assertEqual(make_store(url, "p@ss/word")._dialect.engine.url.password, "p@ss/word")
        self.assertEqual(make_store("mysql://me:o%40ld@db/jobs")._dialect.engine.url.password, "o@ld")

    def test_a_path_is_taken_as_it_stands(self) -> None:
        for path in ("/with ?#%41&=+ signs", "/a//../b"):
            self.assertIn(make_store(f"sqlite:///{path}").name, (f"sqlite:///{path}", "sqlite:////b"))

    def test_a_relative_path_is_from_where_the_process_is(self) -> None:
        self.assertRegex(make_store("sqlite:///jobs.sqlite").name, r"^sqlite:////.+/jobs\.sqlite$")

    def test_a_url_without_sense(self) -> None:
        for url, message in (
            ("", "no scheme"),
            ("/var/lib/jobs.sqlite", "no scheme"),
            ("memory:", "no scheme"),
            ("/srv/jobs.sqlite", "a file is sqlite:///PATH"),
            ("redis://me:secret@db/jobs", "this one starts with redis://"),
            ("sqlite+pysqlite:////jobs", "sqlite+pysqlite://, which is sqlite:// here"),
            ("postgres://me:secret@db/jobs", "postgres://, which is postgresql:// here"),
            ("sqlite://", "three slashes"),
            ("sqlite://jobs.sqlite", "three slashes"),
            ("sqlite:///", "names a file"),
            ("sqlite:///:memory:", "memory:"),
            ("sqlite:////jobs\0", "NUL"),
            ("postgresql://me:secret@db", "no database"),
            ("mysql://me:secret@db/", "no database"),
            ("mysql://me:secret@db:port/jobs", "makes no sense"),
            ("postgresql://me:secret@db:1:2/jobs", "makes no sense"),
            ("postgresql://me:secret@a:1,b:2,c/jobs?port=1,2", "its ports stand twice"),
            ("postgresql://me:secret@/jobs?host=a,b&port=1,2,3", "it has 2 hosts and 3 ports"),
            ("postgresql://me:secret@/jobs?host=a:1&host=b:2&port=3,4", "its ports stand twice"),
            ("postgresql://me:secret@/jobs?host=a,b&port=1,x", "no number from 1 to 65535"),
            ("postgresql://me:secret@/jobs?port=1,2", "it has 1 hosts and 2 ports"),
            ("postgresql://me:secret@a,,b/jobs", "one of its hosts is empty"),
            ("postgresql://me:secret@a,b,/jobs", "one of its hosts is empty"),
            ("mysql://me:secret@a,a/jobs", "stands twice"),
            ("mysql://me:secret@a:0,b/jobs", "no number from 1 to 65535"),
            ("mysql://me:secret@a:/jobs", "no number from 1 to 65535"),
            ("mysql://me:secret@[::1/jobs", "bracket"),
            ("mysql://me:secret@[::x],a/jobs", "no IPv6 address"),
            ("mysql://me:secret@a b,c/jobs", "no name and no address"),
            ("mysql://me:secret@/jobs?host=/run/mysqld", "a socket of MySQL's is ?unix_socket=/path"),
            ("mysql://me:secret@a,%2Frun/jobs", "a socket of MySQL's is ?unix_socket=/path"),
            ("mysql://me:secret@a,b/jobs?unix_socket=/run/s", "its unix_socket stands beside several hosts"),
            (f"mysql://me:secret@{','.join(map(str, range(33)))}/jobs", "33 hosts"),
        ):
            text = self.refusal(url)
            self.assertIn(message, text, url)
            self.assertNotIn("secret", text)

    @needs("pymysql")
    def test_a_password_with_characters_that_a_url_needs(self) -> None:
        for password in ("a/secret", "a:secret@x", "a?secret", "a#secret"):
            text = self.refusal(f"mysql://me:{password}@db:x/jobs")
            self.assertIn("written %2F and %40, or it stands in the file of --store-password-file", text)
            self.assertNotIn("secret", text)
        self.assertNotIn("%2F", self.refusal("mysql://me:secret@db:x/jobs"))

    @needs("pymysql")
    def test_an_option_without_sense(self) -> None:
        text = self.refusal("mysql://me:secret@db/jobs?connect_timeout=x")
        self.assertIn("check what follows the question mark", text)
        self.assertNotIn("secret", text)

    @needs("psycopg", "pymysql")
    def test_a_driver_that_is_not_installed(self) -> None:
        for url, module, extra in (
            ("postgresql://me:secret@db/jobs", "psycopg", "txgear[postgresql]"),
            ("mysql://me:secret@db/jobs", "pymysql", "txgear[mysql]"),
            ("mariadb://me:secret@db/jobs", "pymysql", "txgear[mysql]"),
        ):
            # What else is loaded by this is loaded already, and stays.
            make_store(url)
            with patch.dict(sys.modules, {module: None}):
                text = self.refusal(url)
            self.assertIn(f"pip install '{extra}'", text)
            self.assertNotIn("secret", text)


class DefaultUrlTests(SynchronousTestCase):
    def test_the_folder_that_systemd_gives(self) -> None:
        environ = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x", "HOME": "/home/me"}
        for root in (True, False):
            self.assertEqual(default_url(4730, environ, root), "sqlite:////var/lib/a/jobs-4730.sqlite")

    def test_the_folder_of_root(self) -> None:
        environ = {"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/x", "HOME": "/root"}
        self.assertEqual(default_url(1, environ, True), "sqlite:////var/lib/txgear/jobs-1.sqlite")

    def test_the_folder_of_a_user(self) -> None:
        for state in ("", "relative"):
            environ = {"XDG_STATE_HOME": state, "HOME": "/home/me"}
            self.assertEqual(
                default_url(2, environ, False), "sqlite:////home/me/.local/state/txgear/jobs-2.sqlite"
            )
        environ["XDG_STATE_HOME"] = "/x y"
        self.assertEqual(default_url(3, environ, False), "sqlite:////x y/txgear/jobs-3.sqlite")

    def test_a_user_without_a_home_in_the_environment(self) -> None:
        self.assertRegex(default_url(4, {}, False), r"^sqlite:////.*/txgear/jobs-4\.sqlite$")

    def test_no_home(self) -> None:
        """Nor one that is relative: each folder would have a queue of its own."""
        for home in ("", "relative", "~"):
            error = self.assertRaises(ConfigurationError, default_url, 4, {"HOME": home}, False)
            for way in ("--store", "STATE_DIRECTORY", "XDG_STATE_HOME"):
                self.assertIn(way, str(error))
        self.patch(pwd, "getpwuid", {}.__getitem__)
        self.assertRaises(ConfigurationError, default_url, 4, {}, False)
        self.assertEqual(default_url(4, {"XDG_STATE_HOME": "/x"}, False), "sqlite:////x/txgear/jobs-4.sqlite")

    def test_a_relative_state_directory(self) -> None:
        error = self.assertRaises(ConfigurationError, default_url, 4, {"STATE_DIRECTORY": "here"}, True)
        self.assertEqual(str(error), "STATE_DIRECTORY is no absolute path: here")

    def test_the_url_makes_a_store(self) -> None:
        url = default_url(4, {"STATE_DIRECTORY": "/var/lib/odd?name"}, True)
        self.assertEqual(make_store(url).name, url)
