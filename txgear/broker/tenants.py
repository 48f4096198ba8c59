"""
On whose account jobs are: what each identity may have at once, and what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakValueDictionary

from txgear.broker.limits import Bucket
from txgear.errors import QUOTA_FULL, TOO_FAST, AccessDenied, QueueError
from txgear.quantities import rate_text

if TYPE_CHECKING:
    from txgear.policies import Rate


@dataclass(frozen=True)
class Quota:
    """
    What one identity may have at once.

    @ivar connections: its peers; 0 for no bound.
    @ivar queued: its jobs that have not ended; 0 for no bound.
    @ivar running: how many of them are at workers; 0 for no bound.
    @ivar bytes: of their workloads; 0 for no bound.
    @ivar submits: how fast it may submit, joins included; C{None} for no bound.
    """

    connections: int = 0
    queued: int = 0
    running: int = 0
    bytes: int = 0
    submits: Rate | None = None


UNBOUNDED: Final = Quota()
"""The quota of whoever has none."""


class Tenant:
    """
    One identity's account.

    @ivar name: the identity's name.
    @ivar quota: what it may have.
    @ivar connections: how many peers it has.
    @ivar queued: how many of its jobs have not ended.
    @ivar running: how many of these are at workers.
    @ivar bytes: of their workloads.
    @ivar submits: the bucket from which each submit takes a token.
    @ivar most_queued: bound of C{queued}; infinite for none. A job is asked about it: that is to be one look.
    @ivar most_bytes: bound of C{bytes}, likewise.
    """

    __slots__ = (
        "__weakref__",
        "bytes",
        "connections",
        "most_bytes",
        "most_queued",
        "name",
        "queued",
        "quota",
        "running",
        "submits",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.quota = UNBOUNDED
        self.connections = 0
        self.queued = 0
        self.running = 0
        self.bytes = 0
        self.submits = Bucket()
        self.most_queued: float = inf
        self.most_bytes: float = inf

    def set_quota(self, quota: Quota, now: float) -> None:
        """Let this hold from now on; what it has beyond that it keeps."""
        self.quota = quota
        self.most_queued = quota.queued or inf
        self.most_bytes = quota.bytes or inf
        self.submits.set_rate(quota.submits, now)

    @property
    def held(self) -> bool:
        """Whether as many of its jobs run as may."""
        return 0 < self.quota.running <= self.running

    # Refusals

    def check_connections(self) -> None:
        """
        @raise AccessDenied: it has as many peers as it may.
        """
        if 0 < self.quota.connections <= self.connections:
            text = f"{self.name} has too many connections: connections is {self.quota.connections}"
            raise AccessDenied(text, act="login")

    def too_fast(self) -> QueueError:
        """The error for a submit that found no token in the bucket; it takes one, whatever comes of it."""
        rate = self.quota.submits
        assert rate is not None
        return QueueError(
            f"{self.name} submits too fast: submits is {rate_text(rate.interval)}", why=TOO_FAST
        )

    def check_room(self, size: int) -> None:
        """
        @param size: bytes of the workload of one more job.
        @raise QueueError: there is no room for it.
        """
        if self.queued >= self.most_queued:
            raise QueueError(f"{self.name} has too many jobs: queued is {self.quota.queued}", why=QUOTA_FULL)
        self.check_bytes(size)

    def check_bytes(self, size: int) -> None:
        """
        @param size: bytes of workloads that it is to have more.
        @raise QueueError: there is no room for them.
        """
        if self.bytes + size > self.most_bytes:
            raise QueueError(f"{self.name} has too many jobs: bytes is {self.quota.bytes}", why=QUOTA_FULL)

    def __repr__(self) -> str:
        return f"<Tenant {self.name!r}>"


class Holder(Protocol):
    """
    Whoever may have an account: a peer.

    @ivar tenant: it; C{None} for none.
    """

    tenant: Tenant | None


class Tenants:
    """
    All that are named in the configuration, or have peers or jobs, be they ended ones that are kept.

    @ivar by_name: all of them.
    """

    __slots__ = ("_changed", "_named", "by_name")

    def __init__(self, changed: Callable[[list[Tenant], float], None]) -> None:
        """
        @param changed: called when quotas have changed, with those tenants that had no bound for what runs
            before, and have one and jobs now.
        """
        self._changed = changed
        # Whoever is not named is kept by those who refer to it, and forgotten with the last of them.
        self.by_name: WeakValueDictionary[str, Tenant] = WeakValueDictionary()
        self._named: dict[str, Tenant] = {}

    def get(self, name: str) -> Tenant:
        """The tenant of this name; a new one, if there is none."""
        tenant = self.by_name.get(name)
        if tenant is None:
            tenant = self.by_name[name] = Tenant(name)
        return tenant

    @staticmethod
    def identify(holder: Holder, tenant: Tenant | None) -> None:
        """
        It is known who a peer is, or that it is nobody, or has gone. Its jobs stay on the account that they
        are on.

        @raise AccessDenied: the tenant has as many peers as it may; then the peer is who it was.
        """
        former = holder.tenant
        if tenant is former:
            return
        if tenant is not None:
            tenant.check_connections()
            tenant.connections += 1
        if former is not None:
            former.connections -= 1
        holder.tenant = tenant

    def set_quotas(self, quotas: Mapping[str, Quota], now: float) -> None:
        """
        Let these hold from now on, in place of all others. What somebody has beyond them stays.

        @param quotas: by the names of identities; whoever is not named has no bounds.
        """
        self._named = {name: self.get(name) for name in quotas}
        tenants = list(self.by_name.values())
        bounded = [tenant for tenant in tenants if not tenant.quota.running]
        for tenant in tenants:
            tenant.set_quota(quotas.get(tenant.name, UNBOUNDED), now)
        self._changed([tenant for tenant in bounded if tenant.quota.running and tenant.queued], now)
