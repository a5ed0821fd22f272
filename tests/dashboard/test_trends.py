"""How the jobs of targets fared in the last day."""

from pathlib import Path

import pytest

from jobstore.dashboard.trends import trends
from jobstore.model.periods import DAY, start_of
from tests.stock import stocking
from tests.stores import START, execute

pytestmark = pytest.mark.file


async def test_a_target_has_its_hours_whichever_other_targets_had_more_jobs(
    store_path: Path,
) -> None:
    async with stocking(store_path, now=start_of(DAY, START)) as stock:
        gone = [await stock.done() for _ in range(3)]
        execute(store_path, "UPDATE job SET target = '/gone' WHERE id <= ?", gone[-1])
        await stock.done(status=500)
        stock.clock.move(61)
        await stock.store.upkeep.count()
        (found,) = (await trends(stock.store, ["/"], stock.clock.now)).values()
    assert found.total.count == 1
    assert [work.errors for _, work in found.hours if work.count] == [1]
