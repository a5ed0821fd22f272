import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from jobstore.live import Limits, Store
from jobstore.model.errors import BodyBroken, BodyTooLarge, QueueFull, ShuttingDown, TargetBroken
from jobstore.model.message import Response, body_size, chunks
from jobstore.store.bodies import CHUNK_SIZE, CHUNKS_AT_ONCE
from tests.pieces import Pieces
from tests.stores import (
    START,
    CountingClock,
    begun,
    content,
    finish,
    finished,
    held_up,
    next_claim,
    opened,
    orders_of,
    rows,
    submission,
    taken,
)

SMALL: Final = Limits(inline=1000)
KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass
class Halting:
    """A body that halts in the middle until it is told to go on."""

    halted: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    size: None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        self.halted.set()
        await self.go_on.wait()
        yield b"y"


def bodies(path: Path) -> list[tuple[int | None, str, int, int]]:
    """Read whose the large bodies are, of which side, of what size, and in how many chunks."""
    return rows(
        path,
        "SELECT job_id, side, size, count(seq) FROM body LEFT JOIN chunk ON body_id = body.id"
        " GROUP BY body.id ORDER BY body.id",
    )


# --- in and out again ---------------------------------------------------------------------------

AT_ONCE: Final = CHUNKS_AT_ONCE * CHUNK_SIZE
SIZES: Final = [
    0,
    1,
    SMALL.inline,
    SMALL.inline + 1,
    CHUNK_SIZE - 1,
    CHUNK_SIZE,
    CHUNK_SIZE + 1,
    AT_ONCE - 1,
    AT_ONCE,
    AT_ONCE + 1,
    3 * AT_ONCE + CHUNK_SIZE + 1,
]


@pytest.mark.parametrize("size", SIZES)
async def test_a_request_reaches_its_target_as_it_came_whatever_its_size(
    store_path: Path, size: int
) -> None:
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    async with opened(store_path, SMALL) as store:
        await store.submit(submission("POST", body=body))
        claim = await next_claim(orders_of(store, {"/": 1}))
        assert body_size(claim.request.body) == size
        assert await content(claim.request.body) == body


@pytest.mark.parametrize("size", SIZES)
async def test_a_result_reaches_its_reader_as_it_came_whatever_its_size(
    store_path: Path, size: int
) -> None:
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    async with opened(store_path, SMALL) as store:
        job_id = await finished(store, Response(status=200, body=body))
        delivery, read = await taken(store, job_id)
    assert delivery
    assert delivery.response
    assert body_size(delivery.response.body) == size
    assert read == body


async def test_a_body_in_pieces_of_any_size_is_the_same_body(store_path: Path) -> None:
    async with opened(store_path, SMALL) as store:
        orders = orders_of(store, {"/": 1})
        for piece, number in [(b"ab", 5), (b"x" * 999, 700), (b"y" * 3 * MIB, 1)]:
            submitting = await begun(store.submit(submission(body=Pieces(piece, number))))
            claim = await next_claim(orders)
            await submitting
            assert await content(claim.request.body) == piece * number
            await finish(store, claim)


async def test_a_small_body_stands_in_its_messages_row_and_a_large_one_in_chunks(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        await store.submit(submission(body=b"x" * 256 * KIB))
        assert bodies(store_path) == []
        await store.submit(submission(body=b"x" * (256 * KIB + 1)))
        assert bodies(store_path) == [(2, "request", 256 * KIB + 1, 2)]
        await store.submit(submission(body=b"x" * 3 * MIB))
        assert bodies(store_path)[1:] == [(3, "request", 3 * MIB, 12)]


async def test_a_large_body_is_committed_a_mebibyte_at_a_time(store_path: Path) -> None:
    clock = CountingClock()
    async with opened(store_path, clock=clock) as store:
        before = clock.looks
        await store.submit(submission(body=b"x" * 20 * MIB))
        commits = clock.looks - before
    assert 20 <= commits <= 20 + 3, "to open it, to end it, and to make it a job's"


async def test_a_large_body_is_never_whole_in_memory(store_path: Path) -> None:
    size = 48 * MIB
    async with opened(store_path) as store:
        tracemalloc.start()
        await store.submit(submission(body=Pieces(b"x" * MIB, size // MIB)))
        claim = await next_claim(orders_of(store, {"/": 1}))
        await finish(store, claim, Response(status=200, body=claim.request.body))
        async with store.results.take(claim.job_id) as delivery:
            assert delivery
            assert delivery.response
            read = sum([len(chunk) async for chunk in chunks(delivery.response.body)])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert read == size
    assert peak < 12 * MIB


async def test_other_jobs_come_in_while_a_large_body_does(store_path: Path) -> None:
    async with opened(store_path, clock=CountingClock()) as store:
        large = await begun(store.submit(submission(body=Pieces(b"x" * MIB, 16))))
        others = [await store.submit(submission()) for _ in range(4)]
        assert await large > max(others)


# --- bodies that do not get to their end --------------------------------------------------------


async def test_a_request_that_breaks_off_leaves_no_job_and_nothing_behind(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        with pytest.raises(BodyBroken):
            await store.submit(submission(body=Pieces(b"x" * MIB, 3, error=BodyBroken())))
        assert rows(store_path, "SELECT * FROM job") == []
        assert bodies(store_path) != []
        await store.upkeep.sweep()
    assert bodies(store_path) == []
    assert rows(store_path, "SELECT * FROM chunk") == []


@pytest.mark.parametrize("piece", [100, 700, 1001, MIB])
async def test_a_request_beyond_the_limit_is_refused_as_soon_as_it_is_and_leaves_nothing(
    store_path: Path, piece: int
) -> None:
    body = Pieces(b"x" * piece, 10_000)
    async with opened(store_path, Limits(inline=1000, body=1500)) as store:
        with pytest.raises(BodyTooLarge) as told:
            await store.submit(submission(body=body))
        await store.upkeep.sweep()
    assert told.value.limit == 1500
    assert body.given == 1500 // piece + 1
    assert rows(store_path, "SELECT * FROM job") == bodies(store_path) == []


async def test_a_request_at_the_limit_is_taken_in(store_path: Path) -> None:
    async with opened(store_path, Limits(inline=1000, body=1500)) as store:
        await store.submit(submission(body=b"x" * 1500))
    assert bodies(store_path) == [(1, "request", 1500, 1)]


async def test_an_answer_that_breaks_off_is_not_kept(store_path: Path) -> None:
    broken = Response(status=200, body=Pieces(b"x" * MIB, 3, error=TargetBroken("gone")))
    async with opened(store_path) as store:
        await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        with pytest.raises(TargetBroken):
            await finish(store, claim, broken)
        await store.upkeep.sweep()
    assert bodies(store_path) == []


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        async with held_up(store_path):
            submitting = await begun(store.submit(submission(body=b"x" * MIB)))
            submitting.cancel()
            await begun(asyncio.wait([submitting]))
        await store.upkeep.sweep()
        assert bodies(store_path) == []
        assert rows(store_path, "SELECT * FROM job") == []


async def test_a_large_request_that_is_refused_at_its_end_leaves_nothing_behind(
    store_path: Path,
) -> None:
    async with opened(store_path, Limits(queue=1)) as store:
        large = [await begun(store.submit(submission(body=b"x" * MIB))) for _ in range(2)]
        _, refused = await asyncio.gather(*large, return_exceptions=True)
        assert isinstance(refused, QueueFull)
        await store.upkeep.sweep()
        assert [job_id for job_id, *_ in bodies(store_path)] == [1]


async def test_a_large_request_that_ends_after_the_drain_began_is_refused(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        submitting = await begun(store.submit(submission(body=b"x" * MIB)))
        store.refuse()
        with pytest.raises(ShuttingDown):
            await submitting
        await store.upkeep.sweep()
    assert rows(store_path, "SELECT * FROM job") == bodies(store_path) == []


# --- the end of bodies --------------------------------------------------------------------------


async def large_job(store: Store) -> int:
    """Run a job with large bodies on both sides."""
    job_id = await store.submit(submission(body=b"x" * MIB))
    claim = await next_claim(orders_of(store, {"/": 1}))
    await finish(store, claim, Response(status=200, body=b"y" * MIB))
    return job_id


async def test_a_body_that_is_still_being_written_is_not_swept_away(store_path: Path) -> None:
    body = Halting()
    async with opened(store_path) as store:
        submitting = await begun(store.submit(submission(body=body)))
        await body.halted.wait()
        assert await store.upkeep.sweep() == 0
        body.go_on.set()
        await submitting
        claim = await next_claim(orders_of(store, {"/": 1}))
        assert await content(claim.request.body) == b"x" * 2 * MIB + b"y"


async def test_a_deleted_result_takes_its_body_along_and_leaves_the_requests(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await large_job(store)
        await store.results.delete(job_id)
        await store.upkeep.sweep()
        assert bodies(store_path) == [(job_id, "request", MIB, 4)]


async def test_a_purged_job_takes_its_bodies_along(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await large_job(store)
        await taken(store, job_id)
        await store.upkeep.purge(START + 1)
        await store.upkeep.sweep()
    assert bodies(store_path) == []
    assert rows(store_path, "SELECT * FROM chunk") == []


async def test_a_forgotten_job_takes_its_bodies_along(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await large_job(store)
        await store.results.delete(job_id)
        await store.upkeep.forget(START + 1)
        await store.upkeep.sweep()
    assert rows(store_path, "SELECT * FROM job") == bodies(store_path) == []


async def test_bodies_that_a_killed_server_left_half_written_are_swept_away(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        with pytest.raises(BodyBroken):
            await store.submit(submission(body=Pieces(b"x" * MIB, 3, error=BodyBroken())))
    assert bodies(store_path) != []
    async with opened(store_path) as store:
        assert await store.upkeep.sweep() > 0
    assert bodies(store_path) == []
