"""Bodies on their way into and out of the store; large ones are never completely in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, TypeAlias, TypeGuard

from sqlalchemy import bindparam, delete, insert, literal_column, null, select, update

from jobstore.model.errors import BodyGone, BodyTooLarge
from jobstore.model.frozen import frozen
from jobstore.model.idempotency import Digest
from jobstore.model.message import Body
from jobstore.store import schema
from jobstore.store.codec import encode_ids
from jobstore.store.expressions import Statement, listed
from jobstore.store.guards import ZERO, limit, not_elsewhere, own_boot
from jobstore.store.reading import Reader
from jobstore.store.transaction import Operation, Transaction
from jobstore.store.writer import Writer

_body: Final = schema.BODY.c
_chunk: Final = schema.CHUNK.c
_open_body: Final = insert(schema.BODY).values(side=bindparam("side"), size=literal_column("0"))
OPEN_BODY: Final = Statement(_open_body, _open_body.values(boot=own_boot))
PUT_CHUNK: Final = Statement(
    insert(schema.CHUNK).values(
        body_id=bindparam("body_id"), seq=bindparam("seq"), data=bindparam("data")
    )
)
_adopt_body: Final = (
    update(schema.BODY)
    .where(_body.id == bindparam("body_id"))
    .values(job_id=bindparam("of_job"), size=bindparam("whole_size"))
)
ADOPT_BODY: Final = Statement(_adopt_body, _adopt_body.values(boot=null()))
FIND_BODY: Final = Statement(
    select(_body.id, _body.size).where(
        _body.job_id == bindparam("job_id"), _body.side == bindparam("side")
    )
)
GET_CHUNK: Final = Statement(
    select(_chunk.data).where(
        _chunk.body_id == bindparam("body_id"), _chunk.seq == bindparam("seq")
    )
)
# A body whose chunks are gone, or have never come, is there once, without a number of a chunk.
_loose_chunks: Final = (
    select(_body.id, _chunk.seq)
    .select_from(schema.BODY)
    .outerjoin(schema.CHUNK, _chunk.body_id == _body.id)
    .where(_body.job_id.is_(None), _body.id.not_in(listed("open")))
    .order_by(_body.id, _chunk.seq)
    .limit(limit)
    .offset(ZERO)
)
# What another node receives at the moment is not loose.
LOOSE_CHUNKS: Final = Statement(_loose_chunks, _loose_chunks.where(not_elsewhere(_body.boot)))
SWEEP_CHUNKS: Final = Statement(
    delete(schema.CHUNK).where(
        _chunk.body_id == bindparam("body_id"), _chunk.seq <= bindparam("last")
    )
)
SWEEP_BODIES: Final = Statement(delete(schema.BODY).where(_body.id.in_(listed("ids"))))
CHUNK_SIZE: Final = 256 * 1024
# How many chunks share a commit: enough to be fast, few enough to stall nobody.
CHUNKS_AT_ONCE: Final = 4
# How many chunks are swept away first; then as many as can be in the time of a step.
SWEPT_FIRST: Final = 8
Side: TypeAlias = Literal["request", "response"]
_Write: TypeAlias = Callable[[Operation[int]], Awaitable[int]]


@dataclass(slots=True, eq=False)
class _OpenBody:
    """A body that is being written, or waits for its job to adopt it.

    Args:
        body_id: its row; 0 until it has one, which may be after nobody waits for it any more.
    """

    body_id: int = 0


@frozen
class Spooled:
    """A large body in the store, in chunks.

    Args:
        body_id: its row.
        size: its length in bytes.
        opened: protects it until a job adopts it.
    """

    body_id: int
    size: int
    opened: _OpenBody | None = field(default=None, compare=False, repr=False)


Content: TypeAlias = bytes | Spooled


class StoredBody:
    """A large body or a part of one, read from the store while iterating.

    Args:
        spooled: the body.
        start: where the part begins, in bytes.
        end: where it ends, or None for the end of the body.
    """

    def __init__(
        self, reader: Reader, spooled: Spooled, start: int = 0, end: int | None = None
    ) -> None:
        self._reader = reader
        self._spooled = spooled
        self._start = start
        self._end = spooled.size if end is None else end

    @property
    def size(self) -> int:
        """The length in bytes."""
        return self._end - self._start

    def part(self, start: int, end: int) -> "StoredBody":
        """Return a part; only the chunks that contain it are read."""
        return StoredBody(self._reader, self._spooled, self._start + start, self._start + end)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Read chunk by chunk, each by its own statement, so that no reader blocks checkpoints."""
        for seq in range(self._start // CHUNK_SIZE, -(-self._end // CHUNK_SIZE)):
            row = await self._reader.row(GET_CHUNK, body_id=self._spooled.body_id, seq=seq)
            if row is None:
                raise BodyGone
            before = seq * CHUNK_SIZE
            yield row[0][max(0, self._start - before) : self._end - before]


class Bodies:
    """Receive bodies, small ones whole and large ones in chunks.

    Args:
        inline_limit: the largest body, in bytes, that is stored in its message's own row.
    """

    def __init__(self, writer: Writer, reader: Reader, inline_limit: int) -> None:
        self._writer = writer
        self._reader = reader
        self._inline_limit = inline_limit
        self._open: set[_OpenBody] = set()

    def body(self, content: Content) -> Body:
        """Return a small or large body for reading."""
        return content if isinstance(content, bytes) else self.stored(content)

    def stored(self, spooled: Spooled) -> StoredBody:
        """Return a large body for reading."""
        return StoredBody(self._reader, spooled)

    def is_small(self, body: Body) -> TypeGuard[bytes]:
        """Return whether a body is in memory, and small enough to be stored in its row."""
        return isinstance(body, bytes) and len(body) <= self._inline_limit

    async def received(
        self,
        body: AsyncIterator[bytes],
        side: Side,
        limit: int | None = None,
        summed: Digest | None = None,
    ) -> Content:
        """Receive a body for a job to adopt; after that, or if none does, `release` it.

        Args:
            body: its pieces.
            side: whether it is a request's or a response's.
            limit: the largest size, in bytes, or None for any.
            summed: a hash to update with each piece, or None.

        Raises:
            BodyTooLarge: it exceeds the limit.
            StoreError: it cannot be written.
        """
        pieces = _limited(body, limit)
        if summed is not None:
            pieces = _summed(pieces, summed)
        buffer = bytearray()
        async for piece in pieces:
            buffer += piece
            if len(buffer) > self._inline_limit:
                break
        else:
            return bytes(buffer)
        # A client can be told to come back; an answer that is there must not get lost.
        write = partial(
            self._writer.post_until_stored if side == "response" else self._writer.post,
            off_loop=True,
        )
        opened = _OpenBody()
        self._open.add(opened)
        try:
            body_id = await write(lambda tx: _begin(tx, side, opened))
            return Spooled(body_id, await _spool(write, body_id, _cut(buffer, pieces)), opened)
        except BaseException:
            self._open.discard(opened)
            raise

    def release(self, content: Content) -> None:
        """Release a received body, unless a job has adopted it."""
        if isinstance(content, Spooled) and content.opened is not None:
            self._open.discard(content.opened)

    def sweep(self, tx: Transaction, limit: int) -> int:
        """Delete some bodies that belong to no job, or a part of a long one.

        Args:
            limit: how many chunks to delete at most.

        Returns:
            how many rows were processed; 0 if nothing is left to do.
        """
        being_written = encode_ids(opened.body_id for opened in tuple(self._open))
        rows = tx.execute(LOOSE_CHUNKS, open=being_written, limit=limit).fetchall()
        whole = {body_id for body_id, _ in rows}
        if len(rows) == limit and rows[-1][1] is not None:
            body_id, last = rows[-1]
            tx.execute(SWEEP_CHUNKS, body_id=body_id, last=last)
            whole.discard(body_id)
        tx.execute(SWEEP_BODIES, ids=encode_ids(whole))
        return len(rows)


async def _spool(write: _Write, body_id: int, cut: AsyncIterator[list[bytes]]) -> int:
    """Write chunks, and return how many bytes they are in all."""
    seq = size = 0
    async for chunks in cut:
        size += await write(_putting(body_id, seq, chunks))
        seq += len(chunks)
    return size


async def _cut(buffer: bytearray, pieces: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Cut a body into chunks, as many at a time as share a commit.

    Args:
        buffer: its beginning.
        pieces: its other pieces.
    """
    chunks: list[bytes] = []
    while await _filled(buffer, pieces):
        chunks.append(bytes(memoryview(buffer)[:CHUNK_SIZE]))
        del buffer[:CHUNK_SIZE]
        if len(chunks) == CHUNKS_AT_ONCE:
            yield chunks
            chunks = []
    if buffer:
        chunks.append(bytes(buffer))
    if chunks:
        yield chunks


async def _filled(buffer: bytearray, pieces: AsyncIterator[bytes]) -> bool:
    """Read until there is enough for a chunk; return False at the end of the body."""
    while len(buffer) < CHUNK_SIZE:
        piece = await anext(pieces, None)
        if piece is None:
            return False
        buffer += piece
    return True


async def _limited(body: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    size = 0
    async for piece in body:
        size += len(piece)
        if limit is not None and size > limit:
            raise BodyTooLarge(limit)
        yield piece


async def _summed(body: AsyncIterator[bytes], summed: Digest) -> AsyncIterator[bytes]:
    async for piece in body:
        summed.update(piece)
        yield piece


def _begin(tx: Transaction, side: Side, opened: _OpenBody) -> int:
    opened.body_id = tx.insert(OPEN_BODY, side=side)
    return opened.body_id


def _putting(body_id: int, first: int, chunks: Sequence[bytes]) -> Operation[int]:
    """Return the operation that stores chunks of a body, and returns their size.

    Args:
        first: the number of the first one.
    """

    def put(tx: Transaction) -> int:
        for seq, chunk in enumerate(chunks, first):
            tx.execute(PUT_CHUNK, body_id=body_id, seq=seq, data=chunk)
        return sum(map(len, chunks))

    return put


def find_body(tx: Transaction, job_id: int, side: str) -> Spooled:
    """Return the large body of a job's request or response."""
    return Spooled(*tx.execute(FIND_BODY, job_id=job_id, side=side).fetchone())


def put_content(tx: Transaction, job_id: int, content: Content) -> bytes | None:
    """Adopt a large body for a job, or return a small one for the message's row."""
    if isinstance(content, bytes):
        return content
    tx.execute(ADOPT_BODY, body_id=content.body_id, of_job=job_id, whole_size=content.size)
    return None


def size_of(content: Content) -> int:
    """Return the length of a body in bytes."""
    return len(content) if isinstance(content, bytes) else content.size
