"""The store on a page: where it is, how large, what goes when, and who works on it."""

import asyncio
from dataclasses import replace
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from jobstore.dashboard.store import retention_words, warnings
from jobstore.live.census import Census
from jobstore.live.janitor import Retention
from jobstore.live.store_facts import COUNTED_TO, StoreFacts
from jobstore.model import clock
from jobstore.model.account import Role
from jobstore.store.keeping import Keeping, Sizes
from jobstore.store.starts import Start, StartState
from tests.accounts import basic
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.dashboard.test_access import said
from tests.dashboard.visitors import visitor
from tests.engines import ENGINES
from trials.clients import client

HOUR: Final = 3600.0
KEPT: Final = Retention(unfetched=720 * HOUR, fetched=24 * HOUR, history=2160 * HOUR, interval=60)
FACTS: Final = StoreFacts(
    engine="SQLite",
    place="jobs.db",
    sizes=Sizes(file=4096, wal=0),
    counters={},
    starts=(),
    expiring=1204,
    purging=1,
)
START: Final = Start(
    boot=7,
    name="a",
    host="h",
    pid=1,
    version="1.0",
    started_at=0,
    seen_at=0,
    ended_at=None,
    state=StartState.ALIVE,
)


@pytest.mark.parametrize("store_path", ENGINES, indirect=True)
async def test_the_page_says_what_there_is_to_know(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=ORDINARY, retention={"history": "never"})
    rita = await visitor(server, http, "rita", Role.READER)
    await visitor(server, http, "ute", Role.USER)
    async with client({"Authorization": basic("ute")}) as with_name:
        await Client(with_name, server.url).done("/echo")
    page = await rita.get("store")
    words = said(page)
    assert server.store.file.place.split("/")[-1] in words
    assert server.store.file.engine in words
    assert "done 1 job failed 0 jobs" in words
    assert "held 1 " in words
    assert "What happened to jobs is kept for ever." in words
    assert "alive" in words
    assert b'class="warnings"' not in page.body
    assert ("jobstore backup FILE" in words) == (server.store.file.engine.startswith("SQLite"))


class Counted:
    """What is done for a store's place, with how often its sizes were asked for."""

    def __init__(self, file: Keeping) -> None:
        self._file = file
        self.asked = 0

    async def sizes(self) -> Sizes:
        """Tell how much room the store takes."""
        self.asked += 1
        return await self._file.sizes()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


async def test_the_sizes_are_looked_at_once_for_all_who_look(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve()
    store, file = server.store, Counted(server.store.file)
    store.census = Census(store.history, file, store.slots, clock.now)
    visitors = [await visitor(server, http, name, Role.READER) for name in ("rita", "ruth")]
    pages = [each.get(page) for each in visitors for page in ("store", "targets")]
    calls = [Client(http, server.url)("GET", path) for path in ("/_jobs/readyz", "/_jobs/livez")]
    assert {answer.status for answer in await asyncio.gather(*pages, *calls)} == {200}
    assert file.asked == 1


async def test_only_who_sees_all_jobs_sees_the_page(serve: Serve, http: ClientSession) -> None:
    server = await serve()
    ute = await visitor(server, http, "ute", Role.USER)
    assert (await ute.get("store")).status == 403
    assert b'href="./store"' not in (await ute.get()).body


async def test_what_speaks_against_submissions_is_the_first_thing_said(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve()
    alice = await visitor(server, http, "alice", Role.ADMIN)
    server.store.refuse()
    words = said(await alice.get("store"))
    assert words.startswith("Store The server is shutting down. No submissions are accepted")


def test_retention_is_told_in_words_with_what_goes_next() -> None:
    assert "\n".join(retention_words(KEPT, FACTS)) == (
        "A result that nobody fetches expires 30 days after its job has ended: 1,204 results "
        "within a day.\n"
        "The headers and bodies of a job go 24 h after its result was fetched, deleted or has "
        "expired: those of 1 job within a day.\n"
        "A job is forgotten 90 days after its end, unless its result can be fetched; the "
        "figures of Activity and Statistics are kept."
    )
    never = replace(KEPT, unfetched=None, fetched=None, history=None)
    assert [line.split()[-1] for line in retention_words(never, FACTS)] == [
        "ever.",
        "job.",
        "ever.",
    ]
    many = replace(FACTS, expiring=COUNTED_TO, purging=None)
    expiring, purging, _ = retention_words(replace(KEPT, fetched=0), many)
    assert expiring.endswith(": 100,000 or more results within a day.")
    assert "go as soon as its result was fetched" in purging
    assert purging.endswith(": those of more jobs than can be counted in a moment within a day.")


def test_it_warns_of_a_long_log_and_of_nodes_that_differ_or_are_silent() -> None:
    assert [*warnings(FACTS)] == []
    starts = (
        START,
        replace(START, boot=6, name="b", version="1.1"),
        replace(START, boot=5, name="c", state=StartState.SILENT),
        replace(START, boot=4, version="0.9", state=StartState.ENDED, ended_at=1),
    )
    found = [*warnings(replace(FACTS, sizes=Sizes(file=1, wal=2**30), starts=starts))]
    assert [each.words.partition(":")[0] for each in found] == [
        "the log beside the file has 1 GiB",
        "node c was not seen for a while",
        "nodes of several versions work on the store",
    ]
    assert found[-1].words.endswith(": 1.0, 1.1")
