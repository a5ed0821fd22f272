"""Read definitions as people write them: as flags, or in a file."""

import sys
import tomllib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from jobstore.model.definition import Draft
from jobstore.model.definition_reader import parse
from jobstore.model.errors import DefinitionInvalid

_TABLE: Final = "definition"


def in_flags(
    header: Sequence[str] = (),
    body_file: Path | None = None,
    data: str | None = None,
    cron: str | None = None,
    time_zone: str | None = None,
    **members: Any,
) -> dict[str, Any]:
    """Return what flags say as a file would say it.

    Raises:
        UsageError: they say two things at once, or something that no header is.
    """
    if ("body" in members) + (body_file is not None) + (data is not None) > 1:
        raise click.UsageError("--body, --body-file and --data cannot be used together")
    if body_file:
        members |= body_of(body_file.read_bytes())
    if data is not None:
        members |= body_of(read_data(data))
    if time_zone and not cron:
        raise click.UsageError("--time-zone is for --cron; give that as well")
    if cron:
        members["schedule"] = {"cron": cron} | ({"time_zone": time_zone} if time_zone else {})
    return members | {"headers": headers_of(header)}


def read_data(data: str) -> bytes:
    """Return the body that TEXT, @FILE or @- for the standard input stands for."""
    if data == "@-":
        return sys.stdin.buffer.read()
    return Path(data[1:]).read_bytes() if data.startswith("@") else data.encode()


def body_of(data: bytes) -> dict[str, str]:
    """Return the member of a JSON document that has this body."""
    try:
        return {"body": data.decode()}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(data).decode()}


def headers_of(fields: Sequence[str]) -> dict[str, list[str]]:
    """Read headers that are written as 'Name: value'.

    Raises:
        BadParameter: one of them is not.
    """
    headers: dict[str, list[str]] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon:
            raise click.BadParameter(f"{name!r} is not a header: expected 'Name: value'.")
        headers.setdefault(name.strip(), []).append(value.strip())
    return headers


def in_file(file: Path) -> list[Draft]:
    """Read all definitions of a file.

    Raises:
        DefinitionInvalid: one of them is invalid, or they are together.
    """
    try:
        document = tomllib.loads(file.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DefinitionInvalid(f"{file}: expected TOML: {error}") from None
    tables = document.get(_TABLE, [document])
    if not isinstance(tables, list) or not tables or (_TABLE in document and len(document) > 1):
        raise DefinitionInvalid(f"{file}: expected one definition, or only [[{_TABLE}]] tables")
    problems: list[str] = []
    drafts = [
        draft
        for place, table in _places(file, tables, numbered=_TABLE in document)
        for draft in _parsed(place, table, problems)
    ]
    paths = Counter(draft.path for draft in drafts)
    problems += [f"{file}: the path {path} occurs {n} times" for path, n in paths.items() if n > 1]
    if problems:
        raise DefinitionInvalid("\n".join(problems))
    return drafts


def _places(file: Path, tables: list[Any], *, numbered: bool) -> Iterator[tuple[str, Any]]:
    for number, table in enumerate(tables, 1):
        yield f"{file}: [[{_TABLE}]] #{number}" if numbered else f"{file}", table


def _parsed(place: str, table: object, problems: list[str]) -> Iterator[Draft]:
    """Yield a draft, or else put down what is wrong with it."""
    try:
        yield parse(table)
    except DefinitionInvalid as invalid:
        problems += [f"{place}: {line}" for line in str(invalid).splitlines()]
