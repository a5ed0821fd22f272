"""How a file gets smaller again after what was in it has gone."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final

import pytest

from jobstore.live import Limits, Store
from jobstore.live.janitor import Janitor
from jobstore.live.purging import purge
from jobstore.model.errors import StoreFull
from jobstore.model.message import Response
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.lock import owned
from jobstore.store.sqlite.migrate import migrate
from tests.commands import refused, said
from tests.loop import turns
from tests.stock import stocking
from tests.store.test_retention import FOR_EVER
from tests.stores import (
    StandingClock,
    begun,
    check_sound,
    finished,
    held_up,
    opened,
    rows,
    states,
    submission,
    taken,
)

pytestmark = pytest.mark.file

MIB: Final = 1024 * 1024
LATE: Final = 2**62
# More pages than a submission takes, and fewer than a step gives back.
STEP: Final = 32
LARGE: Final = Response(status=200, body=b"x" * 8 * MIB)


@asynccontextmanager
async def purged(path: Path) -> AsyncIterator[Store]:
    """Open a store that has had a large body, and after it a job that stays."""
    async with opened(path) as store:
        await taken(store, await finished(store, LARGE))
        await finished(store)
        await store.upkeep.purge(LATE)
        await store.upkeep.sweep()
        await store.file.checkpoint()
        assert size(path) > 8 * MIB
        yield store


def size(path: Path) -> int:
    return path.stat().st_size


def free(path: Path) -> int:
    """Tell how much of a file is free, in pages."""
    ((pages,),) = rows(path, "PRAGMA freelist_count")
    return int(pages)


async def until(true: Callable[[], bool]) -> None:
    """Let everything else go on until something is so."""
    while not true():  # which is so in the file, and that tells nobody
        await turns(1)


# --- beside the work ----------------------------------------------------------------------------


async def test_a_purge_gives_its_room_back_while_nobody_asks_for_anything(
    store_path: Path,
) -> None:
    async with purged(store_path) as store:
        cleaning = asyncio.create_task(Janitor(store, FOR_EVER, StandingClock()).run())
        await until(lambda: size(store_path) < 2 * MIB)
        cleaning.cancel()
        with suppress(asyncio.CancelledError):
            await cleaning
        assert await taken(store, 2) != (None, b"")


async def test_what_is_given_back_is_no_longer_in_the_file_nor_in_the_wal(
    store_path: Path,
) -> None:
    async with purged(store_path) as store:
        before = size(store_path)
        given = await store.file.shrink()
        assert size(store_path) == before - given
        assert size(store_path.with_name("jobs.db-wal")) == 0


async def test_some_room_stays_for_what_comes_next_unless_all_of_it_is_wanted_back(
    store_path: Path,
) -> None:
    async with purged(store_path) as store:
        assert await store.file.shrink() > 0
        assert free(store_path) == 256
        assert await store.file.shrink() == 0
        assert await store.file.shrink(wholly=True) >= 256 * sqlite.PAGE_SIZE
        assert free(store_path) == 0


async def test_the_file_stops_getting_smaller_when_work_comes_and_goes_on_when_it_is_done(
    store_path: Path,
) -> None:
    left: list[int] = []
    async with purged(store_path) as store:

        async def submit_some() -> None:
            for _ in range(3):
                await store.submit(submission(target="/nobody"))
                left.append(free(store_path))

        before = free(store_path)
        async with held_up(store_path):
            shrinking = await begun(store.file.shrink(wholly=True))
            submitting = await begun(submit_some())
        await submitting
        assert left[0] < before - STEP, "a step was on its way"
        assert left[-1] > left[0] - STEP, "and no other one came in between"
        await shrinking
    assert free(store_path) == 0


async def test_what_waits_is_done_before_the_file_begins_to_get_smaller(store_path: Path) -> None:
    async with purged(store_path) as store:
        before = free(store_path)
        async with held_up(store_path):
            submitting = await begun(store.submit(submission(target="/nobody")))
            shrinking = await begun(store.file.shrink())
        await submitting
        assert free(store_path) > before - STEP
        await shrinking


async def test_a_reader_who_holds_on_to_the_wal_is_not_waited_for(store_path: Path) -> None:
    async with purged(store_path) as store:
        with closing(sqlite3.connect(store_path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM job").fetchone()
            assert await store.file.shrink(wholly=True) > 8 * MIB
            assert size(store_path) > 8 * MIB, "the reader still needs it"
        await store.file.checkpoint()
        assert size(store_path) < MIB


# --- what can go wrong --------------------------------------------------------------------------


async def test_a_step_that_is_killed_leaves_a_sound_file(store_path: Path) -> None:
    async with purged(store_path):
        cut = store_path.with_name("cut.db")
        with closing(sqlite.connect(store_path, "rw", ["PRAGMA cache_size = 10"])) as file:
            file.execute("BEGIN IMMEDIATE")
            assert pages.give_back(file, 1000) >= 1000
            for name in ("", "-wal"):
                shutil.copy(f"{store_path}{name}", f"{cut}{name}")
            assert pages.wal_pages(cut) > 0, "some of the step is in the WAL"
            file.execute("ROLLBACK")
    check_sound(cut)
    assert states(cut) == states(store_path)
    assert free(cut) > 2000
    assert (await purge(cut, LATE)).given_back
    check_sound(cut)


async def test_a_file_that_may_not_grow_any_more_can_still_get_smaller(store_path: Path) -> None:
    async with opened(store_path, Limits(size=12 * MIB)) as store:
        await taken(store, await finished(store, LARGE))
        with pytest.raises(StoreFull):
            await store.submit(submission(body=LARGE.body))
        await store.upkeep.purge(LATE)
        await store.upkeep.sweep()
        assert await store.file.shrink() > 8 * MIB


# --- a file that was made otherwise -------------------------------------------------------------


@pytest.fixture
def stiff(store_path: Path) -> Path:
    """Make a store of an empty database that somebody else has made, and fill and empty it."""
    with closing(sqlite3.connect(store_path)) as file:
        file.execute("CREATE TABLE scrap (x)")
        file.execute("DROP TABLE scrap")
    migrate(store_path)
    asyncio.run(filled(store_path))
    return store_path


async def filled(path: Path) -> None:
    async with stocking(path) as stock:
        await stock.fetch(await stock.done("/a", answer={"body": b"x" * 2 * MIB}))
        await stock.done("/b")


def test_check_says_what_to_do_about_a_file_that_never_gets_smaller(stiff: Path) -> None:
    told = said("check", "--store", stiff).splitlines()
    assert ": ok; " in told[0]
    assert told[1] == "  It never gets smaller by itself; `jobstore purge --rebuild` changes that."
    assert json.loads(said("check", "--store", stiff, "--json"))["stiff"] is True


def test_a_file_that_never_gets_smaller_stays_as_it_is_until_it_is_written_anew(
    stiff: Path,
) -> None:
    late = ("--store", stiff, "--before", "2100-01-01", "--json")
    assert json.loads(said("purge", *late))["given_back"] == 0
    assert json.loads(said("purge", *late, "--rebuild"))["given_back"] > 2_000_000
    assert size(stiff) < MIB
    check_sound(stiff)
    assert states(stiff) == {1: ("done", "taken"), 2: ("done", "held")}
    assert len(said("check", "--store", stiff).splitlines()) == 1


async def test_writing_a_file_anew_can_be_given_up_and_changes_nothing(store_path: Path) -> None:
    async with stocking(store_path) as stock:
        for _ in range(4):
            await stock.done(answer={"body": b"x" * 8 * MIB})
    before = states(store_path)
    rebuilding = await begun(purge(store_path, 0, rebuild=True))
    await until(lambda: pages.wal_pages(store_path) > 0 or rebuilding.done())
    rebuilding.cancel()
    with suppress(asyncio.CancelledError):
        await rebuilding
    check_sound(store_path)
    assert states(store_path) == before


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def store(store_path: Path) -> Path:
    """Make a store with a large body that was fetched, and nobody can ask for."""
    asyncio.run(filled(store_path))
    return store_path


def test_purge_drops_what_was_fetched_and_makes_the_file_as_small_as_it_can_be(
    store: Path,
) -> None:
    before = size(store)
    told = said("purge", "--store", store, "--before", "2100-01-01")
    assert told.startswith("1 payload from before 2100-01-01T00:00:00.000Z purged; 2.")
    assert told.endswith(" MB given back.\n")
    assert before - size(store) > 2_000_000
    assert free(store) == 0
    assert rows(store, "SELECT job_id FROM response") == [(2,)]


def test_purge_tells_scripts_what_it_did(store: Path) -> None:
    before = size(store)
    told = json.loads(said("purge", "--store", store, "--before", "2100-01-01", "--json"))
    assert told == {
        "purged": 1,
        "given_back": before - size(store),
        "before": "2100-01-01T00:00:00.000Z",
    }


def test_purge_does_what_the_configuration_says_unless_told_otherwise(store: Path) -> None:
    config = store.with_name("never.toml")
    config.write_text('[retention]\nfetched = "never"')
    never = ("purge", "--store", store, "--config", config)
    assert "[retention] fetched is never; give --before" in refused(*never, code=2)
    assert said("purge", "--store", store).startswith("0 payloads from before ")


def test_beside_a_server_purge_leaves_the_file_and_what_is_being_received_to_it(
    store: Path,
) -> None:
    with owned(store):
        with closing(sqlite3.connect(store)) as file:
            file.execute("INSERT INTO body (side, size) VALUES ('request', 0)")
            file.commit()
        told = said("purge", "--store", store, "--before", "2100-01-01")
        assert told.endswith("purged; the server makes the file smaller in a quiet moment.\n")
        assert rows(store, "SELECT count(*) FROM body WHERE side = 'request'") == [(1,)]
        assert "is using this store" in refused("purge", "--store", store, "--rebuild")
    assert rows(store, "SELECT job_id FROM response") == [(2,)]


async def test_a_purge_that_is_broken_off_is_finished_by_the_next_one(store_path: Path) -> None:
    async with stocking(store_path) as stock:
        for _ in range(300):
            await stock.fetch(await stock.done())
    purging = await begun(purge(store_path, LATE))
    begun_with = "SELECT 1 FROM job WHERE purgeable_at IS NULL LIMIT 1"
    await until(lambda: rows(store_path, begun_with) != [])
    purging.cancel()
    with suppress(asyncio.CancelledError):
        await purging
    check_sound(store_path)
    payloads = "SELECT count(*) FROM request UNION ALL SELECT count(*) FROM response"
    assert len(set(rows(store_path, payloads))) == 1, "a payload goes as a whole or not at all"
    await purge(store_path, LATE)
    assert rows(store_path, payloads) == [(0,), (0,)]


def test_purge_of_a_store_that_is_not_there_leaves_nothing_behind(store_path: Path) -> None:
    assert "no such store" in refused("purge", "--store", store_path)
    assert list(store_path.parent.iterdir()) == []
