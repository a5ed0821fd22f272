"""Every call of the APIs, from their description in OpenAPI."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobstore.dialects.native.routes import openapi
from pages.markdown import code, table

Object = Mapping[str, Any]

NAMES: Final = {"native": "The native API", "arangodb": "ArangoDB"}


def calls() -> str:
    """Write a section for each API with its calls, then the records that they use."""
    return "\n".join(_page(openapi()))


def _page(document: Object) -> Iterator[str]:
    for tag in document["tags"]:
        title = NAMES.get(tag["name"], tag["name"].capitalize())
        yield f"## {title}\n\n{_sentence(tag['description'])}\n"
        for path, methods in document["paths"].items():
            for method, call in methods.items():
                if tag["name"] in call.get("tags", ()):
                    yield from _call(document, f"{method.upper()} {path}", call)
    yield "## Records\n"
    for name, schema in document["components"]["schemas"].items():
        yield f"### {name}\n"
        yield from _text(schema)
        yield from table(["Member", "Type", "Meaning"], _members(schema))


def _call(document: Object, name: str, call: Object) -> Iterator[str]:
    yield f"### `{name}`\n\n{_sentence(call['summary'])}\n"
    yield from _text(call)
    parameters = [_resolved(document, each) for each in call.get("parameters", ())]
    rows = (
        (code(each["name"]), each["in"], _type(each["schema"]), _meaning(each))
        for each in parameters
    )
    yield from table(["Parameter", "In", "Type", "Meaning"], rows)
    yield from _body(document, call)
    responses = (
        (status, _answer(document, each)) for status, each in sorted(call["responses"].items())
    )
    yield from table(["Status", "Answer"], responses)


def _body(document: Object, call: Object) -> Iterator[str]:
    if "requestBody" not in call:
        return
    for kind, content in _resolved(document, call["requestBody"])["content"].items():
        schema = content.get("schema", {})
        yield f"Body, as `{kind}`: {_type(schema)}.\n"
        yield from table(["Member", "Type", "Meaning"], _members(schema))


def _members(schema: Object) -> Iterator[tuple[str, str, str]]:
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        need = "" if name in required else ", optional"
        yield code(name), _type(member) + need, _meaning(member)


def _type(schema: Object) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return code(str(schema["const"]))
    if "enum" in schema:
        return ", ".join(code(str(value)) for value in schema["enum"])
    if several := schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf"):
        return " or ".join(_type(each) for each in several)
    kinds = schema.get("type", "any")
    kind = kinds if isinstance(kinds, str) else " or ".join(kinds)
    return f"{kind} of {_type(schema['items'])}" if "items" in schema else str(kind)


def _meaning(schema: Object) -> str:
    inner = schema.get("schema", schema)
    default = f"default {code(str(inner['default']))}" if "default" in inner else ""
    return "; ".join(part for part in (schema.get("description", ""), default) if part)


def _answer(document: Object, response: Object) -> str:
    found = _resolved(document, response)
    schemas = (each.get("schema", {}) for each in found.get("content", {}).values())
    records = dict.fromkeys(_type(schema) for schema in schemas if "$ref" in schema)
    return ": ".join((found["description"], *records))


def _resolved(document: Object, value: Object) -> Object:
    while "$ref" in value:
        place: Object = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        value = place
    return value


def _text(schema: Object) -> Iterator[str]:
    if "description" in schema:
        yield f"{_sentence(schema['description'])}\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
