#!/usr/bin/env bash
# Twisted's INotify: once one of the folders that it watches is removed, or one of the files replaced, it tells of
# nothing any more, in whatever it watches.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11, Linux. Not with 20.3.0.
# Needs: python3 with venv, Linux.
#
# Expected: the watch of what was removed ends, and the others go on, as they do in the kernel. The example in the
#   module's docstring watches two folders with one INotify; with autoAdd it watches all folders of a tree, as they come
#   and go.
# Happens: the event that a watched path is gone closes the whole INotify: its descriptor, and all watches with it. No
#   error, no word in the log; the only sign is that last event. So the first folder that goes from a tree is the last
#   thing that is seen of the tree; and of some watched files, none is after an editor has saved one of
#   them, which it does by renaming a new file to the old name. Who knows beforehand can call ignore() first.
#
# Output:
#   two folders: seen, then one is removed: not seen
#   two folders, ignore() before: seen, then one is removed: seen
#   a tree with autoAdd: seen, then a folder in it is removed: not seen
#   two files: seen, then one is replaced: not seen
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

mkdir "$work/watched"
timeout 60 "$work/venv/bin/python" - "$work/watched" <<'PYTHON'
import sys

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.inotify import IN_CREATE, IN_MODIFY, INotify
from twisted.internet.task import deferLater, react
from twisted.python.filepath import FilePath

WANTED = """\
two folders: seen, then one is removed: not seen
two folders, ignore() before: seen, then one is removed: seen
a tree with autoAdd: seen, then a folder in it is removed: not seen
two files: seen, then one is replaced: not seen"""


class Watched:
    """A folder with two folders and two files, and what is seen of changes."""

    def __init__(self, name):
        self.folder = FilePath(sys.argv[1]).child(name)
        self.one, self.two = self.folder.child("one"), self.folder.child("two")
        self.here, self.there = self.folder.child("here"), self.folder.child("there")
        for made in (self.one, self.two):
            made.makedirs()
        for made in (self.here, self.there):
            made.setContent(b"old")
        self.changed = set()
        self.notifier = INotify()
        self.notifier.startReading()

    def watch(self, *paths, **options):
        for path in paths:
            self.notifier.watch(path, callbacks=[self._notify], **options)
        return self

    def _notify(self, ignored, path, mask):
        if mask & (IN_CREATE | IN_MODIFY):
            self.changed.add(path.asTextMode().path)

    async def seen(self, path):
        """Write to a file, and say whether that is seen within a second."""
        self.changed.clear()
        with open(path.path, "ab") as file:
            file.write(b"new")
        for _ in range(20):
            await deferLater(reactor, 0.05)
            if path.path in self.changed:
                return "seen"
        return "not seen"


async def judge(reactor):
    lines = []
    case = Watched("a")
    case.watch(case.one, case.two)
    before = await case.seen(case.two.child("new"))
    case.one.remove()
    await deferLater(reactor, 0.1)
    lines.append(f"two folders: {before}, then one is removed: {await case.seen(case.two.child('newer'))}")

    case = Watched("b")
    case.watch(case.one, case.two)
    before = await case.seen(case.two.child("new"))
    case.notifier.ignore(case.one)
    case.one.remove()
    await deferLater(reactor, 0.1)
    after = await case.seen(case.two.child("newer"))
    lines.append(f"two folders, ignore() before: {before}, then one is removed: {after}")

    case = Watched("c")
    case.watch(case.folder, recursive=True, autoAdd=True)
    before = await case.seen(case.folder.child("new"))
    case.one.remove()
    await deferLater(reactor, 0.1)
    after = await case.seen(case.folder.child("newer"))
    lines.append(f"a tree with autoAdd: {before}, then a folder in it is removed: {after}")

    case = Watched("d")
    case.watch(case.here, case.there)
    before = await case.seen(case.there)
    case.folder.child("other").setContent(b"new")
    case.folder.child("other").moveTo(case.here)
    await deferLater(reactor, 0.1)
    lines.append(f"two files: {before}, then one is replaced: {await case.seen(case.there)}")
    return "\n".join(lines)


found = []
try:
    react(lambda reactor: ensureDeferred(judge(reactor)).addCallback(found.append))
except SystemExit as end:
    if end.code:
        raise
print(found[0])
sys.exit(0 if found[0] == WANTED else 1)
PYTHON
