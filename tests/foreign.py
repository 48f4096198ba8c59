"""Programs in other languages, with clients and workers that are not txgear's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from processes import Program, Programs, Server, programs_folder, run


class Foreign:
    """The programs `client` and `worker` of one language, talking to one server."""

    def __init__(
        self, interpreter: str | Path, ending: str, server: Server, programs: Programs, prefix: str
    ) -> None:
        self.interpreter = interpreter
        self.server = server
        self.programs = programs
        self.prefix = prefix
        self.servers = f"127.0.0.1:{server.port}"
        self._ending = ending

    def command(self, program: str, *arguments: str, servers: str = "") -> list[str | Path]:
        """The command line of a program."""
        path = programs_folder() / f"{program}{self._ending}"
        return [self.interpreter, path, servers or self.servers, self.prefix, *arguments]

    def client(self, *arguments: str, servers: str = "") -> Any:
        """Run one of the client's scenarios, and return what it saw."""
        return self.run("client", *arguments, servers=servers)

    def run(self, program: str, *arguments: str, servers: str = "") -> Any:
        """Run a program to its end, and return what it says."""
        done = run(self.command(program, *arguments, servers=servers))
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    def start_client(self, *arguments: str) -> Program:
        """Start one of the client's scenarios."""
        return self.start("client", *arguments)

    def start(self, program: str, *arguments: str, servers: str = "") -> Program:
        """Start a program."""
        return self.programs.start(self.command(program, *arguments, servers=servers), name=program)

    def function(self, name: str) -> str:
        return f"{self.prefix}_{name}"
