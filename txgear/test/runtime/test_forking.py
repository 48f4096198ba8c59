"""Tests of L{txgear.runtime.forking}: children that a template makes, and what becomes of them without it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.birth import CONTROL, INHERITED, Birth
from txgear.runtime.control import ControlError, Failed, Lines, Loaded, line
from txgear.runtime.forking import ORPHAN_SECONDS, ForkStarter
from txgear.runtime.processes import STDERR, Ending
from txgear.runtime.processgroups import Group
from txgear.runtime.starters import Born
from txgear.runtime.template import Ended, Fork, Forked, Preload, Refused, ToTemplate
from txgear.test.runtime.test_member import FakeGroup, Reactor

PRELOAD = Preload(name="shop-g", path=("code",), modules=("jobs",))
LOAD_SECONDS = 5.0
NOBODY = 1 << 22
"""The number of no process: Linux has none beyond."""


class Template:
    """
    A template, as its starter sees it: the test speaks for it.

    @ivar born: its process.
    """

    def __init__(self, birth: Birth) -> None:
        self.born = Born(FakeGroup(70, birth.mark))
        self._control = socket.socket(fileno=os.dup(birth.theirs[CONTROL]))
        self._stderr = os.dup(birth.theirs[STDERR])
        self._lines = Lines(ToTemplate)
        self.descriptors: list[int] = []
        birth.handed_over()

    def say(self, *messages: Struct) -> None:
        self._control.sendall(b"".join(map(line, messages)))

    def complain(self, text: bytes) -> None:
        """Write to standard error."""
        os.write(self._stderr, text)

    def told(self) -> list[Any]:
        """What it hears; what comes with that is in C{descriptors}."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, 1 << 16, 64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        self.descriptors += descriptors
        return self._lines.take(data)

    def is_left(self) -> bool:
        """Whether the supervisor will say nothing more."""
        return not self._control.recv(1 << 16, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self.hang_up()
        for descriptor in (self._stderr, *self.descriptors):
            os.close(descriptor)

    def hang_up(self) -> None:
        self._control.close()


class ForkingTests(SynchronousTestCase):
    def setUp(self) -> None:
        FakeGroup.killed = []
        self.reactor = Reactor()
        self.guarded: list[Group] = []
        self.spawned: list[str] = []
        self.failure: OSError | None = None
        self.templates: list[Template] = []
        self.starter = ForkStarter(
            self.reactor, self.reactor, self, {"A": "b"}, PRELOAD, LOAD_SECONDS, self.spawn
        )

    def begins(self, group: Group) -> None:
        self.guarded.append(group)

    def has_ended(self, group: Group) -> None:
        self.guarded.remove(group)

    def spawn(self, module: str, birth: Birth, environment: Mapping[str, str]) -> Born:
        self.assertEqual(environment, {"A": "b"})
        self.spawned.append(module)
        if self.failure is not None:
            birth.handed_over()
            raise self.failure
        if module == "txgear.runtime.template":
            template = Template(birth)
            self.addCleanup(template.close)
            self.templates.append(template)
            return template.born
        birth.handed_over()
        return Born(FakeGroup(80, birth.mark))

    def start(self) -> tuple[Birth, Deferred[Born]]:
        birth = Birth(0, "g-1")
        self.addCleanup(birth.undone)
        return birth, self.starter.start(birth)

    def loaded(self) -> Template:
        """A template that makes copies, and has made none."""
        _, waiting = self.start()
        template = self.templates[-1]
        self.say(template, Loaded([]))
        self.say(template, Forked(1, NOBODY))
        self.successResultOf(waiting)
        self.say(template, Ended(NOBODY, 0))
        template.told()
        return template

    def say(self, template: Template, *messages: Struct) -> None:
        template.say(*messages)
        self.reactor.turn()

    def end(self, template: Template, ending: Ending | None) -> None:
        template.born.has_ended(ending)
        self.reactor.turn()

    # A template that does what it is to

    def test_copies(self) -> None:
        """The first child starts it; copies are made once the modules are imported, and get descriptors."""
        first, one = self.start()
        second, two = self.start()
        self.assertEqual(self.spawned, ["txgear.runtime.template"])
        (template,) = self.templates
        self.assertEqual(self.guarded, [template.born.group])
        self.assertEqual(template.told(), [PRELOAD])
        self.say(template, Loaded([]))
        self.assertEqual(template.told(), [Fork(1, first.mark)])
        self.assertEqual(template.told(), [Fork(2, second.mark)])
        self.assertEqual(len(template.descriptors), 2 * len(INHERITED))
        self.assertEqual((first.theirs, second.theirs), ({}, {}))
        self.say(template, Forked(2, 72), Forked(1, 71))
        born = self.successResultOf(one), self.successResultOf(two)
        self.assertEqual([each.group.pid for each in born], [71, 72])
        self.assertEqual([each.group.mark for each in born], [first.mark, second.mark])
        self.say(template, Ended(71, 3 << 8), Ended(72, 9))
        self.assertEqual(self.successResultOf(born[0].ended), Ending(3, None))
        self.assertEqual(self.successResultOf(born[1].ended), Ending(None, 9))

    def test_the_end(self) -> None:
        """It is told that nobody will be started any more, and ends by itself."""
        template = self.loaded()
        self.starter.retire()
        self.assertTrue(template.is_left())
        self.assertEqual(FakeGroup.killed, [])
        self.end(template, Ending(0, None))
        self.assertEqual((self.guarded, self.reactor.readers), ([], []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.starter.retire()

    def test_the_end_while_it_loads(self) -> None:
        """It has no children: it is killed."""
        _, waiting = self.start()
        self.starter.retire()
        self.assertEqual(FakeGroup.killed, [70])
        self.end(self.templates[0], Ending(None, 9))
        self.failureResultOf(waiting, ControlError)

    # One that does not

    def test_it_cannot_be_started(self) -> None:
        self.failure = OSError(11, "no more processes")
        birth, waiting = self.start()
        self.failureResultOf(waiting, OSError)
        self.assertEqual((birth.theirs, self.guarded, self.reactor.readers), ({}, [], []))
        # The next child tries it again.
        self.failure = None
        _, waiting = self.start()
        self.assertNoResult(waiting)

    def test_modules_that_cannot_be_imported(self) -> None:
        """Its children are told why. The next one gets a new template: the code may be another by then."""
        birth, waiting = self.start()
        template = self.templates[0]
        self.say(template, Failed("SyntaxError: no"))
        self.end(template, Ending(1, None))
        self.assertEqual(self.failureResultOf(waiting, ControlError).getErrorMessage(), "SyntaxError: no")
        self.assertEqual(birth.theirs, {})
        _, waiting = self.start()
        self.assertEqual(len(self.templates), 2)
        self.end(self.templates[1], Ending(None, 9))
        said = self.failureResultOf(waiting, ControlError).getErrorMessage()
        self.assertEqual(said, f"its template has ended ({Ending(None, 9)})")

    def test_what_it_said_last(self) -> None:
        _, waiting = self.start()
        self.templates[0].complain(b"out of memory\n")
        self.end(self.templates[0], Ending(1, None))
        self.assertIn("out of memory", self.failureResultOf(waiting, ControlError).getErrorMessage())

    def test_an_import_that_does_not_end(self) -> None:
        _, waiting = self.start()
        self.reactor.advance(LOAD_SECONDS - 0.1)
        self.assertEqual(FakeGroup.killed, [])
        self.reactor.advance(0.2)
        self.assertEqual(FakeGroup.killed, [70])
        self.end(self.templates[0], Ending(None, 9))
        said = self.failureResultOf(waiting, ControlError).getErrorMessage()
        self.assertEqual(said, "its template has not imported the modules within 5 s")

    def test_one_that_must_not_be_copied(self) -> None:
        """Each child is an interpreter of its own instead, now and later."""
        _, one = self.start()
        with capturedLogs() as events:
            self.say(self.templates[0], Refused("a module has started a thread"))
        self.assertIn("a module has started a thread", formatEvent(events[0]))
        self.end(self.templates[0], Ending(1, None))
        _, two = self.start()
        self.assertEqual([self.successResultOf(each).group.pid for each in (one, two)], [80, 80])
        self.assertEqual(self.spawned[1:], ["txgear.runtime.child"] * 2)

    def test_orphans(self) -> None:
        """Somebody has killed it: its children go on, and their ends are seen all the same."""
        template = self.loaded()
        _, one = self.start()
        _, two = self.start()
        self.say(template, Forked(2, os.getpid()), Forked(3, NOBODY))
        here, gone = self.successResultOf(one), self.successResultOf(two)
        self.end(template, Ending(None, 9))
        self.assertIsNone(self.successResultOf(gone.ended))
        self.assertNoResult(here.ended)
        self.reactor.advance(ORPHAN_SECONDS)
        self.assertNoResult(here.ended)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)

    def test_one_that_hears_nothing_more(self) -> None:
        """Its children cannot be started; who wants them tries again when it has ended."""
        template = self.loaded()
        template.hang_up()
        birth, waiting = self.start()
        self.failureResultOf(waiting, OSError)
        self.assertEqual(birth.theirs, {})
