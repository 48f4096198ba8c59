"""
The description of the web: an OpenAPI document, made from the operations of all routes and the types that
they read and answer.

It says nothing by itself: what it tells of a field stands in the docstring of its type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, get_args, get_origin

import msgspec
from apispec import APISpec
from msgspec import UNSET, Struct, UnsetType

from txgear._version import __version__
from txgear.web.answers import JSON, PROBLEM_JSON, Answer
from txgear.web.api.models import ROOT
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

OPENAPI: Final = "3.1.0"
BYTES: Final = "application/octet-stream"

API_VERSION: Final = "1"

TITLE: Final = "txgear"
SUMMARY: Final = "What programs see of a txgear job server, and what they can do with it."

SCHEMES: Final[dict[str, Any]] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the identity, as `txgear token new` makes them.",
    },
    "certificate": {"type": "mutualTLS", "description": "A client certificate of the identity, over TLS."},
}
"""How one says who one is, where there are access rules."""

ALWAYS: Final = (400, 406, 414, 421, 503)
"""
Problems that every request can end with: it makes no sense, takes no answer of the type that there is, is too
long, has a
wrong C{Host}, or comes while the server ends.
"""
WITH_RULES: Final = (401, 403)
"""Those that every request can end with besides where there are access rules."""


class ProblemDetails(Struct, frozen=True, kw_only=True):
    """
    Why a request was not carried out: problem details (RFC 9457). There may be further members.

    @ivar type: what kind of problem it is, for programs: C{urn:txgear:problem:} and a word.
    @ivar title: the status in words.
    @ivar status: the HTTP status.
    @ivar detail: what is wrong with this request, for people.
    @ivar instance: which request it was: C{urn:txgear:request:} and what its header C{Request-Id} has.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str


# Words


def plain(text: str) -> str:
    """Text of a docstring as Markdown."""
    text = re.sub(r"L\{(?:[^{}<]*?<)?([^{}<>]*)>?\}", lambda found: f"`{found[1].rpartition('.')[2]}`", text)
    return re.sub(r"[CIB]\{([^{}]*)\}", r"`\1`", text)


def words_of(kind: type) -> tuple[str, dict[str, str]]:
    """
    What the docstring of a type says.

    @return: what it says of it, and of its fields by name, those included that it inherits.
    """
    fields: dict[str, str] = {}
    text = ""
    for base in reversed(kind.__mro__):
        text, *tagged = re.split(r"^\s*@", base.__dict__.get("__doc__") or "", flags=re.MULTILINE)
        for tag in tagged:
            name, _, said = tag.removeprefix("ivar ").partition(":")
            fields[name.strip()] = plain(" ".join(said.split()))
    return plain("\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))), fields


def _structs(kinds: Iterable[Any]) -> dict[str, type[Struct]]:
    """All structs within these types, by name."""
    found: dict[str, type[Struct]] = {}

    def look_into(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            kind = info.cls
            if kind.__name__ in found and found[kind.__name__] is kind:
                return
            if found.setdefault(kind.__name__, kind) is not kind:
                raise ValueError(f"two types of the API are called {kind.__name__}")
        for name in ("fields", "types", "item_types"):
            for inner in getattr(info, name, ()):
                look_into(inner)
        for name in ("type", "item_type", "key_type", "value_type"):
            if isinstance(inner := getattr(info, name, None), msgspec.inspect.Type):
                look_into(inner)

    for info in msgspec.inspect.multi_type_info(kinds):
        look_into(info)
    return found


def _described(schema: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    """The schema of a struct, with the words of its docstring."""
    text, fields = words_of(kind)
    names = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    properties = {
        name: {**inner, **({"description": said} if (said := fields.get(names[name])) else {})}
        for name, inner in schema["properties"].items()
    }
    return {**schema, "description": text, "properties": properties}


# The document


def _parts(kind: Any) -> tuple[Any, bool]:
    """
    The type of an answer without C{bytes}.

    @return: it, C{None} if nothing is left; and whether C{bytes} was there.
    """
    if kind is bytes:
        return None, True
    inner = get_args(kind) if bytes in get_args(kind) and get_origin(kind) not in (list, dict, tuple) else ()
    if not inner:
        return kind, False
    rest = [each for each in inner if each is not bytes]
    return (rest[0] if len(rest) == 1 else _union(rest)), True


def _union(kinds: list[Any]) -> Any:
    found = kinds[0]
    for kind in kinds[1:]:
        found = found | kind
    return found


class _Description:
    """
    The parts of the document that refer to schemas.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        kinds: list[Any] = [ProblemDetails]
        for operation in operations:
            answers = [_parts(kind)[0] for kind in operation.answers.values()]
            kinds += [kind for kind in (*answers, operation.body) if kind not in (None, str)]
            # Their fields are parameters: only what these refer to are schemas.
            kinds += [kind for kind in (operation.query, operation.headers) if kind is not None]
        unique = list(dict.fromkeys(kinds))
        structs = _structs(unique)
        schemas, components = msgspec.json.schema_components(
            unique, ref_template="#/components/schemas/{name}"
        )
        self._schemas = dict(zip(unique, schemas, strict=True))
        self.components = {
            name: _described(schema, structs[name]) if name in structs else schema
            for name, schema in components.items()
        }

    def without_parameters(self, operations: Iterable[Operation]) -> dict[str, Any]:
        """The schemas of what is not only a list of parameters."""
        lists = {
            kind.__name__
            for operation in operations
            for kind in (operation.query, operation.headers)
            if kind is not None
        }
        return {name: schema for name, schema in self.components.items() if name not in lists}

    def parameters(self, kind: type | None, place: str) -> list[dict[str, Any]]:
        """
        The fields of a struct as parameters.

        @param place: C{query} or C{header}.
        """
        if kind is None:
            return []
        schema = self.components[kind.__name__]
        found = []
        for name, inner in schema["properties"].items():
            shape = {key: value for key, value in inner.items() if key != "description"}
            parameter = {"name": name, "in": place, "schema": shape}
            if "description" in inner:
                parameter["description"] = inner["description"]
            if name in schema["required"]:
                parameter["required"] = True
            found.append(parameter)
        return found

    def answer(self, operation: Operation, status: int) -> dict[str, Any]:
        """What is answered with a status that is no problem's."""
        kind, raw = _parts(operation.answers[status])
        own = operation.content_types.get(status)
        content: dict[str, Any] = {}
        if raw:
            content[own or BYTES] = {"schema": {}}
        if kind is str:
            content[own or "text/plain"] = {"schema": {"type": "string"}}
        elif kind is not None:
            content[JSON if raw else own or JSON] = {"schema": self._schemas[kind]}
        found: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if content:
            found["content"] = content
        return found

    def body(self, operation: Operation) -> dict[str, Any] | None:
        """What the body of a request is."""
        content: dict[str, Any] = {}
        if operation.raw_body:
            content[BYTES] = {"schema": {}}
        if operation.body is not None:
            content[JSON] = {"schema": self._schemas[operation.body]}
        return {"required": operation.body is not None, "content": content} if content else None


def document(routes: Iterable[Route], secured: bool) -> dict[str, Any]:
    """
    Describe these routes, those of them that have an operation.

    @param secured: whether there are access rules.
    @raise ValueError: two operations, or two types that they use, have the same name.
    """
    described = [(route, route.operation) for route in routes if route.operation is not None]
    names = [operation.name for _, operation in described]
    if len(set(names)) < len(names):
        raise ValueError(f"two operations have the same name: {sorted(names)}")
    operations = [operation for _, operation in described]
    description = _Description(operations)
    options: dict[str, Any] = {"info": {"summary": SUMMARY, "x-server-version": __version__}}
    if secured:
        options["security"] = [{name: []} for name in SCHEMES]
    tags = list(dict.fromkeys(operation.tag for operation in operations))
    spec = APISpec(TITLE, API_VERSION, OPENAPI, **options)
    for tag in tags:
        spec.tag({"name": tag})
    for name, schema in description.without_parameters(operations).items():
        spec.components.schema(name, schema)
    if secured:
        for name, scheme in SCHEMES.items():
            spec.components.security_scheme(name, scheme)
    for status in sorted({each for operation in operations for each in _problems(operation, secured)}):
        spec.components.response(_problem_name(status), _problem(status))
    for route, operation in described:
        what = _operation(route, operation, description, secured)
        spec.path(path=path_of(route.rule), operations={route.method.lower(): what})
    return spec.to_dict()


def path_of(rule: str) -> str:
    """A rule of werkzeug's as OpenAPI writes paths."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def _problems(operation: Operation, secured: bool) -> list[int]:
    found = {*ALWAYS, *operation.problems} | (set(WITH_RULES) if secured else set())
    if operation.body is not None:
        found |= {413, 415, 422}
    elif operation.raw_body:
        found |= {413, 415}
    # What has an answer of its own is none.
    return sorted(found - operation.answers.keys())


def _problem_name(status: int) -> str:
    return re.sub(r"\W", "", HTTPStatus(status).phrase.title())


def _problem(status: int) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/ProblemDetails"}
    return {"description": HTTPStatus(status).phrase, "content": {PROBLEM_JSON: {"schema": reference}}}


def _operation(
    route: Route, operation: Operation, description: _Description, secured: bool
) -> dict[str, Any]:
    parts = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", path_of(route.rule))
    ]
    responses: dict[str, Any] = {
        str(status): description.answer(operation, status) for status in operation.answers
    }
    responses.update({str(status): _problem_name(status) for status in _problems(operation, secured)})
    for name, parameters in operation.links.items():
        for status in operation.answers:
            if 200 <= status < 300:
                links = responses[str(status)].setdefault("links", {})
                links[name] = {"operationId": name, "parameters": dict(parameters)}
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *parts,
            *description.parameters(operation.query, "query"),
            *description.parameters(operation.headers, "header"),
        ],
        "responses": responses,
    }
    if operation.description:
        found["description"] = operation.description
    if secured and route.free:
        found["security"] = []
    body = description.body(operation)
    if body is not None:
        found["requestBody"] = body
    return found


# Where it is served


class Document(Struct, frozen=True, kw_only=True):
    """
    An OpenAPI document.

    @ivar openapi: the version of OpenAPI.
    @ivar info: title and version.
    @ivar paths: what can be asked.
    @ivar components: the types of what is asked and answered.
    @ivar tags: groups of paths.
    @ivar security: how one says who one is; missing where nobody needs to.
    """

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]
    tags: list[dict[str, Any]]
    security: list[dict[str, Any]] | UnsetType = UNSET


class Description:
    """
    The document of one web. To make it takes some tens of milliseconds: that is done when the server starts,
    and once more when it has its first access rules, or none any more.
    """

    def __init__(
        self, routes: Callable[[], Iterable[Route]], secured: Callable[[], bool], ahead: bool = True
    ) -> None:
        """
        @param ahead: whether it is made when the server starts, and not only when somebody asks for it.
        """
        self._ahead = ahead
        self._routes = routes
        self._secured = secured
        self._made: dict[bool, bytes] = {}

    def start(self) -> None:
        """Part of L{txgear.web.web.Part}."""
        if self._ahead:
            self._document()

    def stop(self) -> None:
        """Part of L{txgear.web.web.Part}."""

    def _document(self) -> bytes:
        secured = self._secured()
        if secured not in self._made:
            self._made[secured] = encoded(document(self._routes(), secured))
        return self._made[secured]

    def serve(self, request: WebRequest) -> Answer:
        """The document."""
        return Answer(self._document())


def encoded(document: Mapping[str, Any]) -> bytes:
    """The document as it is served and published."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    secured = lambda: bool(web.server.guard.access.rules)  # noqa: E731
    description = web.own(Description(lambda: web.router.routes, secured, web.prepared))
    operation = Operation(
        "get_description",
        "This description",
        "server",
        "It says what the server that serves it can do; with access rules also how one says who one is.",
        answers={200: Document},
    )
    return [Route("GET", f"{ROOT}/openapi.json", description.serve, operation)]
