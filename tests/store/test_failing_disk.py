"""A disk that fails: what was refused has not happened, what was accepted is there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.stores import check_sound, rows
from trials.clients import Answer
from trials.disk import MISSING, PLANS, Plans
from trials.nursery import ForkedServer

pytestmark = pytest.mark.file


class FailingDisk(ForkedServer):
    """A real server whose disk can be made to fail.

    Args:
        store_path: its store; the faults are planned in a folder beside it.
    """

    def __init__(self, store_path: Path) -> None:
        super().__init__(store_path)
        self.plans = Plans(store_path.with_name("faults"))

    @property
    def environment(self) -> dict[str, str]:
        """What it finds in its environment."""
        return {**super().environment, PLANS: str(self.plans.folder)}

    def says(self, words: str) -> bool:
        """Tell whether it has logged something."""
        return words in "".join(self.output)


@pytest.fixture
async def disk(nursery: Path | None, store_path: Path) -> AsyncIterator[FailingDisk]:
    """Start a server on a disk that can fail."""
    if nursery is None:
        pytest.skip(MISSING)
    server = FailingDisk(store_path)
    await server.start()
    yield server
    await server.kill()


async def tried(client: Client, name: str) -> Answer:
    """Try to submit a job whose path has a name."""
    headers = {"x-arango-async": "store"}
    return await client("POST", f"/echo?{name}", data=name.encode(), headers=headers)


async def restarted(disk: FailingDisk, *, kill: bool) -> None:
    """Stop a server, or kill it as a power cut would, and start it again on a sound disk."""
    if kill:
        await disk.kill()
    disk.plans.heal()
    if not kill:
        assert await disk.terminate() == 0
    await disk.start()


def paths(store: Path) -> list[str]:
    """List the paths of all jobs there are."""
    return [path for (path,) in rows(store, "SELECT path FROM job ORDER BY id")]


async def cycle(client: Client, name: str) -> tuple[int, int | None, int | None]:
    """Submit a job and fetch its result once; tell both statuses and the job's id."""
    submitted = await tried(client, name)
    if submitted.status != 202:
        return submitted.status, None, None
    job_id = int(submitted.headers["x-arango-async-id"])
    await client.ended(job_id)  # or the taking would share the commit of the end
    fetched = await client.told(job_id)
    assert fetched.status != 200 or fetched.body == name.encode()
    return submitted.status, job_id, fetched.status


@pytest.mark.parametrize("kill", [True, False], ids=["killed right then", "stopped later"])
async def test_what_was_refused_at_any_commit_of_a_cycle_has_not_happened(
    disk: FailingDisk, store_path: Path, http: ClientSession, *, kill: bool
) -> None:
    spared, struck = 0, True
    while struck:  # the first sync of the cycle, then the second, until there are no more of them
        disk.plans.fail_syncs(spared, 1)
        name = f"cycle-{spared}"
        submitted, job_id, fetched = await cycle(Client(http, disk.url), name)
        struck = disk.plans.failed("syncs") > 0
        await restarted(disk, kill=kill)
        client = Client(http, disk.url)
        assert submitted in {202, 503}
        assert paths(store_path).count(f"/echo?{name}") == (submitted == 202)
        if job_id is not None:
            assert fetched in {200, 503}
            again = await client.fetched(job_id)
            assert (again.status, again.body == name.encode()) == (
                (404, False) if fetched == 200 else (200, True)
            )
        spared += 1
    assert spared > 3  # submission, end of the job, and taking have a commit each
    check_sound(store_path)


@pytest.mark.parametrize("failing", [2, 3, 5])
async def test_a_disk_that_fails_several_times_takes_nothing_back_either_way(
    disk: FailingDisk, store_path: Path, http: ClientSession, failing: int
) -> None:
    client = Client(http, disk.url)
    disk.plans.fail_syncs(0, failing)
    statuses: dict[str, int] = {}
    while disk.plans.failed("syncs") < failing or not statuses:
        name = f"try-{len(statuses)}"
        statuses[name] = (await tried(client, name)).status
    await disk.kill()
    disk.plans.heal()
    await disk.start()
    found = paths(store_path)
    for name, status in statuses.items():
        assert status in {202, 500, 503}
        assert status == 500 or found.count(f"/echo?{name}") == (status == 202)


async def test_a_disk_that_fails_for_good_stops_the_work_and_says_so(
    disk: FailingDisk, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, disk.url)
    held = await client.done("/echo?held", "POST", data=b"held")
    # Until the server has nothing left to write by itself, which would meet the fault first.
    while store_path.with_name("jobs.db-wal").stat().st_size:
        assert (await client("GET", "/_jobs/readyz")).status == 200
    disk.plans.fail_syncs(0, 10**9)
    unsure = await tried(client, "unsure")
    assert (unsure.status, "Retry-After" in unsure.headers) == (500, False)
    assert b'"errorNum":4' in unsure.body
    refused = await tried(client, "refused")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert b'"errorNum":2' in refused.body
    assert (await client("PUT", f"/_api/job/{held}")).status == 503
    ready = await client("GET", "/_jobs/readyz")
    assert ready.status == 503
    assert b"disk" in ready.body
    await disk.kill()
    disk.plans.heal()
    await disk.start()
    assert paths(store_path) in (["/echo?held"], ["/echo?held", "/echo?unsure"])
    assert (await Client(http, disk.url).fetched(held)).body == b"held"
    assert len([line for line in disk.output if "ERROR" in line]) == 1
    assert disk.says("SQLITE_IOERR_FSYNC")


async def test_a_disk_that_works_again_is_used_again_without_a_restart(
    disk: FailingDisk, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, disk.url)
    running = await client.submit("/_admin/sleep?duration=0.3")
    disk.plans.fail_syncs(0, 10**9)
    assert (await tried(client, "refused")).status in {500, 503}
    while (await client("GET", "/_jobs/readyz")).status != 503:
        pass
    disk.plans.heal()
    while (await client("GET", "/_jobs/readyz")).status != 200:
        pass
    assert (await client.fetched(running)).status == 200
    assert (await tried(client, "after")).status == 202
    await disk.kill()
    await disk.start()
    assert paths(store_path) == ["/_admin/sleep?duration=0.3", "/echo?after"]
    assert disk.says("the store can be written again")


async def test_many_who_share_a_commit_that_fails_are_each_told_the_truth(
    disk: FailingDisk, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, disk.url)
    disk.plans.fail_syncs(1, 3)
    names = [f"one-{number}" for number in range(32)]
    answers = list(await asyncio.gather(*(tried(client, name) for name in names)))
    while disk.plans.failed("syncs") < 3:  # all of them may have shared the commit before
        names.append(f"one-{len(names)}")
        answers.append(await tried(client, names[-1]))
    await disk.kill()
    disk.plans.heal()
    await disk.start()
    found = paths(store_path)
    for name, answer in zip(names, answers, strict=True):
        assert answer.status == 500 or found.count(f"/echo?{name}") == (answer.status == 202)
    check_sound(store_path)


async def test_a_disk_that_cannot_be_read_ends_nothing_but_the_answers_of_that_moment(
    disk: FailingDisk, http: ClientSession
) -> None:
    client = Client(http, disk.url)
    held = await client.done("/echo", "POST", data=b"held")
    draft = {"name": "Nightly", "path": "/nightly", "target": "/echo"}
    schedule = {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"}
    made = await client("POST", "/_jobs/definitions", json={**draft, "schedule": schedule})
    assert made.status == 201, made
    disk.plans.fail_reads()
    looks = ("/_jobs", f"/_jobs/{held}/timeline", "/_jobs/definitions", "/_api/job/done")
    while disk.plans.failed("reads") < 50:
        statuses = [(await client("GET", path)).status for path in looks]
        assert set(statuses) <= {200, 503}
    assert (await tried(client, "meanwhile")).status in {202, 500, 503}
    disk.plans.heal()
    while [(await client("GET", path)).status for path in looks] != [200] * len(looks):
        pass
    assert (await client.fetched(held)).body == b"held"
    assert not disk.says("Traceback")
    assert await disk.terminate() == 0
