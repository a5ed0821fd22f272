"""Export history for other stores and tools; see `export_lines` for the format."""

import json
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from sqlalchemy import bindparam, func, select

from jobstore import __version__
from jobstore.model import clock
from jobstore.model.errors import BodyGone
from jobstore.model.frozen import frozen
from jobstore.model.message import REDACTED
from jobstore.store import schema
from jobstore.store import search as search_sql
from jobstore.store.bodies import Spooled
from jobstore.store.codec import decode_headers, encode_ids
from jobstore.store.export_lines import FORMAT, DefinitionRecord
from jobstore.store.expressions import Statement, listed
from jobstore.store.history import History
from jobstore.store.search import Search
from jobstore.store.sequences import LAST
from jobstore.store.windows import WINDOW

Record: TypeAlias = dict[str, Any]

# How many jobs are read at once: all but their large bodies is in memory meanwhile.
_AT_ONCE: Final = 20

_job, _definition, _body = schema.JOB.c, schema.DEFINITION.c, schema.BODY.c
_request, _response = schema.REQUEST.c, schema.RESPONSE.c
_event = schema.EVENT.c
# What belongs to this store alone: its server starts, its accounts, whose names are exported, and
# what is counted for these; and where a job came from, which is nobody else's business.
_OWN: Final = frozenset({"boot", "account", "depth", "stored", "source"})
_JOB_COLUMNS: Final = tuple(
    column for column in schema.columns(schema.JOB) if column.name not in _OWN
)


def _of_jobs(*columns: Any) -> Statement:
    """Select the rows that belong to jobs: first column the job's id, second column their order."""
    return Statement(select(*columns).where(columns[0].in_(listed("ids"))).order_by(*columns[:2]))


_PARTS: Final = {
    "job": _of_jobs(*_JOB_COLUMNS),
    "bodies": _of_jobs(_body.job_id, _body.side, _body.id, _body.size),
    "request": _of_jobs(_request.job_id, _request.headers, _request.content),
    "response": _of_jobs(_response.job_id, _response.headers, _response.content, _response.reason),
    "events": _of_jobs(_event.job_id, _event.at, _event.event, _event.detail),
    "attempts": _of_jobs(*schema.ATTEMPT.columns),
}
# What there may be more than one of, by its name in a job's record.
_LISTS: Final = {
    "events": ("at", "event", "detail"),
    "attempts": ("number", "started_at", "ended_at", "status", "failure", "detail"),
}
_DEFINITION: Final = Statement(
    select(*(_definition[name] for name in DefinitionRecord.model_fields)).where(
        _definition.id == bindparam("definition")
    )
)
# No two stores have seen their first server start in the same microsecond.
ORIGIN: Final = Statement(select(func.min(schema.BOOT.c.started_at)))


@cache
def _ids(conditions: frozenset[str]) -> Statement:
    selected = search_sql.in_window(select(_job.id), conditions)
    return Statement(selected.order_by(_job.id.desc()))


@frozen
class _Found:
    """A job with everything that belongs to it, as of one moment.

    Args:
        record: the record for the export.
        large: its large bodies: that of its request, of its response.
    """

    record: Record
    large: dict[str, Spooled]


async def exported(
    history: History, search: Search, hidden: frozenset[str]
) -> AsyncIterator[Record]:
    """Yield the lines of an export, the newest jobs first.

    Only a few jobs are read at a time, so a change in the meantime may or may not be included; but
    each job is consistent.

    Args:
        hidden: the lower-case names of request headers whose values are left out.
    """
    ((origin,),) = await history.rows(ORIGIN)
    head = {"jobstore": "history", "format": FORMAT, "version": __version__}
    given = dict(await history.rows(LAST))
    yield head | {"origin": origin, "exported_at": clock.now(), "last_ids": given}
    known: set[int] = set()
    jobs = 0
    async for rows in history.parts(_ids(frozenset(search.values)), search, widest=WINDOW):
        for ids in _batches([row[0] for row in rows]):
            for found in await _read(history, ids, hidden):
                definition = found.record["definition"]
                if definition is not None and definition not in known:
                    known.add(definition)
                    yield {"definition": await _definition_record(history, definition)}
                async for record in _with_pieces(history, found, hidden):
                    yield record
                    jobs += "job" in record
    yield {"end": {"jobs": jobs}}


async def _definition_record(history: History, definition: int) -> Record:
    (row,) = await history.rows(_DEFINITION, definition=definition)
    return dict(zip(DefinitionRecord.model_fields, row, strict=True))


async def _with_pieces(
    history: History, found: _Found, hidden: frozenset[str]
) -> AsyncIterator[Record]:
    """Yield the pieces of a job's large bodies, and then the job.

    Bodies may be deleted while they are read. Then the job has changed too, and is read again, or
    is left out if it is gone as well; pieces written before belong to nothing.
    """
    job_id = found.record["id"]
    try:
        async for piece in _pieces(history, job_id, found.large):
            yield piece
    except BodyGone:
        again = await _read(history, [job_id], hidden)
        if not again:
            return
        (found,) = again
        async for piece in _pieces(history, job_id, found.large):
            yield piece
    yield {"job": found.record}


async def _pieces(
    history: History, job_id: int, large: dict[str, Spooled]
) -> AsyncIterator[Record]:
    for side, spooled in large.items():
        seq = 0
        async for data in history.stored(spooled):
            piece = {"job": job_id, "side": side, "seq": seq, "data": b64encode(data).decode()}
            yield {"piece": piece}
            seq += 1


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]


async def _read(history: History, ids: Sequence[int], hidden: frozenset[str]) -> list[_Found]:
    """Read jobs with everything that belongs to them at one moment; missing ones are left out."""
    parts = await history.together([*_PARTS.values()], ids=encode_ids(ids))
    rows = {name: _grouped(part) for name, part in zip(_PARTS, parts, strict=True)}
    return [
        _found({name: of_jobs.get(job_id, []) for name, of_jobs in rows.items()}, hidden)
        for job_id in ids
        if job_id in rows["job"]
    ]


def _grouped(rows: Sequence[Any]) -> dict[int, list[Any]]:
    """Return the rows by job."""
    grouped: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[row[0]].append(row)
    return grouped


def _found(parts: dict[str, list[Any]], hidden: frozenset[str]) -> _Found:
    large = {side: Spooled(body_id, size) for _, side, body_id, size in parts["bodies"]}
    record = _job_record(parts["job"][0])
    for side in ("request", "response"):
        messages = [_message_record(row, large.get(side), hidden) for row in parts[side]]
        record[side] = messages[0] if messages else None
    for name, columns in _LISTS.items():
        record[name] = [dict(zip(columns, row[1:], strict=True)) for row in parts[name]]
    return _Found(record, large)


def _job_record(row: Sequence[Any]) -> Record:
    record = {column.name: value for column, value in zip(_JOB_COLUMNS, row, strict=True)}
    record["counters"] = json.loads(record["counters"]) if record["counters"] else None
    return record


def _message_record(
    row: Sequence[Any], spooled: Spooled | None, hidden: frozenset[str]
) -> Record | None:
    _, headers, content, *reason = row
    if content is None and spooled is None:  # damaged: it is lost
        return None
    fields = [
        (name, REDACTED if name.lower() in hidden and not reason else value)
        for name, value in decode_headers(headers)
    ]
    body = None if content is None else b64encode(content).decode()
    size = len(content) if spooled is None else spooled.size
    record: Record = {"headers": fields, "body": body, "size": size}
    return record | ({"reason": reason[0]} if reason else {})
