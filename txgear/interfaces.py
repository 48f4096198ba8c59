"""
What others may provide to a txgear server.

Light on purpose: the plugin cache pickles these interfaces, and every plugin
imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from twisted.internet.interfaces import IProtocolFactory

    from txgear.broker.records import Batch, JobRecord, StoredValue
    from txgear.server.jobserver import JobServer


class IProtocolModule(Interface):
    """
    What a port speaks.

    A module that provides this and C{twisted.plugin.IPlugin} is found in
    C{txgear.plugins}, which other distributions may extend by a folder
    C{txgear/plugins} (without an C{__init__.py}) of their own.
    """

    name: str = Attribute("The word for C{--protocol}: lower-case letters, digits and dashes.")

    description: str = Attribute("One line for the help.")

    parameters: list[tuple[str, str | None, Any, str, Any]] = Attribute(
        """
        The options it adds to the command line, each as in C{optParameters}
        of L{twisted.python.usage.Options}: long name, short name or C{None},
        default, help, and a callable that turns the text into a value or
        raises C{ValueError}. Long names start with the module's own name, so
        that they meet nobody else's.
        """
    )

    port_option: str = Attribute("The option that has the number of its TCP port.")

    def factory(server: JobServer, options: Mapping[str, Any]) -> IProtocolFactory:
        """
        Make what listens on the module's ports; called once, before they open.

        @param server: the broker, the outbox, the clock and the settings.
        @param options: the whole command line, by long names.
        @return: a protocol factory.
        @raise txgear.errors.ConfigurationError: the options make no sense.
        """


class IJobStore(Interface):
    """
    Where background jobs outlive the server.

    Every method blocks until it is done. They are called one at a time, not
    always from the same thread, and never from the reactor's once the server
    is up. Each may raise

      - L{txgear.errors.StoreUnavailable}: no answer, or the connection is lost.
        Nothing but L{open} and L{close} may follow.
      - L{txgear.errors.StoreRefused}: what was given is not taken, and nothing of
        it was done; the store can be worked with as before.
      - L{txgear.errors.StoreUnusable} (L{open} only).

    Jobs are told apart by their number and nothing else.
    """

    name: str = Attribute("What it is and where, for the log; without a password.")

    def open() -> None:
        """
        Connect, lock others out, and bring the schema up to date. Called again after
        L{txgear.errors.StoreUnavailable}, it lets go of what is left of the old connection first.

        @raise txgear.errors.StoreTaken: since it was opened last, another server has opened it.
        """

    def reserve(count: int) -> int:
        """
        Set that many job numbers apart, for good.

        @return: the first of them; at least 1, and above all that were ever reserved or given to L{close}.
        """

    def replay(after: int, limit: int) -> list[JobRecord]:
        """
        Read what is kept, by and by.

        @param after: a job's number, or 0 for the beginning.
        @param limit: jobs to return at the most.
        @return: the kept jobs with a higher number, in the order of their numbers;
            fewer than C{limit} only if there are no more.
        """

    def write(batch: Batch) -> None:
        """
        Do all that the batch says as one transaction, and return when it would
        survive a loss of power.
        """

    def workloads(numbers: Sequence[int]) -> dict[int, bytes]:
        """
        Read workloads.

        @return: them by number; without those that are not kept.
        """

    def results(numbers: Sequence[int]) -> dict[int, bytes]:
        """
        Read results.

        @return: those that are kept and not empty, by number.
        """

    def marks() -> list[StoredValue]:
        """All marks that are kept, with 0 for their numbers."""

    def known(numbers: Sequence[int]) -> set[int]:
        """Those of the numbers whose jobs are kept."""

    def close(next_number: int | None) -> None:
        """
        Let go of everything; does not fail, and twice is once.

        @param next_number: the first number that was not used, if that is
            known: those from there on are no longer reserved.
        """
