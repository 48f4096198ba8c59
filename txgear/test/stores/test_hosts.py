"""Tests of L{txgear.stores.hosts}."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import make_url
from twisted.trial.unittest import SynchronousTestCase

from txgear.stores.hosts import MOST_HOSTS, Host, HostsError, shown, split, with_query
from txgear.test.support.extras import PROPERTY, given, st

PORTS = st.none() | st.integers(1, 65535)
NAMES = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,20}[a-z0-9])?", fullmatch=True),
    st.ip_addresses().map(str),
)
HOSTS = st.lists(st.builds(Host, NAMES, PORTS), min_size=1, max_size=6, unique=True)
FOLDERS = st.from_regex(r"/[a-z0-9/_.-]{1,20}", fullmatch=True)
PAIRS = st.lists(
    st.tuples(NAMES | FOLDERS, st.integers(1, 65535)), min_size=1, max_size=6, unique_by=lambda pair: pair[0]
)
ODD = st.text("ab1,:[]/%@?&=.é \n-", max_size=30)
PASSWORDS = st.sampled_from(("", ":p", ":p%40ss,w:/?[]x", ":a,b:1"))


def hosts_of(url: str) -> list[Host]:
    rest, hosts = split(url)
    return with_query(hosts, make_url(rest).query)


class FormsTests(SynchronousTestCase):
    @PROPERTY
    @given(HOSTS, PASSWORDS, st.sampled_from(("postgresql", "mysql")))
    def test_before_the_path(self, hosts: list[Host], password: str, scheme: str) -> None:
        for user in (f"me{password}@", "" if ":" in password else "@"):
            url = f"{scheme}://{user}{','.join(map(str, hosts))}/db?a=b"
            self.assertEqual(split(url), (f"{scheme}://{user}/db?a=b", hosts))
            self.assertEqual(hosts_of(url), hosts)

    @PROPERTY
    @given(HOSTS)
    def test_each_with_a_name_of_its_own(self, hosts: list[Host]) -> None:
        """As SQLAlchemy has it."""
        query = "&".join(f"host={host}" for host in hosts)
        self.assertEqual(hosts_of(f"postgresql://u@/db?{query}"), hosts)

    @PROPERTY
    @given(
        st.lists(
            st.tuples(NAMES | FOLDERS, st.integers(1, 65535)),
            min_size=1,
            max_size=6,
            unique_by=lambda x: x[0],
        )
    )
    def test_lists(self, pairs: list[tuple[str, int]]) -> None:
        """As libpq has it."""
        names = ",".join(name for name, _ in pairs)
        ports = ",".join(str(port) for _, port in pairs)
        expected = [Host(name, port) for name, port in pairs]
        self.assertEqual(hosts_of(f"postgresql://u@/db?host={names}&port={ports}"), expected)
        same = [Host(name, 7) for name, _ in pairs]
        self.assertEqual(hosts_of(f"postgresql://u@/db?host={names}&port=7"), same)

    @PROPERTY
    @given(
        st.text("ab1,:[]/%@?&=.é \n-", max_size=30),
        st.text("ab1,:/", max_size=10),
        st.text("ab1,", max_size=10),
    )
    def test_whatever_stands_there(self, text: str, names: str, ports: str) -> None:
        """There is a list, or one clear line."""
        try:
            hosts = hosts_of(f"mysql://u:secret@{text}/db?host={names}&port={ports}")
        except HostsError as error:
            self.assertNotIn("\n", str(error))
            self.assertNotIn("secret", str(error))
        else:
            self.assertTrue(1 <= len(hosts) <= MOST_HOSTS)
            self.assert_shown(hosts)

    def assert_shown(self, hosts: Sequence[Host]) -> None:
        before, behind = shown(hosts)
        for host in hosts:
            if not (host.is_folder and len(hosts) == 1):
                self.assertIn(str(host), before + behind)

    def test_those_behind_the_question_mark_are_the_ones(self) -> None:
        self.assertEqual(hosts_of("postgresql://u@a:1,b/db?host=c"), [Host("c", None)])
        self.assertEqual(hosts_of("postgresql://u@a,b/db?port=5"), [Host("a", 5), Host("b", 5)])

    def test_none(self) -> None:
        self.assertEqual(hosts_of("postgresql:///db"), [Host(None, None)])
        self.assertEqual(hosts_of("postgresql:///db?port=5"), [Host(None, 5)])
        self.assertEqual(shown([Host(None, None)]), ("", ""))
        self.assertRaises(HostsError, split, "db")

    def test_addresses(self) -> None:
        for text, host in (
            ("[::1]", Host("::1", None)),
            ("[2001:DB8::1]:5", Host("2001:db8::1", 5)),
            ("[fe80::1%eth0]:5", Host("fe80::1%eth0", 5)),
            ("127.0.0.1:5", Host("127.0.0.1", 5)),
            ("db.example.", Host("db.example.", None)),
        ):
            self.assertEqual(hosts_of(f"mysql://u@{text}/db"), [host])
        self.assertEqual(hosts_of("postgresql://u@/db?host=::1,a"), [Host("::1", None), Host("a", None)])
        self.assertEqual(str(Host("::1", 5)), "[::1]:5")

    def test_arguments(self) -> None:
        self.assertEqual(Host("a", 5).arguments, {"host": "a", "port": 5})
        self.assertEqual(Host(None, None).arguments, {})
