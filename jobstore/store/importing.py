"""Import exported history: all of it in one transaction, or nothing.

Ids are kept, so that references to jobs stay valid; if one is already in use, nothing is imported.
Jobs that had not ended when they were exported are left out, since they would run a second time
here. Their ids are not reused, nor is any other id that the original store gave out.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Integer, bindparam, delete, insert, literal_column, select

from jobstore.model.account import NOBODY
from jobstore.model.errors import ExportInvalid
from jobstore.model.frozen import frozen
from jobstore.model.job import succeeded
from jobstore.model.lifecycle import ENDED, State
from jobstore.model.message import REDACTED
from jobstore.model.words import plural
from jobstore.store import bodies, ending, periods, schema, submitting
from jobstore.store.bodies import CHUNK_SIZE
from jobstore.store.codec import encode_ids
from jobstore.store.export_lines import (
    FORMAT,
    DefinitionRecord,
    ExportHeader,
    ExportLine,
    ExportTrailer,
    JobRecord,
    MessageRecord,
    PieceRecord,
)
from jobstore.store.exporting import ORIGIN
from jobstore.store.expressions import NO_BYTES, NUMBER, Statement, constant
from jobstore.store.sequences import next_id_of, raise_ids
from jobstore.store.transaction import Transaction

# How often somebody is told how far it is.
_TOLD_EACH: Final = 500

_job, _definition = schema.JOB.c, schema.DEFINITION.c


def _put(table: Any, *but: str, **fixed: Any) -> Statement:
    names = [column.name for column in schema.columns(table) if column.name not in {*but, *fixed}]
    return Statement(insert(table).values({name: bindparam(name) for name in names} | fixed))


_ACCOUNTS: Final = Statement(select(schema.ACCOUNT.c.name, schema.ACCOUNT.c.id))
_FIND_JOB: Final = Statement(select(_job.id).where(_job.id == bindparam("job_id")))
_NEXT_JOB: Final = next_id_of("job")
_PUT_JOB: Final = _put(schema.JOB, "boot", "depth", "source")
_PUT_EVENT: Final = _put(schema.EVENT, "id")
_PUT_ATTEMPT: Final = _put(schema.ATTEMPT)
_DROP_BODY: Final = Statement(delete(schema.BODY).where(schema.BODY.c.id == bindparam("body_id")))
_NEXT_DEFINITION: Final = next_id_of("definition")
_TAKEN_DEFINITION: Final = Statement(
    select(_definition.id).where(_definition.id == bindparam("definition"))
)
_FIND_DEFINITION: Final = Statement(
    select(_definition.id).where(_definition.uuid == bindparam("of_uuid"))
)
# As one that was deleted here: its name is all that the history needs.
_PUT_DEFINITION: Final = Statement(
    insert(schema.DEFINITION).values(
        {name: bindparam(name) for name in DefinitionRecord.model_fields}
        | {
            "account": bindparam("account"),
            "file_id": bindparam("id", type_=NUMBER) + literal_column("1000000", Integer),
            "headers": constant("[]"),
            "content": NO_BYTES,
            "deleted_at": bindparam("now"),
        }
    )
)


@frozen
class Imported:
    """What was imported.

    Args:
        jobs: how many jobs were imported.
        left_out: how many had not ended when they were exported.
    """

    jobs: int
    left_out: int


@dataclass(slots=True)
class _Pieces:
    """A large body that is being imported.

    Args:
        body_id: its row.
        seq: how many pieces have arrived.
        size: how many bytes have arrived.
    """

    body_id: int
    seq: int = 0
    size: int = 0


class Import:
    """One import, line by line, into a file or a database.

    Args:
        tx: raises ValueError for rows that the schema does not allow.
        progress: called with the number of jobs read.
    """

    def __init__(
        self,
        tx: Transaction,
        progress: Callable[[int], object],
    ) -> None:
        self._tx = tx
        self._progress = progress
        self._known_before = 0
        ((self._counted_to,),) = tx.execute(periods.LAST_COUNTED).fetchall()
        self._next_definition = 1
        self._definitions: dict[int, DefinitionRecord] = {}
        self._our_definitions: dict[int, int] = {}
        self._pieces: dict[tuple[int, str], _Pieces] = {}
        self._accounts: dict[str, int] = dict(tx.execute(_ACCOUNTS).fetchall())
        self._jobs = 0
        self._left_out = 0

    def run(self, lines: Iterable[bytes]) -> Imported:
        """Import all lines."""
        numbered = enumerate(lines, 1)
        self._begin(_head(numbered))
        end: ExportTrailer | None = None
        for number, text in numbered:
            if end is not None:
                raise ExportInvalid(f"line {number} comes after the end")
            try:
                end = self._take(ExportLine.model_validate(_parsed(text)))
            except _DAMAGES as error:
                raise ExportInvalid(f"line {number} is damaged: {_words(error)}") from error
        if end is None:
            raise ExportInvalid("it ends too early: the last line is missing")
        if end.jobs != self._jobs + self._left_out:
            raise ExportInvalid(f"it should have {plural(end.jobs, 'job')}")
        return Imported(self._jobs, self._left_out)

    def _begin(self, head: ExportHeader) -> None:
        """Find out which jobs come from this store: those whose ids it gave out."""
        (origin,) = self._tx.execute(ORIGIN).fetchone()
        if origin is not None and origin == head.origin:
            (next_job,) = self._tx.execute(_NEXT_JOB).fetchone()
            self._known_before = next_job - 1
        (self._next_definition,) = self._tx.execute(_NEXT_DEFINITION).fetchone()
        raise_ids(self._tx, head.last_ids)

    def _take(self, line: ExportLine) -> ExportTrailer | None:
        parts = (line.definition, line.piece, line.job, line.end)
        if len([part for part in parts if part is not None]) != 1:
            raise ValueError("expected one of definition, piece, job and end")
        if line.definition is not None:
            self._definitions[line.definition.id] = line.definition
        elif line.piece is not None:
            self._take_piece(line.piece)
        elif line.job is not None:
            self._take_job(line.job)
        return line.end

    def _take_piece(self, piece: PieceRecord) -> None:
        key = piece.job, piece.side
        if piece.seq == 0:
            self._drop(self._pieces.pop(key, None))
            self._pieces[key] = _Pieces(self._tx.insert(bodies.OPEN_BODY, side=piece.side))
        pieces = self._pieces.get(key)
        if pieces is None or (pieces.seq, pieces.size) != (piece.seq, piece.seq * CHUNK_SIZE):
            raise ValueError("a piece of a body is missing before it")
        data = _decoded(piece.data)
        if len(data) > CHUNK_SIZE:
            raise ValueError("a piece of a body is too large")
        self._tx.execute(bodies.PUT_CHUNK, body_id=pieces.body_id, seq=piece.seq, data=data)
        pieces.seq += 1
        pieces.size += len(data)

    def _take_job(self, job: JobRecord) -> None:
        if job.state in ENDED:
            self._put_job(job)
            self._jobs += 1
        else:
            self._left_out += 1
            raise_ids(self._tx, {"job": job.id})  # the head of an old export does not
        for pieces in self._pieces.values():  # of a job that changed while it was exported
            self._drop(pieces)
        self._pieces.clear()
        if (self._jobs + self._left_out) % _TOLD_EACH == 0:
            self._progress(self._jobs + self._left_out)

    def _put_job(self, job: JobRecord) -> None:
        if self._tx.execute(_FIND_JOB, job_id=job.id).fetchone():
            raise ExportInvalid(f"job {job.id} already exists")
        row = {name: getattr(job, name) for name in JobRecord.model_fields if name in _job}
        row["stored"] = sum(kept.size for kept in (job.request, job.response) if kept)
        row["account"] = self._account(job.owner)
        row["definition"] = self._our_definition(job.definition)
        counters = json.dumps(job.counters, separators=(",", ":"))  # as SQLite writes them
        row["counters"] = counters if job.counters else None
        self._tx.execute(_PUT_JOB, **row)
        self._count(job, row["account"], row["stored"])
        if job.request is not None:
            message = self._message(job.id, "request", job.request)
            self._tx.execute(submitting.PUT_REQUEST, secrets=None, **message)
        if job.response is not None:
            message = self._message(job.id, "response", job.response)
            self._tx.execute(ending.PUT_RESPONSE, reason=job.response.reason, **message)
        for event in job.events:
            self._tx.execute(_PUT_EVENT, job_id=job.id, **dict(event))
        for attempt in job.attempts:
            self._tx.execute(_PUT_ATTEMPT, job_id=job.id, **dict(attempt))

    def _message(self, job_id: int, side: str, message: MessageRecord) -> dict[str, Any]:
        headers = [(name, None if value == REDACTED else value) for name, value in message.headers]
        content = None if message.body is None else _decoded(message.body)
        pieces = None if message.body is not None else self._pieces.pop((job_id, side), None)
        size = pieces.size if pieces else None if content is None else len(content)
        if size != message.size:
            raise ValueError(f"the body of the {side} is not whole")
        if pieces:
            adopted = {"of_job": job_id, "whole_size": size}
            self._tx.execute(bodies.ADOPT_BODY, body_id=pieces.body_id, **adopted)
        return {"job_id": job_id, "headers": json.dumps(headers), "content": content}

    def _our_definition(self, definition: int | None) -> int | None:
        """Find a definition here, or insert it, with its own id if that was never used here."""
        if definition is None or definition in self._our_definitions:
            return definition and self._our_definitions[definition]
        record = self._definitions.get(definition)
        if record is None:
            raise ValueError(f"there is no definition {definition} above")
        found = self._tx.execute(_FIND_DEFINITION, of_uuid=record.uuid).fetchone()
        ours: int = found[0] if found else self._put_definition(record)
        self._our_definitions[definition] = ours
        return ours

    def _put_definition(self, record: DefinitionRecord) -> int:
        values = record.model_dump() | {"account": self._account(record.owner)}
        taken = self._tx.execute(_TAKEN_DEFINITION, definition=record.id).fetchone()
        if taken or record.id < self._next_definition:
            (values["id"],) = self._tx.execute(_NEXT_DEFINITION).fetchone()
        return self._tx.insert(_PUT_DEFINITION, now=self._tx.now, **values)

    def _account(self, owner: str) -> int:
        """Return the account with the owner's name; without one, only admins see the job."""
        return self._accounts.get(owner, NOBODY)

    def _count(self, job: JobRecord, account: int, stored: int) -> None:
        """Count a job, unless it ran here and was counted then."""
        ran_here = job.id <= self._known_before
        submitted_at = None if ran_here else job.submitted_at
        self._tx.tally.came(account, job.state, job.result, stored, submitted_at)
        if job.id <= self._counted_to and not ran_here:  # else it is counted in its turn, or was
            self._tx.execute(periods.LEAVE, ids=encode_ids([job.id]))
        if job.finished_at is not None and not ran_here:
            badly = job.state == State.DONE and not succeeded(job.status or 0)
            error = badly or job.state == State.FAILED
            self._tx.tally.worked(job.state, job.started_at, job.finished_at, error=error)

    def _drop(self, pieces: _Pieces | None) -> None:
        if pieces is not None:
            self._tx.execute(_DROP_BODY, body_id=pieces.body_id)


def _head(numbered: Iterator[tuple[int, bytes]]) -> ExportHeader:
    _, text = next(numbered, (1, b""))
    foreign = "this is no export of jobstore's history"
    try:
        found = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise ExportInvalid(foreign) from error
    if not isinstance(found, dict) or found.get("jobstore") != "history":
        raise ExportInvalid(foreign)
    version = found.get("format")
    if type(version) is int and version > FORMAT:
        known = f"this jobstore knows versions up to {FORMAT}; install a newer jobstore"
        raise ExportInvalid(f"the version of its format is {version}, {known}")
    try:
        return ExportHeader.model_validate(found)
    except ValidationError as error:
        raise ExportInvalid(f"line 1 is damaged: {_words(error)}") from error


def _parsed(text: bytes) -> Any:
    # Headers may have bytes that are no text, which pydantic's own reader of JSON would refuse.
    return json.loads(text)


def _decoded(text: str) -> bytes:
    return b64decode(text, validate=True)


_DAMAGES: Final = (
    ValueError,  # also of pydantic, of base64 and of JSON
    TypeError,
    RecursionError,
)


def _words(error: Exception) -> str:
    """Describe what is wrong with a line."""
    match error:
        case ValidationError():
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            return f"{place}: {first['msg']}" if place else first["msg"]
        case _:
            return str(error) or type(error).__name__
