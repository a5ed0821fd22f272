"""Many rows are gone through without holding up the event loop."""

import asyncio

import pytest

from jobstore.store.slices import slices
from tests.loop import turns

pytestmark = pytest.mark.file


async def test_other_tasks_run_between_the_parts_of_many_rows() -> None:
    happened: list[object] = []

    async def other() -> None:
        while True:
            happened.append("other")
            await turns(1)

    task = asyncio.create_task(other())
    async for some in slices(range(5), 2):
        happened.append([*some])  # noqa: PERF401 - what else happens comes in between
    task.cancel()
    assert happened == [[0, 1], "other", [2, 3], "other", [4], "other"]


async def test_no_rows_have_no_parts() -> None:
    assert [some async for some in slices(range(0), 2)] == []
