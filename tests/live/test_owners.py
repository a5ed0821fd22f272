"""Jobs and definitions belong to accounts, not to names."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from jobstore.model.account import NOBODY, Identity, Role, account_of_name
from jobstore.model.clock import SECOND
from jobstore.model.definition_reader import parse
from tests.accounts import People
from tests.client import GATED, Client
from tests.commands import be_beside, jobstore, refused, said
from tests.conftest import Serve
from tests.stock import Stock, stocked
from tests.stores import prepare, rows
from trials.clients import Answer

DEFINITIONS = "/_jobs/definitions"
DRAFT = {"name": "daily", "path": "/Imports/daily", "target": "/import"}
NIGHTLY = {**DRAFT, "schedule": {"cron": "0 3 * * *"}}

Meet = Callable[..., Awaitable[People]]


@pytest.fixture
async def meet(serve: Serve) -> AsyncIterator[Meet]:
    """Give a function that starts a server, as `serve` does, for people to have accounts at."""
    async with AsyncExitStack() as stack:

        async def start_for(**sections: Any) -> People:
            return People(await serve(target=GATED, **sections), stack)

        yield start_for


def value(answer: Answer, status: int = 200) -> Any:
    assert answer.status == status, answer
    return json.loads(answer.body)


async def again(people: People, name: str) -> Client:
    """Remove somebody's account, and give their name to somebody else."""
    await people.server.store.accounts.remove(name)
    return await people.with_token(name)


# --- a name that is given away ------------------------------------------------------------------


async def test_whoever_gets_the_name_of_a_removed_account_finds_none_of_its_jobs(
    meet: Meet,
) -> None:
    people = await meet()
    boss = await people.with_token("boss", Role.ADMIN)
    bob = await people.with_token("bob")
    held, waiting = await bob.done("/a"), await bob.submit("/b")
    await bob.ended(waiting)
    bob = await again(people, "bob")
    for job_id in (held, waiting):
        for method, path in (
            ("GET", f"/_api/job/{job_id}"),
            ("PUT", f"/_api/job/{job_id}"),
            ("DELETE", f"/_api/job/{job_id}"),
            ("PUT", f"/_api/job/{job_id}/cancel"),
            ("GET", f"/_jobs/{job_id}"),
            ("GET", f"/_jobs/{job_id}/response"),
            ("POST", f"/_jobs/{job_id}/retry"),
            ("GET", f"/rest/job-execution/job-details/{job_id}"),
        ):
            assert (await bob(method, path)).status == 404, path
    await bob("DELETE", "/_api/job/all")
    for path in ("/_api/job/done", "/_api/job/pending", "/rest/jobs/list-running"):
        assert value(await bob("GET", path)) == []
    for query in ("", "?owner=bob"):
        assert value(await bob("GET", f"/_jobs{query}"))["jobs"] == []
    assert value(await boss("GET", "/_api/job/done")) == [str(held), str(waiting)]
    jobs = value(await boss("GET", "/_jobs?owner=bob"))["jobs"]
    assert [job["owner"] for job in jobs] == ["bob", "bob"]


async def test_whoever_gets_a_name_finds_none_of_its_definitions_keys_and_tags(meet: Meet) -> None:
    people = await meet()
    bob = await people.with_token("bob")
    made = value(await bob("POST", DEFINITIONS, json=DRAFT), 201)
    job = {"target": "/wait/a", "idempotency_key": "k", "tag": "t"}
    first = value(await bob("POST", "/_jobs", json=job), 202)["id"]
    bob = await again(people, "bob")
    assert value(await bob("GET", DEFINITIONS))["definitions"] == []
    for method, path in (
        ("GET", f"{DEFINITIONS}/{made['id']}"),
        ("POST", f"{DEFINITIONS}/{made['uuid']}/run"),
        ("GET", f"/api/job-execution/{DRAFT['path']}/status"),
    ):
        assert (await bob(method, path)).status == 404, path
    assert value(await bob("POST", DEFINITIONS, json=DRAFT), 201)["id"] != made["id"]
    shown = {"job_ids": [], "options": {"show_async_jobs": "true"}}
    assert (
        json.loads(value(await bob("POST", "/admin/show/jobs", json=shown))["data_str"])["job_id"]
        == []
    )
    assert value(await bob("POST", "/_jobs", json=job), 202)["id"] != first


async def test_a_job_of_a_removed_account_goes_on_and_stays_its_own(meet: Meet) -> None:
    people = await meet()
    boss, bob = await people.with_token("boss", Role.ADMIN), await people.with_token("bob")
    job_id = await bob.submit("/wait/slow")
    await boss.when("slow", "started")
    bob = await again(people, "bob")
    await boss.let("slow")
    assert (await boss.fetched(job_id)).body == b"slow is done"
    assert value(await bob("GET", "/_api/job/done")) == []


async def test_what_was_submitted_without_accounts_is_seen_by_admins_only(meet: Meet) -> None:
    people = await meet()
    everybody = await people.client()
    job_id = await everybody.done("/a", headers={"Authorization": "Basic Ym9iOg=="})
    boss, bob = await people.with_token("boss", Role.ADMIN), await people.with_token("bob")
    assert value(await bob("GET", "/_api/job/done")) == []
    assert value(await boss("GET", "/_api/job/done")) == [str(job_id)]


def test_an_identity_without_an_account_here_has_one_of_its_own() -> None:
    anybody = Identity(name="bob")
    assert (anybody.account, anybody.scope) == (NOBODY, None)
    bob, alice = (Identity(name=name, role=Role.USER) for name in ("bob", "alice"))
    assert bob.scope == bob.account == account_of_name("bob") < 0
    assert bob.account != alice.account
    assert Identity(name="bob", role=Role.USER, id=7).scope == 7


# --- what an operator revokes -------------------------------------------------------------------


@pytest.mark.parametrize("how", [("remove", "bob"), ("role", "bob", "reader")])
def test_the_schedules_of_an_account_that_may_not_submit_any_more_are_paused(
    store_path: Path, how: tuple[str, ...]
) -> None:
    async def scheduled(stock: Stock) -> None:
        for name in ("alice", "bob"):
            await stock.store.accounts.add(name, Role.USER, "x")
            account = stock.store.accounts.id_of(name)
            await stock.store.definitions.create(parse(NIGHTLY), name, account)

    stocked(store_path, scheduled)
    before = rows(store_path, "SELECT number FROM revision WHERE of = 'schedules'")
    done = jobstore("user", *how, "--store", store_path)
    assert "its schedule is paused" in done.stderr
    found = rows(store_path, "SELECT owner, paused, fires_at IS NULL FROM definition ORDER BY id")
    assert found == [("alice", 0, 0), ("bob", 1, 1)]
    assert rows(store_path, "SELECT number FROM revision WHERE of = 'schedules'") > before


# --- what is imported ---------------------------------------------------------------------------


def test_what_is_imported_belongs_to_the_account_that_has_the_name_there(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_beside(store_path, monkeypatch)

    async def ended(stock: Stock) -> None:
        for owner in ("bob", "gone"):
            await stock.done(owner=owner)

    stocked(store_path, ended, 1_700_000_000 * SECOND)
    said("export", "history.jsonl", "--store", store_path)
    other = store_path.parent / "other.db"
    prepare(other)
    for name in ("alice", "bob"):
        jobstore("user", "add", name, "--password-stdin", "--store", other, input="long enough\n")
    said("import", "history.jsonl", "--store", other)
    assert rows(other, "SELECT owner, account FROM job ORDER BY id") == [("bob", 2), ("gone", 0)]


# --- the paths of definitions -------------------------------------------------------------------


async def test_nobody_learns_from_a_path_what_others_have_there(meet: Meet) -> None:
    people = await meet()
    alice, bob = await people.with_token("alice"), await people.with_token("bob")
    hers = value(await alice("POST", DEFINITIONS, json=DRAFT), 201)
    his = value(await bob("POST", DEFINITIONS, json=DRAFT), 201)
    assert (await bob("POST", DEFINITIONS, json=DRAFT)).status == 409
    moved = value(await bob("POST", DEFINITIONS, json={**DRAFT, "path": "/b"}), 201)
    one = f"{DEFINITIONS}/{moved['id']}"
    assert (await bob("PATCH", one, json={"path": DRAFT["path"]})).status == 409
    await alice("PATCH", f"{DEFINITIONS}/{hers['id']}", json={"path": "/a"})
    assert (await bob("PATCH", one, json={"path": "/a"})).status == 200
    found = value(await bob("GET", f"{DEFINITIONS}?path={DRAFT['path']}"))["definitions"]
    assert [each["id"] for each in found] == [his["id"]]


async def test_a_path_means_ones_own_definition_or_else_the_only_other_one(meet: Meet) -> None:
    people = await meet()
    alice, bob = await people.with_token("alice"), await people.with_token("bob")
    boss = await people.with_token("boss", Role.ADMIN)
    status = f"/api/job-execution{DRAFT['path']}/status"
    hers = value(await alice("POST", DEFINITIONS, json=DRAFT), 201)
    assert (await boss("GET", status)).status == 200
    his = value(await bob("POST", DEFINITIONS, json=DRAFT), 201)
    for client in (alice, bob):
        assert (await client("GET", status)).status == 200
    ambiguous = await boss("GET", status)
    assert ambiguous.status == 409
    assert f"{hers['id']} of alice, {his['id']} of bob" in json.loads(ambiguous.body)["reason"]
    both = value(await boss("GET", f"{DEFINITIONS}?path={DRAFT['path']}"))["definitions"]
    assert [each["owner"] for each in both] == ["alice", "bob"]
    await boss("POST", DEFINITIONS, json=DRAFT)
    assert (await boss("GET", status)).status == 200


def test_a_command_says_which_definitions_a_path_may_mean(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_beside(store_path, monkeypatch)
    for name in ("alice", "bob"):
        jobstore("user", "add", name, "--password-stdin", input="long enough\n")
        said("define", "--name", "d", "--path", "/d", "--target", "/", "--owner", name)
    assert "name one by its id: 1 of alice, 2 of bob" in refused("run", "/d")
    assert "Job 1 is queued" in said("run", "2")
    assert rows(store_path, "SELECT owner, account FROM job") == [("bob", 2)]
    assert "is changed" in said(
        "define", "--name", "e", "--path", "/d", "--target", "/", "--owner", "bob", "--replace"
    )
    assert rows(store_path, "SELECT name FROM definition ORDER BY id") == [("d",), ("e",)]
