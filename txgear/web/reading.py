"""
What a request brings, read into the types that its operation says.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from txgear.web.answers import JSON, Problem

T = TypeVar("T")

MOST_QUERY: Final = 200
"""Values in a query. No operation takes as many."""

_LISTS: Final = (list, tuple, set, frozenset)


def query(text: bytes, kind: type[T]) -> T:
    """
    Read a query.

    @param text: what stands behind the question mark.
    @param kind: a C{msgspec.Struct}. A name may be repeated only where its field is a list.
    @raise Problem: a name is unknown or repeated, a value is wrong, or it is no query.
    """
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MOST_QUERY,
        )
    except ValueError as error:
        raise Problem(400, "invalid_query", "The query is no percent-encoded UTF-8, or too long") from error
    fields = _fields(kind)  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields:
            known = ", ".join(fields) or "none"
            raise Problem(400, "invalid_query", f"The query has a name that is not known; known are: {known}")
        if fields[name]:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Problem(400, "invalid_query", f"The query has {name} more than once")
        else:
            found[name] = value
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, "invalid_query", f"The query is wrong: {error}") from error


@cache
def _fields(kind: type[Any]) -> dict[str, bool]:
    """The names that a query may have, and whether each is a list."""
    hints = get_type_hints(kind)
    return {
        field.encode_name: (get_origin(hints[field.name]) or hints[field.name]) in _LISTS
        for field in msgspec.structs.fields(kind)
    }


def json(content_type: str, body: bytes, kind: Any) -> Any:
    """
    Read a body of JSON.

    @param content_type: what the request says of it.
    @param kind: the type that it is to have.
    @raise Problem: it has another type, is no JSON, or not what is wanted.
    """
    check_json(content_type)
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid_body", f"The body is not what is wanted: {error}") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed_json", f"The body is no JSON: {error}") from error


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def check_json(content_type: str) -> None:
    """
    @raise Problem: this is not the type of JSON. Forms of other sites cannot send that.
    """
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise Problem(415, "unsupported_media_type", f"The body is to be JSON, with Content-Type: {JSON}")
