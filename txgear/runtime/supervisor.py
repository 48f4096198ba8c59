"""
The supervisor: it starts the children of all groups, looks at them, loads code anew and ends them; it does no
job itself.
"""

from __future__ import annotations

import random as _random
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import time
from typing import Any, Final

from msgspec.structs import replace
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txgear.errors import ConfigurationError, TxgearError
from txgear.net.steady import steady
from txgear.runtime.config import GroupTable, RuntimeTable
from txgear.runtime.control import Task
from txgear.runtime.forking import ForkStarter
from txgear.runtime.group import WorkerGroup
from txgear.runtime.guard import ChildrensGuard
from txgear.runtime.member import Member, Owner, Plan
from txgear.runtime.memory import memory_of
from txgear.runtime.peers import peer_arguments
from txgear.runtime.scaling import Load
from txgear.runtime.servers import Servers
from txgear.runtime.sizing import Sizing
from txgear.runtime.starters import SpawnStarter, Starter
from txgear.runtime.template import Preload
from txgear.worker.hello import Identity

LOOK_SECONDS: Final = 0.5
"""How often it is looked what children do: a hard time limit is late by as much at the most."""
MEMORY_SECONDS: Final = 1.0
"""How often it is looked how much memory they have."""
KEY_BYTES: Final = 16
GUARD_SECONDS: Final = 5.0
"""Seconds beside C{stop_timeout} after which children are killed whose supervisor is gone."""

STOPS: Final = "the runtime was stopped"


class Supervisor(Service):
    """
    A runtime.

    @ivar table: what is in force.
    @ivar key: by which servers know it.
    @ivar groups: its groups, by their names.
    @ivar servers: its own connections to the servers.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        table: RuntimeTable,
        read: Callable[[], RuntimeTable],
        environ: Mapping[str, str],
        *,
        random: Callable[[], float] = _random.random,
        memory: Callable[[list[int]], dict[int, int]] = memory_of,
    ) -> None:
        """
        @param table: what is in force at the start.
        @param read: reads the file anew; raises L{TxgearError} where it cannot be understood.
        @param environ: the environment of the children.
        @param random: numbers from 0 to 1.
        @param memory: how much memory processes have.
        """
        self.table = table
        self.key = secrets.token_hex(KEY_BYTES)
        self.groups: dict[str, WorkerGroup] = {}
        self._reactor = reactor
        self._clock = steady(reactor)
        self._read = read
        self._environ = environ
        self._random = random
        self._memory = memory
        self._started = time()
        self._sizing = Sizing(self._clock, self.groups, self._load)
        self._peers = peer_arguments(table)
        self.servers = self._servers(table, self._peers)
        self._leaving: list[WorkerGroup] = []
        self._guard = ChildrensGuard(table.stop_timeout + GUARD_SECONDS)
        self._looking = LoopingCall(self._round, self._look)
        self._looking.clock = self._clock
        self._weighing = LoopingCall(self._round, self._weigh)
        self._weighing.clock = self._clock

    # Start and stop

    def startService(self) -> None:
        """Start all children."""
        super().startService()
        self.servers.start()
        for name in self.table.group:
            self._begin(name)
        _ = self._looking.start(LOOK_SECONDS)
        _ = self._weighing.start(MEMORY_SECONDS)

    def stopService(self) -> Deferred[None]:
        """
        Have all children finish their jobs, and end. Jobs that take longer than C{stop_timeout} fail.

        @return: fires when no process is left. Cancelling it changes nothing.
        """
        super().stopService()
        return self._stop(self.table.stop_timeout).addCallback(self._stopped)

    def hurry(self) -> None:
        """While it stops: jobs that have not ended fail now."""
        _ = self._stop(0.0)

    @property
    def stopping(self) -> bool:
        """Whether it stops, or has."""
        return not self.running

    def _stop(self, seconds: float) -> Deferred[None]:
        groups = [*self.groups.values(), *self._leaving]
        return gatherResults([group.stop(STOPS, seconds) for group in groups]).addCallback(lambda _: None)

    def _stopped(self, _: None) -> Deferred[None]:
        for loop in (self._looking, self._weighing):
            if loop.running:
                loop.stop()
        for group in self.groups.values():
            group.plan.starter.retire()
        self._guard.leave()
        return self.servers.stop()

    # Servers

    def _servers(self, table: RuntimeTable, peers: dict[str, Any]) -> Servers:
        """
        @raise ConfigurationError: they cannot be spoken to in the way that the table says.
        """
        id = _joined(table.name, "supervisor")
        try:
            return Servers(
                self._reactor,
                **peers,
                identity=Identity(self.key, id, "", "", self._started),
                functions=self._sizing.functions,
                name=id,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    def _load(self, names: Iterable[bytes]) -> Load | None:
        return self.servers.load(names)

    # Groups

    def _begin(self, name: str) -> None:
        group = WorkerGroup(self._clock, name, self._plan(name), partial(self._make, name), self._tell_gone)
        self.groups[name] = group
        group.look()

    def _plan(self, name: str) -> Plan:
        table = self.table.group[name]
        return Plan(self.table, table, self._starter(name, table))

    def _starter(self, name: str, table: GroupTable) -> Starter:
        environment = {**self._environ, **table.environment}
        if table.start == "spawn":
            return SpawnStarter(environment)
        modules = (*table.modules, *(hook.partition(":")[0] for hook in table.hooks))
        preload = Preload(name=_joined(self.table.name, name), path=self.table.path, modules=modules)
        return ForkStarter(self._reactor, self._clock, self._guard, environment, preload, table.start_timeout)

    def _make(self, name: str, plan: Plan, number: int, owner: Owner) -> Member:
        task = Task(
            number=number,
            id=_joined(plan.table.name, name, str(number)),
            key=secrets.token_hex(KEY_BYTES),
            runtime=self.key,
            group=name,
            table=replace(plan.table, group={name: plan.group}),
        )
        part = 1.0 - plan.group.splay * self._random()
        return Member(self._reactor, self._clock, self._guard, plan, task, part, owner)

    def _tell_gone(self, key: str, reason: str) -> None:
        self.servers.gone(key, reason)

    # What is done from time to time

    def _all_groups(self) -> list[WorkerGroup]:
        return [*self.groups.values(), *self._leaving]

    def _round(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception:
            # Whatever it was, the next round may well go: nobody would look after the children without it.
            self.log.failure("not all is looked at")

    def _look(self) -> None:
        self._guard.look()
        for group in self._all_groups():
            group.look()
        if not self.stopping:
            self._sizing.look()

    def _weigh(self) -> None:
        members = {each.pid: each for group in self._all_groups() for each in group.members if each.pid}
        for pid, count in self._memory(list(members)).items():
            members[pid].memory = count

    # New code

    def reload(self) -> None:
        """
        Read the file anew, and load the code anew, child by child. Where the file cannot be understood, all
        stays as it is.
        """
        if self.stopping:
            return
        try:
            table = self._read()
            peers = peer_arguments(table)
            servers = self._servers(table, peers)
        except TxgearError as error:
            self.log.critical("nothing is loaded anew: {error}", error=error)
            return
        self.log.info("all code is loaded anew")
        if peers != self._peers:
            # They may have to be told of children that have ended until now; the new ones are told of others.
            before, self.servers, self._peers = self.servers, servers, peers
            servers.start()
            _ = before.stop()
        self.table = table
        for name in [name for name in self.groups if name not in table.group]:
            group = self.groups.pop(name)
            self._leaving.append(group)
            _ = group.stop("its group is not there any more", table.stop_timeout).addCallback(
                self._has_left, group
            )
        for name in table.group:
            if name in self.groups:
                self.groups[name].load(self._plan(name))
            else:
                self._begin(name)

    def _has_left(self, _: None, group: WorkerGroup) -> None:
        if group in self._leaving:
            self._leaving.remove(group)
        group.plan.starter.retire()


def _joined(*parts: str) -> str:
    """What something is called, where some parts may be empty."""
    return "-".join(part for part in parts if part)
