"""
What C{twistd txgear} makes of its command line: the service that is the server.
"""

from __future__ import annotations

import os
import time

from twisted.application.service import IService

from txgear.daemon.late import import_for_another
from txgear.daemon.logpipe import guard_output
from txgear.daemon.options import Options
from txgear.daemon.process import ProcessService
from txgear.daemon.sources import shown
from txgear.daemon.startup import StandardError, print_mistakes_as_lines
from txgear.net.monotonic import use_monotonic_clock

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Part of C{IServiceMaker}: the server that these options describe."""
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    print_mistakes_as_lines()
    parent = options.parent
    daemon = parent is not None and not parent.get("nodaemon", True)
    import_for_another(parent)
    return ProcessService(
        reactor,
        options.settings(),
        options.spoken(),
        options,
        options.store,
        options.config,
        time.time,
        shown(options, os.environ, options.password_in_url()),
        pid_file=options.pid_file,
        notes=options.notes,
        stderr=StandardError(daemon),
        guard=guard_output,
        environ=os.environ,
        takeover=options.takeover(os.environ),
    )
