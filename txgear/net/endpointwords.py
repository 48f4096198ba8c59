"""
Several servers in one text, and the words of Twisted's endpoint strings, for whoever starts without Twisted.
"""

from __future__ import annotations

import re


def several(text: str) -> list[str]:
    """
    The servers of a text that has them with commas between them, each as it is written.

    A backslash takes the meaning from a comma: C{unix:/run/a\\,b} is one.
    """
    return [found for each in re.findall(r"(?:\\.|[^,])+", text, re.DOTALL) if (found := each.strip())]


def words(text: str) -> tuple[list[str], dict[str, str]]:
    """
    The parts of an endpoint string: those that stand by themselves, and those with a name and C{=}.

    A backslash takes the meaning from what follows.
    """
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in re.findall(r"(?:\\.|[^:\\])+", text):
        name, equals, value = re.findall(r"((?:\\.|[^=\\])*)(=?)(.*)", part, re.DOTALL)[0]
        name, value = (re.sub(r"\\(.)", r"\1", each) for each in (name, value))
        if equals:
            named[name] = value
        else:
            positional.append(name)
    return positional, named
