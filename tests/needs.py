"""What of other languages is installed here."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from typing import Final

import pytest

#: With TXGEAR_REQUIRE_INTEROP=1 a missing program fails the test instead of skipping it.
INSISTS: Final = os.environ.get("TXGEAR_REQUIRE_INTEROP") == "1"


@functools.cache
def _succeeds(*command: str, stdin: str = "") -> bool:
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=30, check=False)
    return done.returncode == 0


def _missing(program: str, php_extension: str, perl_module: str, c_header: str) -> str:
    path = shutil.which(program)
    if path is None:
        return f"there is no program {program}"
    if php_extension and not _succeeds(path, "-r", f'exit(extension_loaded("{php_extension}") ? 0 : 1);'):
        return f"PHP has no extension {php_extension}"
    if perl_module and not _succeeds(path, f"-M{perl_module}", "-e", "1"):
        return f"Perl has no module {perl_module}"
    if c_header and not _succeeds(
        path, "-E", "-o", os.devnull, "-x", "c", "-", stdin=f"#include <{c_header}>\n"
    ):
        return f"{program} finds no header {c_header}"
    return ""


def requires(program: str, *, php_extension: str = "", perl_module: str = "", c_header: str = "") -> str:
    """The path of a program; without it, or what it must have, the test is skipped, or fails if we insist."""
    lacks(_missing(program, php_extension, perl_module, c_header))
    return shutil.which(program) or program


def lacks(reason: str) -> None:
    """Skip the test for this reason, or fail it if we insist; go on if there is none."""
    if reason and INSISTS:
        pytest.fail(f"{reason}, and TXGEAR_REQUIRE_INTEROP=1 asks for it")
    if reason:
        pytest.skip(reason)
