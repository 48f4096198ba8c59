"""Machines of our own, as network namespaces: what is sent from one to another can get lost, without a word.

A process goes into a namespace of its own first, with :func:`enter`, and has its machines beside it there:
nobody else sees anything of that, and nothing is left of it. That takes root.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from processes import wait_until

#: What there is between machines: a network that only they are in, the one by which all others come, and one
#: for whoever is to lose them alone.
AMONG: Final = "among"
OUTSIDE: Final = "outside"
APART: Final = "apart"

#: The second number of the addresses of each, and of machines: the kernel's hardware addresses as well.
_NETWORKS: Final = {AMONG: 1, OUTSIDE: 2, APART: 3}

#: Whoever is at any of them.
ANYBODY: Final = "10.0.0.0/255.0.0.0"

#: The number that this process has in the networks in which it is.
_OURS: Final = 1

CLONE_NEWNET: Final = 0x40000000


def missing() -> str:
    """What keeps machines from being here; nothing if they can."""
    for name in ("ip", "nsenter", "unshare", "setpriv"):
        if not shutil.which(name):
            return f"there is no program {name}"
    if not _done("unshare", "--net", "ip", "link", "add", "try", "type", "bridge"):
        return "this user can make no networks here (unshare --net): that takes root"
    return ""


def enter() -> None:
    """Leave the machine's network, for one that has nothing but networks for machines. To be called by the
    main thread before there are others; what is started from then on is there as well.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no namespace")
    _run("ip", "link", "set", "lo", "up")
    for name, network in _NETWORKS.items():
        _run("ip", "link", "add", name, "type", "bridge")
        _run("ip", "link", "set", name, "address", _hardware(_OURS))
        _run("ip", "link", "set", name, "up")
        if name != AMONG:
            _run("ip", "address", "add", f"{_address(network, _OURS)}/24", "dev", name)


class Machine:
    """One machine. It ends with the thread that made it."""

    def __init__(self, number: int, neighbours: int) -> None:
        """
        :param number: from 1 on.
        :param neighbours: how many there are, itself among them.
        """
        self._number = _OURS + number
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
        )
        self._place = Path(f"/proc/{self._holder.pid}/ns/net")
        ours = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(self._place) != ours, what="a machine")
        self._do("ip", "link", "set", "lo", "up")
        for name, network in _NETWORKS.items():
            port = self._port(name)
            _run("ip", "link", "add", port, "type", "veth", "peer", name, "netns", str(self._holder.pid))
            self._do("ip", "link", "set", name, "address", _hardware(self._number))
            self._do("ip", "address", "add", f"{self.address(name)}/24", "dev", name)
            self._do("ip", "link", "set", name, "up")
            _run("ip", "link", "set", port, "master", name, "up")
            # Nobody asks who is there: that nobody answers would be told to whoever sends something.
            for other in range(_OURS, _OURS + 1 + neighbours):
                self._do("ip", *_known(_address(network, other), name, other))
            if name != AMONG:
                _run("ip", *_known(self.address(name), name, self._number))

    @property
    def prefix(self) -> list[str]:
        """What goes before a command that is to run there."""
        return ["nsenter", f"--net={self._place}", "--"]

    def address(self, network: str) -> str:
        """Its address in a network."""
        return _address(_NETWORKS[network], self._number)

    def lose(self, *networks: str) -> None:
        """Have it reach nobody in these networks, and nobody reach it."""
        for network in networks:
            _run("ip", "link", "set", self._port(network), "nomaster")

    def find(self) -> None:
        """Have it in all networks again."""
        for network in _NETWORKS:
            _run("ip", "link", "set", self._port(network), "master", network)

    def end(self) -> None:
        """End it; what runs there is to have ended."""
        self._holder.kill()
        self._holder.wait()

    def _do(self, *command: str) -> None:
        _run(*self.prefix, *command)

    def _port(self, network: str) -> str:
        return f"{network}-{self._number}"


def _address(network: int, number: int) -> str:
    return f"10.{network}.0.{number}"


def _hardware(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def _known(address: str, network: str, number: int) -> list[str]:
    """The arguments of `ip` that say who has an address."""
    words = f"neighbour replace {address} dev {network} lladdr {_hardware(number)} nud permanent"
    return words.split()


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode(errors='backslashreplace')}"


def _done(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
