"""A cluster of MariaDB nodes with Galera, of our own, on 127.0.0.1: three, or as many as are wanted.

Each node is a :class:`databases.MariaDB` that replicates, so it can be killed and paused like one. All of
Galera's times are its own defaults: after a node's crash the others answer no COMMIT for about 6 seconds.
"""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final

import pymysql

from databases import PATIENCE, MariaDB
from machines import AMONG, Machine
from processes import free_port, wait_until

#: What makes a MariaDB server a node, and Debian's place for it.
PROVIDER: Final = Path("/usr/lib/galera/libgalera_smm.so")

#: How many there are: the fewest of which one may be lost.
SIZE: Final = 3


class Node(MariaDB):
    """One node. Its data folder is made by the cluster."""

    #: The last two are for what Galera runs when a node comes back.
    programs = (*MariaDB.programs, "rsync", "lsof")

    #: A node that has lost the others refuses nearly all else.
    CUT: ClassVar[str] = "SET GLOBAL wsrep_provider_options = 'gmcast.isolate={}'"

    def __init__(self, folder: Path, machine: Machine | None = None) -> None:
        super().__init__(folder, machine=machine)
        self.group = free_port()
        # For what it has missed, sent by another node; and where a whole copy would be sent.
        self._missed, self._copy = free_port(), free_port()
        self._groups: Sequence[str] = ()
        self._position: list[str] = []
        self._is_cut = False

    @classmethod
    def missing(cls) -> str:
        return super().missing() or ("" if PROVIDER.exists() else f"there is no {PROVIDER}")

    def joins(self, nodes: Iterable[Node]) -> None:
        """Say who the cluster is."""
        self._groups = [f"{node.address_in(AMONG)}:{node.group}" for node in nodes]

    def launch(self) -> None:
        self._is_cut = False
        self._position = self._recovered()
        super().launch()

    def found(self) -> None:
        """Start it as the first node of a new cluster."""
        self._position = ["--wsrep-new-cluster"]
        super().launch()
        self.arrive()

    def cut(self) -> None:
        """Cut it off from the other nodes, though not from its clients."""
        self._is_cut = True
        self.execute(self.CUT.format(1), self.home)

    def heal(self) -> None:
        """Let it reach the other nodes again if it was cut off, and return when it takes part."""
        if self._is_cut:
            self.execute(self.CUT.format(0), self.home)
            self._is_cut = False
        self.arrive()

    def status(self, name: str) -> str:
        """What Galera says of itself here, ``wsrep_...``."""
        ((_, value),) = self.execute(f"SHOW GLOBAL STATUS LIKE '{name}'", self.home)
        return str(value)

    @property
    def takes_part(self) -> bool:
        """It is one of the majority, and has all that the others have."""
        return self._says("wsrep_ready", "ON") and self._says("wsrep_local_state_comment", "Synced")

    def knows(self, size: int) -> bool:
        """It knows of so many nodes, itself among them."""
        return self._says("wsrep_cluster_size", str(size))

    def _says(self, name: str, value: str) -> bool:
        try:
            return self.status(name) == value
        except pymysql.OperationalError:
            # It has just ended, or takes no connections yet.
            return False

    def _accepts(self) -> bool:
        return super()._accepts() and self.takes_part

    def _arguments(self) -> Sequence[str]:
        own = self.address_in(AMONG)
        provider = {
            "gmcast.listen_addr": f"tcp://{own}:{self.group}",
            "base_host": own,
            "base_port": self.group,
            "ist.recv_addr": f"{own}:{self._missed}",
            # All that a node misses in a test fits.
            "gcache.size": "32M",
        }
        return [
            # The users are in the data already.
            *(word for word in super()._arguments() if not word.startswith("--init-file")),
            "--wsrep-on=ON",
            f"--wsrep-provider={PROVIDER}",
            f"--wsrep-provider-options={';'.join(f'{name}={value}' for name, value in provider.items())}",
            f"--wsrep-cluster-address=gcomm://{','.join(self._groups)}",
            "--wsrep-cluster-name=txgear",
            f"--wsrep-node-name={self.folder.name}",
            f"--wsrep-node-address={own}",
            f"--wsrep-node-incoming-address={self.address}:{self.port}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address={own}:{self._copy}",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            *self._position,
        ]

    def _recovered(self) -> list[str]:
        """How far it was when it was killed, as an argument: without that it would want a whole copy."""
        if "seqno:   -1" not in (self.data / "grastate.dat").read_text():
            return []
        self._position = ["--wsrep-recover"]
        done = subprocess.run(
            [*self._as_somebody(), *self._command()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.folder,
            timeout=PATIENCE,
            check=False,
        )
        said = done.stderr.decode(errors="backslashreplace")
        found = re.search(r"Recovered position: (\S+)", said)
        assert found, f"the node does not know how far it was:\n{said}"
        return [f"--wsrep-start-position={found[1]}"]


class Galera:
    """A cluster of nodes; as a context manager it starts, and is killed.

    :ivar nodes: they have one database, which any of them serves.
    """

    def __init__(self, folder: Path, size: int = SIZE, machines: Sequence[Machine] = ()) -> None:
        """
        :param machines: one for each node, if they are not all here.
        """
        self.folder = folder
        self.nodes = [
            Node(folder / f"node{number + 1}", machines[number] if machines else None)
            for number in range(size)
        ]
        for node in self.nodes:
            node.joins(self.nodes)

    @classmethod
    def missing(cls) -> str:
        """What keeps it from running on this machine; nothing if it can."""
        return Node.missing()

    def __enter__(self) -> Galera:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Make the nodes, all from the first one's files, and start them."""
        first, *others = self.nodes
        seed = MariaDB(first.folder, machine=first.machine)
        first.folder.mkdir()
        self.folder.chmod(0o755)
        try:
            seed.start()
        finally:
            seed.stop()
        try:
            # Only now its files say how far it is.
            first.found()
            if not others:
                # Nobody is there whom it could join.
                return
            first.stop()
            for node in others:
                subprocess.run(["cp", "-a", first.folder, node.folder], check=True)
                (node.data / "galera.cache").unlink()
            self._acquaint()
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.arrive()
            self.wait_for(len(self.nodes))
        except BaseException:
            self.kill()
            raise

    def _acquaint(self) -> None:
        """Have each node know the others from before: equal as they are, they are together at once then."""
        names = [str(uuid.uuid1()) for _ in self.nodes]
        members = "".join(f"member: {name} 0\n" for name in names)
        for node, name in zip(self.nodes, names, strict=True):
            view = node.data / "gvwstate.dat"
            view.write_text(
                f"my_uuid: {name}\n#vwbeg\nview_id: 3 {names[0]} 3\nbootstrap: 0\n{members}#vwend\n"
            )
            owner = node.folder.stat()
            os.chown(view, owner.st_uid, owner.st_gid)

    def restore(self) -> None:
        """Have all nodes there, whatever the last test did to them, with an empty database."""
        for node in self.nodes:
            if node.running:
                node.resume()
            else:
                # Two that were killed wait for each other.
                node.launch()
        for node in self.nodes:
            node.heal()
        self.wait_for(len(self.nodes))
        self.nodes[0].clear()

    @property
    def url(self) -> str:
        """The database at any of the nodes."""
        first, *others = self.nodes
        own = f"{first.address}:{first.port}"
        return first.url.replace(own, ",".join([own, *(f"{node.address}:{node.port}" for node in others)]))

    def wait_for(self, size: int) -> None:
        """Wait until so many nodes are one, and each of them says so."""

        def complete() -> bool:
            there = [node for node in self.nodes if node.running and node.takes_part]
            return len(there) == size and all(node.knows(size) for node in there)

        wait_until(complete, PATIENCE, what=f"a cluster of {size} nodes")

    def kill(self) -> None:
        """End all nodes at once."""
        for node in self.nodes:
            node.kill()

    def log(self) -> str:
        """What the nodes said, for a person to read."""
        return "\n\n".join(f"--- {node.folder.name}\n{node.log()}" for node in self.nodes if node.running)
