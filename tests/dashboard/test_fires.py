"""The next 24 hours of all schedules, at whatever time of day somebody looks."""

from pathlib import Path
from typing import Final

import pytest

from jobstore.dashboard.fires import strip_of
from jobstore.model.clock import SECOND
from jobstore.model.definition import Draft
from jobstore.model.message import Request
from jobstore.model.schedule import Schedule
from tests.stores import opened

HOUR: Final = 3600 * SECOND
MIDNIGHT: Final = 20_000 * 24 * HOUR
IN_A_DAY: Final = {"0 3 * * *": 1, "*/20 * * * *": 72, "59 23 * * *": 1, "* * * * *": 1440}


@pytest.mark.file  # which database it is does not matter
async def test_each_schedule_fires_as_often_as_it_does_in_a_day(store_path: Path) -> None:
    async with opened(store_path) as store:
        for cron in IN_A_DAY:
            request, schedule = Request(method="POST", path="/"), Schedule(cron=cron)
            draft = Draft(name=cron, path=f"/{cron}", request=request, schedule=schedule)
            await store.definitions.create(draft, "root")
        for hour in (0, 3, 3 + 1 / 3600, 3.1, 3.25, 12.34, 23.99):
            now = MIDNIGHT + round(hour * HOUR)
            strip = await strip_of(store.definitions, None, now)
            assert strip is not None
            assert {each.draft.name: sum(counts) for each, counts in strip.fires} == IN_A_DAY
            assert strip.since <= now < strip.since + HOUR / 4
