"""
What a request brings, read into the types that its operation says.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from txgear.web.answers import JSON, Problem

T = TypeVar("T")

FORM: Final = "application/x-www-form-urlencoded"
"""The type of forms."""

MOST_QUERY: Final = 200
"""Values in a query. No operation takes as many."""

MOST_SHOWN: Final = 40
"""Characters of a name that is not known, as the answer shows it."""

_LISTS: Final = (list, tuple, set, frozenset)

_PLACE: Final = re.compile(r" - at `\$([^`]*)`$")
"""Where a value is wrong, as msgspec says it: C{$.jobs[0].policy}."""
_STEP: Final = re.compile(r"\.([^.\[]+)|\[")
_EXPECTED: Final = re.compile(r"Expected `(\w+)(?: \| null)?`(.*?)(?:, got `str`)?$")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`$")

_VALUES: Final = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
"""What the values of a query are called."""


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
            shown = repr(name[:MOST_SHOWN])
            raise Problem(
                400, "invalid_query", f"The query has {shown}, which is not known; known are: {known}"
            )
        if fields[name]:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Problem(400, "invalid_query", f"The query has {name} more than once")
        else:
            found[name] = value
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, "invalid_query", f"The query is wrong: {_in_query(str(error), kind)}") from error


@cache
def _fields(kind: type[Any]) -> dict[str, bool]:
    """The names that a query may have, and whether each is a list."""
    hints = get_type_hints(kind)
    return {
        field.encode_name: (get_origin(hints[field.name]) or hints[field.name]) in _LISTS
        for field in msgspec.structs.fields(kind)
    }


def _in_query(message: str, kind: Any) -> str:
    """What msgspec says of a value, in the words of a query, which knows neither places nor types."""
    instead = _instead(message, kind)
    place = _PLACE.search(message)
    if place is None:
        missing = _MISSING.fullmatch(message)
        return f"{missing[1]} is wanted" if missing else f"{message}{instead}"
    said = message[: place.start()]
    name = place[1].lstrip(".")
    if "matching regex" in said and (examples := _examples(kind, name)):
        said = f"a value such as {' or '.join(examples)} is wanted"
    elif found := _EXPECTED.fullmatch(said):
        said = f"{_VALUES.get(found[1], found[1])}{found[2]} is wanted"
    return f"{name}: {said}{instead}"


def _examples(kind: Any, name: str) -> list[str]:
    """Values that a field may have, as its type says."""
    names = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
    annotated = _without_none(get_type_hints(kind, include_extras=True)[names[name]])
    metas = [each for each in getattr(annotated, "__metadata__", ()) if isinstance(each, msgspec.Meta)]
    return [repr(example) for meta in metas for example in meta.examples or ()]


def _instead(message: str, kind: Any) -> str:
    """What could have stood in the place of a wrong value or an unknown field, where that is a short list."""
    place = _PLACE.search(message)
    if "unknown field" not in message and "Invalid enum value" not in message:
        return ""
    known = ", ".join(_choices(_kind_at(kind, place[1] if place else "")))
    return f"; known are: {known}" if known else ""


def _kind_at(kind: Any, place: str) -> Any:
    """The type that belongs to a place within a value of this one; C{None} where that is not clear."""
    for step in _STEP.finditer(place):
        kind = _without_none(kind)
        if step[1] is None:
            kind = next(iter(get_args(kind)), None)
        elif _is_struct(kind):
            hints = get_type_hints(kind)
            names = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
            kind = hints.get(names.get(step[1], ""))
        else:
            return None
    return _without_none(kind)


def _without_none(kind: Any) -> Any:
    """A type without what stands there where nothing is said."""
    if get_origin(kind) in (Union, UnionType):
        kinds = [each for each in get_args(kind) if each not in (type(None), msgspec.UnsetType)]
        return kinds[0] if len(kinds) == 1 else None
    return kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _choices(kind: Any) -> list[str]:
    """The names of the fields, or the values, that a type has."""
    if _is_struct(kind):
        return [field.encode_name for field in msgspec.structs.fields(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(each.value) for each in kind]
    return [str(each) for each in get_args(kind)] if get_origin(kind) is Literal else []


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
        detail = f"The body is not what is wanted: {error}{_instead(str(error), kind)}"
        raise Problem(422, "invalid_body", detail) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed_json", f"The body is no JSON: {error}") from error


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def check_form(content_type: str) -> None:
    """
    @raise Problem: this is not the type of the forms that pages send.
    """
    if _media_type(content_type) != FORM:
        raise Problem(415, "unsupported_media_type", f"A form is wanted, with Content-Type: {FORM}")


def check_json(content_type: str) -> None:
    """
    @raise Problem: this is not the type of JSON. Forms of other sites cannot send that.
    """
    if _media_type(content_type) != JSON:
        raise Problem(415, "unsupported_media_type", f"The body is to be JSON, with Content-Type: {JSON}")
