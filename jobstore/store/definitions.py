"""Definitions in the store."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import (
    Integer,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)

from jobstore.model.account import NOBODY
from jobstore.model.definition import Definition, DefinitionKey, Draft
from jobstore.model.errors import DefinitionAmbiguous, DefinitionExists, DefinitionNotFound
from jobstore.model.message import Request
from jobstore.model.schedule import CatchUp, Overlap, Schedule, next_fire
from jobstore.store import jobs, schema
from jobstore.store.codec import decode_headers, decode_policy, encode_headers
from jobstore.store.expressions import NO_BYTES, Statement, constant, next_id, number
from jobstore.store.facts import Fires
from jobstore.store.guards import ZERO, limit, now
from jobstore.store.reading import Reader
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer

_job: Final = schema.JOB.c
_definition: Final = schema.DEFINITION.c
COLUMNS: Final = tuple(
    column for column in schema.DEFINITION.columns if column.name != "deleted_at"
)
_WRITTEN: Final = (
    "name",
    "path",
    "method",
    "request_target",
    "headers",
    "secrets",
    "content",
    "timeout",
    "replay",
    "retries",
    "cron",
    "time_zone",
    "catch_up",
    "overlap",
    "paused",
    "fires_at",
)
_current: Final = _definition.deleted_at.is_(None)
_scope: Final = number("scope")
_in_scope: Final = or_(_scope.is_(None), _definition.account == _scope)
_this: Final = and_(_definition.id == bindparam("definition"), _current)
# So far apart that taking one of the two numbers for the other is noticed.
_file_id: Final = next_id(constant("definition")) + literal_column("1000000", Integer)
CREATE: Final = Statement(
    insert(schema.DEFINITION).values(
        {name: bindparam(name) for name in (*_WRITTEN, "uuid", "owner", "account")}
        | {"file_id": _file_id, "created_at": now, "changed_at": now}
    )
)
FIND: Final[Mapping[DefinitionKey, Statement]] = {
    key: Statement(
        select(*COLUMNS).where(_definition[key] == bindparam("value"), _current, _in_scope)
    )
    for key in DefinitionKey
}
AT: Final = Statement(
    select(*COLUMNS).where(
        _definition.path == bindparam("path"),
        _definition.account == bindparam("of_account"),
        _current,
    )
)
CHANGE: Final = Statement(
    update(schema.DEFINITION)
    .where(_this)
    .values({name: bindparam(name) for name in _WRITTEN} | {"changed_at": now})
)
DELETE: Final = Statement(
    update(schema.DEFINITION)
    .where(_this, _in_scope)
    .values(
        deleted_at=now,
        headers=constant("[]"),
        secrets=null(),
        content=NO_BYTES,
        fires_at=null(),
    )
    .returning(_definition.id)
)
LIST: Final = Statement(
    select(*COLUMNS)
    .where(_definition.id > bindparam("after"), _current, _in_scope)
    .order_by(_definition.id)
    .limit(limit)
    .offset(ZERO)
)
DROP: Final = Statement(
    delete(schema.DEFINITION).where(
        _definition.deleted_at.is_not(None), ~exists().where(_job.definition == _definition.id)
    )
)
_PAGE: Final = 200
_NAMES: Final = schema.names(COLUMNS)


class Definitions:
    """The definitions of a store; each method returns once its change is on the disk.

    Where a method takes a scope, it is the account whose definitions the caller may see, or None
    for all.

    Args:
        secret: the lower-case names of headers whose values are stored apart.
    """

    def __init__(self, writer: Writer, reader: Reader, secret: frozenset[str]) -> None:
        self.secret = secret
        self._writer = writer
        self._reader = reader

    async def create(self, draft: Draft, owner: str, account: int = NOBODY) -> Definition:
        """Insert a definition.

        Args:
            draft: its contents.
            owner: the owner's name.
            account: the account it belongs to.

        Raises:
            DefinitionExists: the account already has one with this path.
        """
        return await self._writer.run(lambda tx: self._create(tx, draft, owner, account))

    def _create(self, tx: Transaction, draft: Draft, owner: str, account: int) -> Definition:
        _check_free(tx, draft.path, account)
        written = self._written(draft, next_fire(draft.schedule, tx.now))
        own = {"uuid": str(uuid4()), "owner": owner, "account": account}
        return _changed(tx, tx.insert(CREATE, **written, **own, now=tx.now))

    async def find(
        self, key: DefinitionKey, value: int | str, scope: int | None = None
    ) -> Definition:
        """Find a definition.

        Args:
            key: the kind of key.
            value: its value.
            scope: only if it belongs to this account; None for any.

        Raises:
            DefinitionNotFound: it does not exist.
        """
        known = not isinstance(value, int) or 0 < value <= jobs.LARGEST_ID
        row = await self._reader.row(FIND[key], value=value, scope=scope) if known else None
        if row is None:
            raise DefinitionNotFound(value)
        return decoded(row)

    async def at(self, path: str, scope: int | None = None, own: int = NOBODY) -> Definition:
        """Find the definition at a path, where several accounts may have one.

        Args:
            scope: only if it belongs to this account; None for any.
            own: the account whose definition is preferred.

        Raises:
            DefinitionNotFound: it does not exist.
            DefinitionAmbiguous: several other accounts have one there.
        """
        if scope in {None, own}:
            mine = await self._reader.row(AT, path=path, of_account=own)
            if mine is not None:
                return decoded(mine)
        found = await self.all_at(path, scope)
        if not found:
            raise DefinitionNotFound(path)
        if len(found) > 1:
            raise DefinitionAmbiguous(path, [(each.id, each.owner) for each in found])
        return found[0]

    async def all_at(self, path: str, scope: int | None = None) -> list[Definition]:
        """List the definitions at a path, at most one per account."""
        rows = await self._reader.rows(FIND[DefinitionKey.PATH], value=path, scope=scope)
        return [decoded(row) for row in rows]

    async def change(self, definition: Definition, draft: Draft) -> Definition:
        """Replace the contents of a definition.

        Raises:
            DefinitionNotFound: it was deleted.
            DefinitionExists: its account has another one with this path.
        """
        return await self._writer.run(lambda tx: self._change(tx, definition, draft))

    def _change(self, tx: Transaction, definition: Definition, draft: Draft) -> Definition:
        _check_free(tx, draft.path, definition.account, but_for=definition.id)
        fires_at = _fires_at(_found(tx, definition.id), draft.schedule, tx.now)
        written = self._written(draft, fires_at)
        tx.execute(CHANGE, definition=definition.id, now=tx.now, **written)
        return _changed(tx, definition.id)

    async def delete(self, definition: int, scope: int | None = None) -> None:
        """Delete a definition; its runs continue, and stay in the history.

        Raises:
            DefinitionNotFound: it does not exist.
        """
        known = 0 < definition <= jobs.LARGEST_ID
        if not known or not await self._writer.run(lambda tx: _delete(tx, definition, scope)):
            raise DefinitionNotFound(definition)

    async def page(self, after: int, limit: int, scope: int | None = None) -> list[Definition]:
        """List some definitions, in the order of their creation.

        Args:
            after: list only definitions with a greater id.
            limit: how many at most.
            scope: only those of this account; None for all.
        """
        after = min(after, jobs.LARGEST_ID)
        rows = await self._reader.rows(LIST, after=after, limit=limit, scope=scope)
        return [decoded(row) for row in rows]

    async def all(self, scope: int | None = None) -> AsyncIterator[Definition]:
        """Iterate over all definitions, in the order of their creation."""
        after = 0
        while found := await self.page(after, _PAGE, scope):
            for definition in found:
                yield definition
            after = found[-1].id

    def _written(self, draft: Draft, fires_at: int | None) -> dict[str, object]:
        headers, secrets = encode_headers(draft.request.headers, self.secret)
        return {
            "name": draft.name,
            "path": draft.path,
            "method": draft.request.method,
            "request_target": draft.request.path,
            "headers": headers,
            "secrets": secrets,
            "content": draft.request.body,
            **asdict(draft.policy),
            **_written_schedule(draft.schedule),
            "fires_at": fires_at,
        }


def _changed(tx: Transaction, definition: int) -> Definition:
    changed = _found(tx, definition)
    tx.tell(Fires(changed.fires_at))
    return changed


def _found(tx: Transaction, definition: int) -> Definition:
    row = tx.execute(FIND[DefinitionKey.ID], value=definition, scope=None).fetchone()
    if row is None:
        raise DefinitionNotFound(definition)
    return decoded(row)


def _fires_at(found: Definition, schedule: Schedule | None, now: int) -> int | None:
    """Return when a definition with a new schedule fires.

    What is due by its old schedule and has not run stays due if the new one fires at the same
    times.
    """
    if found.fires_at is None or _when(found.draft.schedule) != _when(schedule):
        return next_fire(schedule, now)
    return found.fires_at


def _when(schedule: Schedule | None) -> tuple[object, ...] | None:
    return None if schedule is None else (schedule.cron, schedule.time_zone, schedule.paused)


def _written_schedule(schedule: Schedule | None) -> dict[str, object]:
    if schedule is None:
        return dict.fromkeys(("cron", "time_zone", "catch_up", "overlap")) | {"paused": 0}
    return asdict(schedule) | {"paused": int(schedule.paused)}


def _check_free(tx: Transaction, path: str, account: int, but_for: int | None = None) -> None:
    row = tx.execute(AT, path=path, of_account=account).fetchone()
    if row is not None and decoded(row).id != but_for:
        raise DefinitionExists(path)


def _delete(tx: Transaction, definition: int, scope: int | None) -> bool:
    row = tx.execute(DELETE, definition=definition, now=tx.now, scope=scope).fetchone()
    return row is not None


def row_id(row: Sequence[Any]) -> int:
    """Return the id of the definition in a row, even if the rest cannot be read."""
    return int(row[_NAMES.index("id")])


def decoded(row: Sequence[Any]) -> Definition:
    """Return the definition in a row."""
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
        policy=decode_policy(values["timeout"], values["replay"], values["retries"]),
        schedule=_decoded_schedule(values) if values["cron"] else None,
    )
    own = {name: values[name] for name in ("id", "file_id", "uuid", "owner", "account")}
    times = {name: values[name] for name in ("created_at", "changed_at", "fires_at")}
    return Definition(**own, **times, draft=draft)


def _decoded_schedule(values: Mapping[str, Any]) -> Schedule:
    return Schedule(
        cron=values["cron"],
        time_zone=values["time_zone"],
        catch_up=CatchUp(values["catch_up"]),
        overlap=Overlap(values["overlap"]),
        paused=bool(values["paused"]),
    )
