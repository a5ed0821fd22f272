import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from jobstore.live import Store, Taking
from jobstore.model.errors import BeingDelivered, DeliveryRefused, JobNotFound
from jobstore.model.job import Job
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Response, chunks
from jobstore.store.bodies import CHUNK_SIZE
from tests.loop import turns
from tests.stores import (
    HELLO,
    START,
    begun,
    beside,
    content,
    finished,
    held_up,
    opened,
    rows,
    states,
    submission,
    taken,
    timeline,
    writer_of,
)

LARGE: Final = Response(status=200, body=bytes(range(256)) * (3 * CHUNK_SIZE // 256) + b"end")
MALLORY: Final = 99  # an account that has nothing
BOTH: Final = pytest.mark.parametrize("answer", [HELLO, LARGE], ids=["small", "large"])


class GoneError(Exception):
    """The reader's connection broke."""


async def part_of(store: Store, job_id: int, count: int) -> list[bytes]:
    """Take a result, read so many chunks of it, and break off."""
    async with store.results.take(job_id) as delivery:
        assert delivery
        assert delivery.response
        read = []
        async for chunk in chunks(delivery.response.body):
            read.append(chunk)
            if len(read) == count:
                raise GoneError
    return read


# --- one reader ---------------------------------------------------------------------------------


@BOTH
async def test_a_result_goes_to_one_reader(store_path: Path, answer: Response) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        _, body = await taken(store, job_id)
        assert body == answer.body
        with pytest.raises(JobNotFound):
            await taken(store, job_id)
    assert timeline(store_path, job_id)[-1] == "fetched"


@BOTH
async def test_a_result_that_was_read_is_not_given_out_again_after_a_restart(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        await taken(store, job_id)
    async with opened(store_path) as store:
        with pytest.raises(JobNotFound):
            await taken(store, job_id)


async def test_a_small_result_is_marked_on_disk_before_its_first_byte_leaves(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        async with store.results.take(job_id):
            assert states(store_path) == {job_id: ("done", "taken")}


async def test_a_large_result_is_marked_on_disk_before_its_last_chunk_leaves_and_not_earlier(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, LARGE)
        async with store.results.take(job_id) as delivery:
            assert delivery
            assert delivery.response
            stood = [states(store_path)[job_id][1] async for _ in chunks(delivery.response.body)]
    assert stood == ["held", "held", "held", "taken"]


@BOTH
async def test_a_result_that_somebody_reads_is_there_for_nobody_else_and_not_gone_either(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        async with store.results.take(job_id) as delivery:
            assert delivery
            assert delivery.response
            asked: list[Coroutine[Any, Any, object]] = [
                taken(store, job_id),
                store.results.delete(job_id),
                store.results.discard(job_id),
            ]
            for asking in asked:
                with pytest.raises(BeingDelivered):
                    await asking
            assert (await store.results.peek(job_id)).result is Result.HELD
            assert await store.cancel(job_id) is State.DONE
            assert await store.results.expire(START + 1) == 0
            assert await store.results.delete_all() == 0
            assert await content(delivery.response.body) == answer.body
        asked = [taken(store, job_id), store.results.delete(job_id), store.cancel(job_id)]
        for asking in asked:
            with pytest.raises(JobNotFound):
                await asking
    assert states(store_path) == {job_id: ("done", "taken")}


@BOTH
async def test_whose_job_it_is_stays_hidden_while_its_result_is_being_delivered(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        async with store.results.take(job_id) as delivery:
            for asking in (
                store.results.peek(job_id, MALLORY),
                store.results.delete(job_id, MALLORY),
                store.results.discard(job_id, MALLORY),
                store.cancel(job_id, MALLORY),
            ):
                with pytest.raises(JobNotFound):
                    await asking
            with pytest.raises(JobNotFound):
                async with store.results.take(job_id, MALLORY):
                    pass
            assert delivery
            assert delivery.response
            await content(delivery.response.body)


@BOTH
async def test_a_result_is_not_called_gone_before_it_is_on_the_disk_that_it_is_held_again(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        async with AsyncExitStack() as stack:
            reader = await begun(_linger(store, job_id, taking := asyncio.Event()))
            stack.callback(reader.cancel)
            await taking.wait()
            async with held_up(store_path):
                reader.cancel()
                await begun(turns(1))
                reader.cancel()  # as a server does that stops
                await asyncio.wait([reader])
                assert (await store.results.peek(job_id)).result is Result.HELD
                second = await begun(taken(store, job_id))
        try:
            _, body = await second
        except BeingDelivered:
            await store.waits.ended(job_id, 3600)
            _, body = await taken(store, job_id)
        assert body == answer.body


@pytest.mark.file  # a node looks at its database only when it has told of the commit
async def test_a_result_is_not_called_gone_before_it_is_known_here_that_somebody_has_it(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        async with held_up(store_path):
            reader = await begun(_linger(store, job_id, asyncio.Event()))
        while states(store_path)[job_id] != ("done", "taken"):
            pass  # and the loop does not turn
        assert (await store.results.peek(job_id)).result is Result.HELD
        reader.cancel()
        await asyncio.wait([reader])  # which, before it was told, gives the result back later
        assert await taken_in_the_end(store, job_id) == HELLO.body


async def test_a_large_result_that_its_reader_never_began_to_read_is_free_for_all(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, LARGE)
        reserved: asyncio.Future[Taking] = asyncio.get_running_loop().create_future()
        store.results.taking(job_id).begin(
            lambda: False, lambda taking, *_: reserved.set_result(taking)
        )
        taking = await reserved
        assert taking.is_large
        taking.over()
        await writer_of(store).drained()  # there is nobody to be told
        async with beside(store_path) as other:
            assert (await taken(other, job_id))[1] == LARGE.body


async def waits(store: Store, job_id: int) -> Job:
    return await store.waits.ended(job_id, 3600)


@BOTH
async def test_who_waits_for_a_result_is_woken_when_its_delivery_to_another_has_broken_off(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        async with AsyncExitStack() as stack:
            reader = await begun(_linger(store, job_id, taking := asyncio.Event()))
            stack.callback(reader.cancel)
            await taking.wait()
            waiting = await begun(waits(store, job_id))
            assert not waiting.done()
        assert (await waiting).result is Result.HELD
        assert (await taken(store, job_id))[1] == answer.body


async def test_a_result_that_comes_back_while_somebody_looks_is_not_called_gone(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, HELLO)
        reader = await begun(_linger(store, job_id, taking := asyncio.Event()))
        await taking.wait()
        read = store.results._points.row  # noqa: SLF001 - to have what it reads arrive late

        async def late(*asked: Any, **values: Any) -> Any:
            row = await read(*asked, **values)
            reader.cancel()
            await asyncio.wait([reader])
            return row

        monkeypatch.setattr(store.results._points, "row", late)  # noqa: SLF001 - as above
        assert (await store.results.peek(job_id)).result is Result.HELD


async def test_who_waits_for_a_result_is_told_that_it_is_gone_once_another_has_it(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, LARGE)
        async with store.results.take(job_id) as delivery:
            waiting = await begun(waits(store, job_id))
            assert delivery
            assert delivery.response
            await content(delivery.response.body)
        with pytest.raises(JobNotFound):
            await waiting


@pytest.mark.file  # another node is refused
async def test_what_another_process_deletes_while_it_is_being_delivered_is_gone_for_the_others(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, LARGE)
        with pytest.raises(DeliveryRefused):
            await deleted_elsewhere(store_path, store, job_id, asked_again)
    assert states(store_path) == {job_id: ("done", "deleted")}


async def asked_again(store: Store, job_id: int) -> None:
    with pytest.raises(JobNotFound):
        await taken(store, job_id)


@BOTH
async def test_of_many_readers_at_once_one_reads_the_whole_result(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        readers = [taken(store, job_id) for _ in range(20)]
        found = await asyncio.gather(*readers, return_exceptions=True)
    assert [item[1] for item in found if isinstance(item, tuple)] == [answer.body]
    assert sum(isinstance(item, JobNotFound | BeingDelivered) for item in found) == 19


# --- or back ------------------------------------------------------------------------------------


@BOTH
async def test_a_delivery_that_breaks_off_gives_the_result_back_and_the_history_says_why(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        with pytest.raises(GoneError):
            await part_of(store, job_id, 1)
        assert states(store_path) == {job_id: ("done", "held")}
        details = rows(store_path, "SELECT detail FROM event WHERE event = 'delivery broken'")
        assert details == [("GoneError",)]
        _, body = await taken(store, job_id)
        assert body == answer.body


@pytest.mark.parametrize("count", [1, 2, 3, 4])
async def test_a_large_result_comes_back_from_wherever_its_delivery_broke_off(
    store_path: Path, count: int
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, LARGE)
        with pytest.raises(GoneError):
            await part_of(store, job_id, count)
        _, body = await taken(store, job_id)
        assert body == LARGE.body


async def test_a_result_that_was_not_read_to_its_end_was_not_delivered(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, LARGE)
        with pytest.raises(DeliveryRefused):
            async with store.results.take(job_id):
                pass
        _, body = await taken(store, job_id)
        assert body == LARGE.body


async def taken_in_the_end(store: Store, job_id: int) -> bytes:
    """Take a result, which another reader may not have given back yet."""
    while True:
        with suppress(BeingDelivered):
            _, body = await taken(store, job_id)
            return body


@BOTH
async def test_a_reader_who_is_gone_before_the_result_is_taken_gives_it_back(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        async with held_up(store_path):
            reader = await begun(taken(store, job_id))
            reader.cancel()
            await begun(asyncio.wait([reader]))
        assert await taken_in_the_end(store, job_id) == answer.body


@BOTH
async def test_a_reader_who_is_gone_while_another_commit_is_in_flight_gives_the_result_back(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        async with held_up(store_path):
            submitting = await begun(store.submit(submission(target="/other")))
            reader = await begun(taken(store, job_id))
            reader.cancel()
            await begun(asyncio.wait([reader]))
        await submitting
        _, body = await taken(store, job_id)
        assert body == answer.body


@BOTH
async def test_a_reader_who_is_gone_in_the_middle_gives_the_result_back_before_he_ends(
    store_path: Path, answer: Response
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        async with AsyncExitStack() as stack:
            reader = await begun(_linger(store, job_id, taking := asyncio.Event()))
            stack.callback(reader.cancel)
            await taking.wait()
        await asyncio.wait([reader])
        assert states(store_path) == {job_id: ("done", "held")}
        _, body = await taken(store, job_id)
        assert body == answer.body


async def _linger(store: Store, job_id: int, taking: asyncio.Event) -> None:
    async with store.results.take(job_id):
        taking.set()
        await asyncio.Event().wait()


async def test_one_reader_after_another_may_break_off_and_the_next_gets_it_all(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, LARGE)
        for count in (1, 3, 2, 4):
            with pytest.raises(GoneError):
                await part_of(store, job_id, count)
        _, body = await taken(store, job_id)
        assert body == LARGE.body
    assert timeline(store_path, job_id).count("delivery broken") == 4


# --- what may happen meanwhile ------------------------------------------------------------------


async def nothing(_store: Store, _job_id: int) -> None:
    """Do nothing."""


async def deleted_elsewhere(
    path: Path,
    store: Store,
    job_id: int,
    then: Callable[[Store, int], Awaitable[None]] = nothing,
) -> None:
    """Read a result while a command deletes it, and do something in between."""
    async with store.results.take(job_id) as delivery:
        assert delivery
        assert delivery.response
        async with beside(path) as command:
            await command.results.delete(job_id)
        await then(store, job_id)
        assert await content(delivery.response.body)


@pytest.mark.file  # likewise
async def test_a_large_result_that_goes_away_while_it_is_read_is_not_called_delivered(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, LARGE)
        with pytest.raises(DeliveryRefused):
            await deleted_elsewhere(store_path, store, job_id)
        with pytest.raises(JobNotFound):
            await taken(store, job_id)
    assert states(store_path) == {job_id: ("done", "deleted")}


async def purged_meanwhile(store: Store, job_id: int, *, forgotten: bool = False) -> None:
    """Take a result, and break off when its payload has been purged."""
    async with store.results.take(job_id):
        assert await store.upkeep.purge(START + 1) == 1
        if forgotten:
            assert await store.upkeep.forget(START + 1) == 1
        raise GoneError


async def test_what_was_purged_while_it_was_read_is_not_held_again_without_its_payload(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        with pytest.raises(GoneError):
            await purged_meanwhile(store, job_id)
        with pytest.raises(JobNotFound):
            await taken(store, job_id)
    assert states(store_path) == {job_id: ("done", "taken")}


async def test_a_delivery_may_break_off_when_its_job_is_forgotten(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        with pytest.raises(GoneError):
            await purged_meanwhile(store, job_id, forgotten=True)
        with pytest.raises(JobNotFound):
            await taken(store, job_id)
        assert not store.delivering
