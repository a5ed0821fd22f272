from pathlib import Path
from typing import Final

import pytest

from jobstore.live import Store
from jobstore.live.fresh import FreshAnswers, FreshRequests
from jobstore.model.errors import JobNotFound
from jobstore.model.job import Claim
from jobstore.model.lifecycle import State
from jobstore.model.message import Request, Response
from jobstore.model.rotation import Claimed
from jobstore.store.facts import Answered, Ended, Looked, Queued, Taken
from tests.stores import (
    beside,
    finish,
    finished,
    next_claim,
    opened,
    orders_of,
    rows,
    submission,
    taken,
)

ODD: Final = Response(
    status=203,
    reason="Fine\udce4",
    headers=(("X-Bytes", "M\udcfcller"), ("Set-Cookie", "a"), ("Set-Cookie", "b"), ("x-snow", "☃")),
    body=bytes(range(256)),
)
KIB: Final = b"x" * 1024


def answered(job_id: int, content: bytes = b"") -> Answered:
    return Answered(job_id, 0, 200, None, (), content)


def queued(job_id: int, body: bytes = b"") -> Queued:
    return Queued(job_id, "/", 0, 0, Request(method="GET", path="/", body=body), secrets=False)


async def given(store: Store, job_id: int) -> tuple[Response, bytes]:
    """Take a result; give its head and its body."""
    delivery, body = await taken(store, job_id)
    assert delivery
    assert delivery.response
    return delivery.response, body


# --- answers ------------------------------------------------------------------------------------


async def test_an_answer_from_memory_is_the_one_that_stands_in_the_file(store_path: Path) -> None:
    async with opened(store_path) as store:
        now, later = await finished(store, ODD), await finished(store, ODD)
        from_memory = await given(store, now)
    async with opened(store_path) as store:
        from_file = await given(store, later)
    assert from_memory == from_file
    assert from_memory == (ODD, ODD.body)


async def test_an_answer_that_was_given_back_is_given_again(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, ODD)
        with pytest.raises(ConnectionResetError):
            async with store.results.take(job_id):
                raise ConnectionResetError
        assert await given(store, job_id) == (ODD, ODD.body)


async def test_nobody_gets_from_memory_what_was_deleted(store_path: Path) -> None:
    async with opened(store_path) as store:
        here, elsewhere = await finished(store), await finished(store)
        await store.results.delete(here)
        async with beside(store_path) as command:
            await command.results.delete(elsewhere)
        for job_id in (here, elsewhere):
            with pytest.raises(JobNotFound):
                await taken(store, job_id)


async def test_nobody_gets_from_memory_what_is_anothers(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        with pytest.raises(JobNotFound):
            async with store.results.take(job_id, scope=99):
                raise AssertionError("expected it to be refused")
        await taken(store, job_id)


def test_the_oldest_answers_leave_first() -> None:
    fresh = FreshAnswers(room=8 * 1024)
    for job_id in range(1, 7):
        fresh.came(answered(job_id, KIB))
    assert [job_id for job_id in range(1, 7) if fresh.get(job_id)] == [3, 4, 5, 6]
    fresh.gone(Taken(4, object()))
    fresh.came(answered(7, KIB))
    assert [job_id for job_id in range(1, 8) if fresh.get(job_id)] == [3, 5, 6, 7]


def test_an_answer_larger_than_the_room_is_not_kept() -> None:
    fresh = FreshAnswers(room=1024)
    fresh.came(answered(1, KIB))
    assert fresh.get(1) is None


# --- requests -----------------------------------------------------------------------------------


async def test_a_request_from_memory_is_the_one_that_stands_in_the_file(store_path: Path) -> None:
    headers = (("Authorization", "Basic c2VjcmV0"), ("X-Bytes", "\udcff"))
    request = Request(method="POST", path="/x?y=%20", headers=headers, body=KIB)
    async with opened(store_path) as store:
        for target in ("/now", "/later"):
            await store.submit(
                submission("POST", request.path, headers=headers, body=KIB, target=target)
            )
        from_memory = await next_claim(orders_of(store, {"/now": 1}))
        await finish(store, from_memory)
    async with opened(store_path) as store:
        from_file = await next_claim(orders_of(store, {"/later": 1}))
        await finish(store, from_file)
    for claim in (from_memory, from_file):
        assert (claim.request, claim.secrets) == (request, True)
    kept = rows(store_path, "SELECT secrets FROM request")
    assert [str(secrets).strip() for (secrets,) in kept] == ["", ""]


def test_the_requests_that_came_first_have_the_room() -> None:
    fresh = FreshRequests(room=4 * 1024)
    for job_id in range(1, 5):
        fresh.came(queued(job_id, KIB))
    assert [job_id for job_id in range(1, 5) if fresh.get(job_id)] == [1, 2]
    claim = Claim(job_id=1, attempt=1, target="/", request=queued(1).request)
    fresh.looked(Looked("/", Claimed([claim], more=True)))
    fresh.ended(Ended(2, "/", State.DONE, 0))
    for job_id in range(5, 9):
        fresh.came(queued(job_id, KIB))
    assert [job_id for job_id in range(1, 9) if fresh.get(job_id)] == [5, 6]
