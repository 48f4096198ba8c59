"""
Ini files as PHP's C{parse_ini_file} reads them, with sections, and without what it can evaluate.
"""

from __future__ import annotations

import re
from typing import Final

from txgear.errors import ConfigurationError

Section = dict[str, list[str]]
"""The values of each key: one, or those of C{key[] = value}, which may stand there several times."""

_WORDS: Final = {"true": "1", "on": "1", "yes": "1", "false": "", "off": "", "no": "", "none": "", "null": ""}
"""Values that are no texts. In capitals they are the same."""

_SECTION: Final = re.compile(r"\[([^\]]*)\][\s\]]*(?:;.*)?")
_ENTRY: Final = re.compile(r"([^=\[\]]+?)\s*(\[[^\]]*\])?\s*=\s*(.*)", re.DOTALL)
_QUOTED: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"\s*(?:;.*)?|'([^']*)'\s*(?:;.*)?")
_EVALUATED: Final = re.compile(r"[|&~!()^{}\"'=$]")


def read_ini(text: str) -> dict[str, Section]:
    """
    Read an ini file.

    @return: by section, in the order of the file; what stands before the first one has the name C{""}. A
        section, or a key, that is there twice is the last one.
    @raise ConfigurationError: a line is none of an ini file, or has a value that PHP would evaluate; the text
        begins with its number.
    """
    current: Section = {}
    found = {"": current}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line[0] in ";#":
            continue
        if line[0] == "[":
            match = _SECTION.fullmatch(line)
            if match is None or "${" in match[1]:
                raise ConfigurationError(f"line {number}: this is no section: {line[:60]!r}")
            current = found[match[1]] = {}
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise ConfigurationError(f"line {number}: a key and a value are wanted, not {line[:60]!r}")
        key, part, written = entry.groups()
        value = _value(written, number)
        if part is None:
            current[key] = [value]
        else:
            current.setdefault(key, []).append(value)
    return found


def _value(written: str, number: int) -> str:
    """
    @raise ConfigurationError: only PHP can tell what it is.
    """
    if written[:1] in ("'", '"'):
        quoted = _QUOTED.fullmatch(written)
        if quoted is None:
            raise ConfigurationError(f"line {number}: the quotation does not end, or something follows it")
        if quoted[2] is not None:
            return quoted[2]
        value = re.sub(r"\\([\"\\])", r"\1", quoted[1])
        if "${" in value:
            raise ConfigurationError(f"line {number}: write the value in the place of ${{...}}")
        return value
    value = written.partition(";")[0].strip()
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    if _EVALUATED.search(value):
        raise ConfigurationError(
            f"line {number}: PHP evaluates signs of this value; write it in quotation marks: {value[:60]!r}"
        )
    return value
