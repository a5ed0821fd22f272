"""Definitions in the store."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from jobstore.definition import Definition, Draft, Key
from jobstore.errors import DefinitionExists, DefinitionNotFound
from jobstore.job import Replay
from jobstore.message import Request
from jobstore.store import definition_statements as sql
from jobstore.store.codec import decode_headers, encode_headers
from jobstore.store.sqlite import Connection
from jobstore.store.transitions import LARGEST_ID
from jobstore.store.writer import Transaction, Writer

_PAGE: Final = 200
_NAMES: Final = tuple(column.name for column in sql.COLUMNS)


class Definitions:
    """Keep definitions; each method returns when what it did is on the disk.

    Where a method takes a scope, that is whose definitions whoever asks may see, or None for all.

    Args:
        writer: the one writer.
        reader: a connection for reading.
        secret: the lower-case names of headers whose values are kept apart.
    """

    def __init__(self, writer: Writer, reader: Connection, secret: frozenset[str]) -> None:
        self.secret = secret
        self._writer = writer
        self._reader = reader

    async def create(self, draft: Draft, owner: str) -> Definition:
        """Put a definition in.

        Raises:
            DefinitionExists: there is one with this path.
        """
        return await self._writer.run(lambda tx: self._create(tx, draft, owner))

    def _create(self, tx: Transaction, draft: Draft, owner: str) -> Definition:
        _check_free(tx, draft.path)
        written = self._written(draft)
        definition = tx.insert(sql.CREATE, **written, uuid=str(uuid4()), owner=owner, now=tx.now)
        return _found(tx, definition)

    async def find(self, key: Key, value: int | str, scope: str | None = None) -> Definition:
        """Find a definition.

        Args:
            key: by what.
            value: the value of that.
            scope: whose it has to be.

        Raises:
            DefinitionNotFound: there is none.
        """
        known = not isinstance(value, int) or 0 < value <= LARGEST_ID
        row = await self._reader.row(sql.FIND[key], value=value, scope=scope) if known else None
        if row is None:
            raise DefinitionNotFound(value)
        return _decoded(row)

    async def change(self, definition: Definition, draft: Draft) -> Definition:
        """Let a definition say something else.

        Raises:
            DefinitionNotFound: it was deleted.
            DefinitionExists: there is another one with this path.
        """
        return await self._writer.run(lambda tx: self._change(tx, definition, draft))

    def _change(self, tx: Transaction, definition: Definition, draft: Draft) -> Definition:
        _check_free(tx, draft.path, but_for=definition.id)
        tx.execute(sql.CHANGE, definition=definition.id, now=tx.now, **self._written(draft))
        return _found(tx, definition.id)

    async def delete(self, definition: int, scope: str | None = None) -> None:
        """Delete a definition; its runs go on, and stay in the history.

        Raises:
            DefinitionNotFound: there is none.
        """
        known = 0 < definition <= LARGEST_ID
        if not known or not await self._writer.run(lambda tx: _delete(tx, definition, scope)):
            raise DefinitionNotFound(definition)

    async def page(self, after: int, limit: int, scope: str | None = None) -> list[Definition]:
        """List some definitions, in the order in which they were made.

        Args:
            after: the id of the last one that is known already, or 0.
            limit: how many at most.
            scope: whose.
        """
        after = min(after, LARGEST_ID)
        rows = await self._reader.rows(sql.LIST, after=after, limit=limit, scope=scope)
        return [_decoded(row) for row in rows]

    async def all(self, scope: str | None = None) -> AsyncIterator[Definition]:
        """Go through all definitions, in the order in which they were made."""
        after = 0
        while found := await self.page(after, _PAGE, scope):
            for definition in found:
                yield definition
            after = found[-1].id

    def _written(self, draft: Draft) -> dict[str, object]:
        headers, secrets = encode_headers(draft.request.headers, self.secret)
        return {
            "name": draft.name,
            "path": draft.path,
            "method": draft.request.method,
            "request_target": draft.request.path,
            "headers": headers,
            "secrets": secrets,
            "content": draft.request.body,
            "timeout": draft.timeout,
            "replay": draft.replay,
            "retries": draft.retries,
        }


def _found(tx: Transaction, definition: int) -> Definition:
    row = tx.execute(sql.FIND[Key.ID], value=definition, scope=None).fetchone()
    if row is None:
        raise DefinitionNotFound(definition)
    return _decoded(row)


def _check_free(tx: Transaction, path: str, but_for: int | None = None) -> None:
    row = tx.execute(sql.FIND[Key.PATH], value=path, scope=None).fetchone()
    if row is not None and _decoded(row).id != but_for:
        raise DefinitionExists(path)


def _delete(tx: Transaction, definition: int, scope: str | None) -> bool:
    row = tx.execute(sql.DELETE, definition=definition, now=tx.now, scope=scope).fetchone()
    return row is not None


def _decoded(row: Sequence[Any]) -> Definition:
    values: Mapping[str, Any] = dict(zip(_NAMES, row, strict=True))
    request = Request(
        method=values["method"],
        path=values["request_target"],
        headers=decode_headers(values["headers"], values["secrets"]),
        body=values["content"],
    )
    draft = Draft(
        name=values["name"],
        path=values["path"],
        request=request,
        timeout=values["timeout"],
        replay=Replay(values["replay"]) if values["replay"] else None,
        retries=values["retries"],
    )
    own = {name: values[name] for name in ("id", "file_id", "uuid", "owner")}
    times = {name: values[name] for name in ("created_at", "changed_at")}
    return Definition(**own, **times, draft=draft)
