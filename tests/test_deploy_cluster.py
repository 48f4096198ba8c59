"""What stands in examples/deploy/cluster: three servers over PostgreSQL under Patroni, without the images."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psycopg
import pytest

from needs import lacks
from patronicluster import Etcd, Member
from processes import programs_folder, wait_until
from test_deploy import DEPLOY, accepts, of_python

pytestmark = pytest.mark.txgear_only

FOLDER: Final = DEPLOY / "cluster"

#: What the members' superuser is asked for, and the server's user.
SECRETS: Final = {"db-admin-password": "a d'min", "db-password": "us'er"}


def test_compose() -> None:
    accepts(of_python("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml")


def test_the_servers_differ_in_name_and_address_only() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    gears = re.findall(r"^  gear-(\w+):\n((?:    .*\n)+)", text, re.MULTILINE)
    assert [name for name, _ in gears] == ["one", "two", "three"]
    common = set()
    for name, service in gears:
        (address,) = re.findall(r"- --advertise=(.*)\n", service)
        assert f"--cluster-name={name}\n" in service
        assert f'- "{address}:4730"\n' in service
        common.add(service.replace(address, "").replace(f"={name}\n", "\n"))
    assert len(common) == 1


def test_dockerfile() -> None:
    accepts(of_python("hadolint"), FOLDER / "Dockerfile")


class Container(Member):
    """What a container of the image runs, here: files, ports and secrets are in other places."""

    def launch(self) -> None:
        self._own_folder()
        places = {
            "/usr/local/bin/": f"{self.folder}/",
            "/etc/patroni.yaml": f"{self.folder}/patroni.yaml",
            "/opt/patroni/bin/patroni": f"{sys.executable} -m patroni",
            "/run/secrets/": f"{self.folder}/",
            "/tmp/pgpass": f"{self.folder}/pgpass",
            "/var/lib/postgresql/data/db": str(self.data),
            "$(hostname)": "127.0.0.1",
            "0.0.0.0": "127.0.0.1",
            "5432": str(self.port),
            "8008": str(self.rest),
            "etcd-one:2379": f"127.0.0.1:{self._etcd.port}",
            "    - etcd-two:2379\n    - etcd-three:2379\n": "",
        }
        for name in ("patroni.sh", "database.sh", "healthy.py", "patroni.yaml"):
            text = (FOLDER / name).read_text()
            for there, here in places.items():
                text = text.replace(there, here)
            copy = self.folder / name
            copy.write_text(text)
            shutil.copymode(FOLDER / name, copy)
        for name, secret in SECRETS.items():
            (self.folder / name).write_text(secret)
        super(Member, self).launch()

    def _command(self) -> Sequence[str]:
        programs = Path(self.program("postgres")).resolve().parent
        path = f"PATH={programs}{os.pathsep}{os.environ['PATH']}"
        keeper = programs_folder() / "keeper.py"
        return ["env", path, sys.executable, str(keeper), str(self.folder / "patroni.sh")]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that other users reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_image_makes_the_servers_database(folder: Path) -> None:
    """The first member makes the cluster, and in it what the URL of the compose file names."""
    lacks(Container.missing())
    lacks("" if os.geteuid() == 0 else "its superuser is the system's: this needs root")
    etcd = Etcd(folder / "etcd")
    container = Container(folder / "one", etcd, synchronous=True)
    for service in (etcd, container):
        service.folder.mkdir()
    with etcd:
        container.launch()
        try:

            def connects() -> bool:
                try:
                    psycopg.connect(
                        host="127.0.0.1",
                        port=container.port,
                        user="txgear",
                        password=SECRETS["db-password"],
                        dbname="txgear",
                        connect_timeout=5,
                    ).close()
                except psycopg.OperationalError:
                    return False
                return True

            wait_until(connects, 60.0, what=f"a database: {container.log()}")
            accepts(sys.executable, container.folder / "healthy.py")
        finally:
            container.kill()
