"""
The reference of the web's API, made from its own description: the directive C{webapi}, and the description as
a file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from twisted.internet.task import Clock

from txgear.server.jobserver import JobServer
from txgear.server.settings import Settings
from txgear.web.api.openapi import document, encoded
from txgear.web.site import make_web

FILE: Final = Path(__file__).parent / "_build" / "openapi.json"
"""The description of a server with access rules, which pages offer for download."""


def description() -> dict[str, Any]:
    """The document, with all that rules add."""
    return document(make_web(JobServer(Clock(), Settings())).router.routes, secured=True)


def anchor(name: str) -> str:
    """Where a type stands."""
    return "api-type" + re.sub("[A-Z]", lambda found: "-" + found[0].lower(), name)


def shape(schema: dict[str, Any]) -> str:
    """A type in a few words of Markdown."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(shape(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {shape(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {shape(schema['additionalProperties'])}"
    bounds = [
        f"{word} {schema[name]}"
        for name, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "up to"))
        if name in schema and schema[name] < 2**62
    ]
    if "format" in schema:
        bounds.append(schema["format"])
    return " ".join([kind, *bounds]) + (" characters" if "maxLength" in schema else "")


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table in Markdown."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(map(cell, row))} |" for row in rows),
        "",
    ]


def fields(schema: dict[str, Any]) -> list[str]:
    """What an object has."""
    required = schema.get("required", ())
    rows = [
        (
            f"`{name}`",
            shape(inner) + ("" if name in required else ", may be missing"),
            inner.get("description", ""),
        )
        for name, inner in schema["properties"].items()
    ]
    return table(("member", "type", ""), rows)


def operation(method: str, path: str, found: dict[str, Any]) -> list[str]:
    """One of them."""
    lines = [
        f"(api-{found['operationId'].replace('_', '-')})=",
        f"#### `{method.upper()} {path}`",
        "",
        f"{found['summary']}.",
        "",
        found.get("description", ""),
        "",
    ]
    rows = [
        (
            f"`{each['name']}`",
            each["in"],
            shape(each["schema"])
            + (f", default `{each['schema']['default']}`" if "default" in each["schema"] else ""),
            each.get("description", ""),
        )
        for each in found["parameters"]
    ]
    if rows:
        lines += table(("parameter", "in", "type", ""), rows)
    rows = []
    for kind, content in found.get("requestBody", {}).get("content", {}).items():
        rows.append(("body", kind, shape(content["schema"]) if content["schema"] else "bytes"))
    problems = []
    for status, answer in found["responses"].items():
        if "$ref" in answer:
            problems.append(status)
            continue
        for kind, content in answer.get("content", {}).items():
            rows.append((status, kind, shape(content["schema"]) if content["schema"] else "bytes"))
        if "content" not in answer:
            rows.append((status, "", "nothing"))
    lines += table(("", "", ""), rows)
    lines += [f"Problems: {', '.join(problems)}.", ""]
    return lines


def reference(found: dict[str, Any]) -> str:
    """All of it, in Markdown."""
    lines: list[str] = []
    for tag in found["tags"]:
        lines += [f"### {tag['name'].capitalize()}", ""]
        for path, methods in found["paths"].items():
            for method, each in methods.items():
                if each["tags"] == [tag["name"]]:
                    lines += operation(method, path, each)
    lines += ["### Types", ""]
    for name, schema in sorted(found["components"]["schemas"].items()):
        if "properties" in schema:
            lines += [
                f"({anchor(name)})=",
                f"#### {name}",
                "",
                schema["description"],
                "",
                *fields(schema),
            ]
    return "\n".join(lines)


class WebApi(SphinxDirective):
    """The reference."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(reference(description()), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(encoded(description()))
    app.add_directive("webapi", WebApi)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
