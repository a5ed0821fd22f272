"""What can be done to jobs from their pages: asked first, done by a form, and refused in words."""

import json
import re
from contextlib import AsyncExitStack
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession

from jobstore.model import clock
from jobstore.model.account import Role
from jobstore.model.job import Failure
from tests.accounts import People, basic
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.stock import stocking
from tests.stores import fail
from trials.clients import Answer

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has an ordinary application behind it."""
    return Client(http, (await serve(target=ORDINARY)).url)


@pytest.fixture
async def gated(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that does one piece of work at a time, each behind a gate."""
    executor = {"concurrency": 1, "cancel_grace": "1h"}
    return Client(http, (await serve(target=GATED, executor=executor)).url)


async def look(client: Client, path: str, status: int = 200) -> str:
    """Look at a page, and give what it says."""
    return page(await client("GET", f"/_jobs/ui/{path}"), status)


def page(answer: Answer, status: int = 200) -> str:
    """Check that an answer is a page, and give what it says."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    return unescape(answer.body.decode())


async def send(client: Client, path: str, **options: Any) -> Answer:
    """Send a form."""
    fields = options.pop("fields", {})
    headers = {"Content-Type": FORM, **options.pop("headers", {})}
    return await client("POST", f"/_jobs/ui/{path}", data=urlencode(fields), headers=headers)


async def led(client: Client, path: str, **fields: str) -> str:
    """Send a form, and give where it leads."""
    answer = await send(client, path, fields=fields)
    assert answer.status == 303, page(answer, answer.status)
    return answer.headers["Location"]


async def answered(client: Client, path: str, **fields: str) -> Answer:
    """Look at a question, and send its form as it is, but for what is filled in."""
    return await reply(client, await look(client, path), **fields)


async def reply(client: Client, asked: str, **fields: str) -> Answer:
    """Send the form of a question."""
    form = r'<form class="panel ask" id="ask" method="post" action="([^"]*)"'
    (action,) = re.findall(form, asked)
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked))
    return await send(client, action.replace("../", ""), fields={**kept, **fields})


async def job(client: Client, job_id: int) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((await client("GET", f"/_jobs/{job_id}")).body)
    return told


async def ended(client: Client, job_id: int) -> dict[str, Any]:
    """Wait until a job has ended, and give what is said of it."""
    await client("GET", f"/_jobs/{job_id}", headers={"Prefer": "wait=60"})
    return await job(client, job_id)


async def over(client: Client, operation: int) -> dict[str, Any]:
    """Give what is said of an operation when it is over."""
    while True:
        answer = await client("GET", f"/_jobs/operations/{operation}")
        said: dict[str, Any] = json.loads(answer.body)
        if said["state"] != "running":
            return said


def offered(asked: str) -> list[str]:
    """Tell what a job's page offers."""
    return re.findall(r'data-ask data-action="(\w+)"', asked)


# --- one job ------------------------------------------------------------------------------------


async def test_only_what_can_be_done_to_a_job_is_offered(gated: Client) -> None:
    running, queued = await gated.submit("/wait/a"), await gated.submit("/wait/b")
    await gated.when("a", "started")
    assert offered(await look(gated, str(running))) == ["cancel", "delete"]
    assert offered(await look(gated, str(queued))) == ["cancel", "delete"]
    assert "job may have done all" not in await look(gated, f"{queued}/cancel")
    assert "stopped at once" in await look(gated, f"{running}/cancel")
    assert await led(gated, f"{queued}/cancel") == f"../{queued}?done=cancelled"
    assert await led(gated, f"{running}/cancel") == f"../{running}?done=cancel-asked"
    assert (await ended(gated, running))["state"] == "cancelled"
    shown = await look(gated, f"{queued}?done=cancelled")
    assert offered(shown) == ["retry", "delete"]
    assert '<div class="said" role="status"><span>Cancelled.</span>' in shown
    assert 'class="said"' not in await look(gated, f"{queued}?done=<b>anything</b>")


async def test_what_moved_meanwhile_is_told_in_a_sentence(gated: Client) -> None:
    job_id = await gated.submit("/wait/a")
    assert (
        f"job {job_id} has not ended yet: it is"
        in (await look(gated, f"{job_id}/retry", 409)).lower()
    )
    await gated.when("a", "started")
    await look(gated, f"{job_id}/cancel")
    await gated.let("a")
    await ended(gated, job_id)
    late = page(await send(gated, f"{job_id}/cancel"), 409)
    assert f"Job {job_id} has already ended: it is done." in late
    assert f"Job {job_id} still has its result." in await look(gated, f"{job_id}/restore", 409)
    assert "No job 99." in page(await send(gated, "99/cancel"), 404)


async def test_a_retry_is_a_new_job_and_says_what_it_lacks(client: Client) -> None:
    plain = await client.done("/echo", "POST", data=b"hello")
    asked = await look(client, f"{plain}/retry")
    assert "may then happen twice" in asked
    assert await led(client, f"{plain}/retry") == f"../{plain + 1}?done=retried"
    assert (await ended(client, plain + 1))["status"] == 200
    shown = await look(client, f"{plain + 1}?done=retried")
    assert "This is the new job." in shown
    assert f"as a retry of job {plain}, from the dashboard." in shown
    secret = await client.done("/greet/world", headers={"Cookie": "a=b"})
    asked = await look(client, f"{secret}/retry")
    assert "without Cookie, which was secret" in asked
    refused = page(await send(client, f"{secret}/retry"), 409)
    assert "Nothing was done: job 3 was sent with Cookie, which is not kept" in refused
    assert await led(client, f"{secret}/retry", without_secrets="yes") == (
        f"../{secret + 1}?done=retried"
    )


async def test_the_question_says_that_a_job_was_retried_already(client: Client) -> None:
    job_id = await client.done("/greet/world")
    assert "already retried" not in await look(client, f"{job_id}/retry")
    await led(client, f"{job_id}/retry")
    assert "It was already retried as job 2.<" in await look(client, f"{job_id}/retry")
    await led(client, f"{job_id}/retry")
    asked = await look(client, f"{job_id}/retry")
    assert "It was already retried as job 3, the last of 2 times.<" in asked


async def test_the_question_says_what_may_happen_twice(
    store_path: Path, serve: Serve, http: ClientSession
) -> None:
    done = "Whatever its target has already done may then happen twice."
    cases = (
        ("POST", Failure.INTERRUPTED, "its POST may have taken effect; sent again, it may take "),
        ("POST", Failure.TIMEOUT, done),
        ("PUT", Failure.INTERRUPTED, done),
        ("GET", Failure.INTERRUPTED, ""),
    )
    async with stocking(store_path, now=clock.now()) as stock:
        for method, failure, _ in cases:
            await fail(stock.store, await stock.running("/pay", method=method), failure, "it ended")
    client = Client(http, (await serve(target=ORDINARY)).url)
    for job_id, (_, _, told) in enumerate(cases, 1):
        asked = await look(client, f"{job_id}/retry")
        assert told in asked
        assert ("twice" in asked) == bool(told)
        assert ("was interrupted" in asked) == ("taken effect" in told)


async def test_a_deletion_is_undone_with_one_button(client: Client) -> None:
    job_id = await client.done("/greet/world")
    assert "can be restored" in await look(client, f"{job_id}/delete")
    assert await led(client, f"{job_id}/delete") == f"../{job_id}?done=deleted"
    shown = await look(client, f"{job_id}?done=deleted")
    assert offered(shown) == ["restore"]
    assert f'<form method="post" action="./{job_id}/restore"><button>Undo</button>' in shown
    assert (await client("GET", f"/_api/job/{job_id}")).status == 404
    assert f"Job {job_id} was already deleted." in page(await send(client, f"{job_id}/delete"), 409)
    assert await led(client, f"{job_id}/restore") == f"../{job_id}?done=restored"
    assert (await client.fetched(job_id)).status == 200
    again = await look(client, f"{job_id}/restore")
    assert "may be processed twice" in again
    assert await led(client, f"{job_id}/restore") == f"../{job_id}?done=restored"


async def test_nothing_is_changed_by_looking_nor_for_another_origin_nor_by_what_is_no_form(
    client: Client,
) -> None:
    job_id = await client.done("/greet/world")
    before = await job(client, job_id)
    for path in (f"{job_id}/retry", f"{job_id}/delete", "matching/delete?state=done"):
        await look(client, path)
        for foreign in (
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "same-site"},
            {"Content-Type": "text/plain"},
        ):
            answer = await send(client, path, headers=foreign)
            assert answer.status in {400, 403}, (path, foreign, answer)
    assert await job(client, job_id) == before
    assert (await client("GET", f"/_jobs/{job_id + 1}")).status == 404
    assert (await client("POST", f"/_jobs/ui/{job_id}/explode")).status == 404


async def test_a_reader_is_offered_nothing_and_a_user_only_their_own(
    serve: Serve,
) -> None:
    server = await serve(target=ORDINARY)
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        alice, bob = await people.with_token("alice"), await people.with_token("bob")
        reader = await people.with_token("eve", Role.READER)
        job_id = await alice.done("/greet/world")
        shown = await look(reader, str(job_id))
        assert offered(shown) == []
        assert 'id="selection"' not in await look(reader, "")
        assert 'id="selection"' in await look(alice, "")
        made = await answered(alice, f"selected/delete?id={job_id}")
        operation = int(made.headers["Location"].rpartition("/")[2])
        await over(alice, operation)
        assert "Undo…" in await look(alice, f"operations/{operation}")
        assert "Undo…" not in await look(reader, f"operations/{operation}")
        for path in (
            f"{job_id}/retry",
            f"{job_id}/restore",
            "matching/retry?state=done",
            f"selected/cancel?id={job_id}",
            f"operations/{operation}/undo",
        ):
            for answer in (
                await reader("GET", f"/_jobs/ui/{path}"),
                await send(reader, path, fields={"count": "1", "last": "1"}),
            ):
                assert "does not" in page(answer, 403) or "may" in page(answer, 403)
        assert "No job" in page(await send(bob, f"{job_id}/restore"), 404)
        assert "Nothing to restore" in await look(bob, f"selected/restore?id={job_id}")
        assert "There is no operation" in await look(bob, f"operations/{operation}", 404)
        assert "There is no operation" in page(
            await send(bob, f"operations/{operation}/undo", fields={"count": "1", "last": "1"}), 404
        )
        assert await led(alice, f"{job_id}/restore")


# --- many jobs ----------------------------------------------------------------------------------


async def test_what_is_done_to_all_is_worded_apart_from_what_is_done_to_the_selected(
    client: Client,
) -> None:
    def words(shown: str, id_: str) -> str:
        inside = shown.partition(f'id="{id_}"')[2].partition("</details>")[0].partition(">")[2]
        return " ".join(re.sub(r"<[^>]+>", " ", inside).split())

    for _ in range(3):
        await client.done("/status/500")
    every = await look(client, "")
    assert words(every, "selection").startswith(
        "Selected: Retry selected… Cancel selected… Delete selected… All 3 jobs"
    )
    assert words(every, "every").startswith("All 3 jobs Retry all 3 jobs… Cancel all 3 jobs…")
    assert 'id="whole"' in every
    few = await look(client, "?status=5xx")  # all of them are on the page
    assert words(few, "every").startswith("All 3 that match Retry all 3 matching… ")
    kept = await look(client, "?state=done&limit=2")
    assert words(kept, "every").startswith("All 3 that match Retry all 3 matching… ")
    unknown = await look(client, "?status=5xx&limit=2")  # counting takes its time: nobody did
    assert words(unknown, "every").startswith("All that match Retry all matching… ")


async def test_what_was_counted_is_what_is_done(client: Client) -> None:
    wrong = [await client.done("/status/500") for _ in range(3)]
    await client.done("/greet/world")
    asked = await look(client, "matching/retry?status=5xx&since=1h")
    assert "Retry 3 jobs?" in asked
    assert "match status:5xx since:20" in asked  # by the clock, so that it stays what it is
    await client.done("/status/503")  # came later, so it was never meant
    answer = await reply(client, asked)
    assert (answer.status, answer.headers["Location"]) == (303, "../operations/1")
    said = await over(client, 1)
    assert (said["done"], said["skipped"], said["count"]) == (3, 0, 3)
    assert said["filter"]["status"] == "5xx"
    assert re.fullmatch(r"20\d\d-.*Z", said["filter"]["since"])
    shown = await look(client, "operations/1")
    assert "Finished: done to 3 jobs." in shown
    assert '<progress class="far" value="3" max="3"' in shown
    assert "Retry 3 jobs" in await look(client, "operations")
    assert "Nothing to retry" in await look(
        client, "selected/retry?" + "&".join(f"id={each}" for each in wrong)
    )


async def test_an_operation_leads_to_its_jobs_and_they_lead_to_it(client: Client) -> None:
    for _ in range(2):
        await client.done("/status/500")
    await reply(client, await look(client, "matching/retry?status=500"))
    await over(client, 1)
    await answered(client, "selected/delete?id=1")
    await over(client, 2)
    await answered(client, "operations/2/undo")
    await over(client, 3)
    shown = await look(client, "operations")
    assert shown.count('<span class="muted">without an account</span></td>') == 3
    assert '<a href="./?status=500">status:500</a>' in shown
    assert '<a href="./operations/2">jobs of operation 2</a>' in shown
    assert ">selected jobs</td>" in shown
    one = await look(client, "operations/1")
    assert '<a class="mono" href="../?status=500">status:500</a>' in one
    assert " by somebody without an account" in one
    job_page = await look(client, "1")
    told = re.findall(r"<small>([^<]*)<a href=\"./operations/(\d)\">operation \d</a>", job_page)
    assert told == [("as job 3, by ", "1"), ("by ", "2"), ("by ", "3")]


async def test_nothing_is_done_if_there_are_not_as_many_any_more(client: Client) -> None:
    first, second = await client.done("/status/500"), await client.done("/status/500")
    asked = await look(client, "matching/retry?status=500")
    await led(client, f"{first}/retry")  # somebody else was quicker
    answer = page(await reply(client, asked), 409)
    assert "Nothing was done: there were 2 when you were asked, and now there are" in answer
    assert "Nothing was done to many jobs at once yet" in await look(client, "operations")
    await ended(client, 3)
    again = await look(client, f"selected/retry?id={first}&id={second}&id={second}&id=99")
    assert "1 of 3 jobs that you have selected. The other 2 cannot be." in again
    assert (await reply(client, again)).headers["Location"] == "../operations/1"
    assert (await over(client, 1))["done"] == 1
    gone = page(await reply(client, again), 409)
    assert "Nothing to retry" in gone  # two operators on one selection: the second one hears of it


async def test_of_many_jobs_the_number_has_to_be_typed(gated: Client) -> None:
    for number in range(101):
        await gated.submit(f"/wait/{number}")
    await gated.when("0", "started")
    asked = await look(gated, "matching/cancel?state=queued,running")
    assert "100 of them are queued and 1 running" in asked
    assert "Type 101 to go on" in asked
    refused = page(await reply(gated, asked, typed="100"), 400)
    assert "the number of jobs was not typed as 101" in refused
    assert (await reply(gated, refused, typed="101")).status == 303
    assert (await over(gated, 1))["done"] == 101
    assert "Cancel 101 jobs" in await look(gated, "operations/1")


async def test_an_operation_is_stopped_and_a_deletion_of_many_is_undone(client: Client) -> None:
    ids = [await client.done("/greet/world") for _ in range(3)]
    await answered(client, f"selected/delete?id={ids[0]}&id={ids[1]}")
    await over(client, 1)
    await client("DELETE", f"/_jobs/{ids[2]}")  # which was deleted otherwise, and for good
    assert "Undo…" in await look(client, "operations/1")
    asked = await look(client, "operations/1/undo")
    assert "Restore 2 jobs?" in asked
    assert (await reply(client, asked)).headers["Location"] == "../../operations/2"
    assert (await over(client, 2))["done"] == 2
    assert "jobs of operation 1" in await look(client, "operations/2")
    assert "Nothing to restore" in await look(client, "operations/1/undo")
    assert "It has already ended: it is done." in await look(client, "operations/2/stop", 409)
    assert "It has already ended" in page(await send(client, "operations/2/stop"), 409)


async def test_nobody_can_pass_for_an_operation_by_their_name(client: Client) -> None:
    ids = [await client.done("/greet/world") for _ in range(2)]
    await answered(client, f"selected/delete?id={ids[0]}")
    await over(client, 1)
    imposter = {"Authorization": basic("operation 1")}
    deleted = await send(client, f"{ids[1]}/delete", headers=imposter)
    assert deleted.status == 303, page(deleted, deleted.status)
    assert 'by <a href="./operations/1">operation 1</a>' in await look(client, str(ids[0]))
    other = await look(client, str(ids[1]))
    assert 'by "operation 1"' in other
    assert "operations/1" not in other
    assert "Restore 1 job?" in await look(client, "operations/1/undo")


async def test_a_cancellation_leads_to_no_operation_whoever_asked_for_it(gated: Client) -> None:
    job_id = await gated.submit("/wait/a")
    await gated.when("a", "started")
    imposter = {"Authorization": basic("operation 1")}
    assert (await send(gated, f"{job_id}/cancel", headers=imposter)).status == 303
    await ended(gated, job_id)
    shown = await look(gated, str(job_id))
    assert "by operation 1" in shown
    assert "operations/1" not in shown


async def test_what_was_cancelled_at_once_is_retried_as_just_these(gated: Client) -> None:
    ids = [await gated.submit(f"/wait/{name}") for name in "abcde"]
    await gated.when("a", "started")
    await led(gated, f"{ids[1]}/cancel")  # by somebody else, and for good
    which = "&".join(f"id={each}" for each in ids[1:4])
    stale = await look(gated, f"selected/cancel?{which}")
    await reply(gated, stale)
    assert (await over(gated, 1))["done"] == 2
    await led(gated, f"{ids[4]}/cancel")
    shown = await look(gated, "operations/1")
    assert '<a class="btn" href="../operations/1/retry" data-ask>Retry these…</a>' in shown
    asked = await look(gated, "operations/1/retry")
    assert "Retry 2 jobs?" in asked
    assert "These are all 2 jobs that operation 1 has cancelled and can be retried." in asked
    await led(gated, f"{ids[2]}/retry")  # somebody else was quicker
    refused = page(await reply(gated, asked), 409)
    assert "there were 2 when you were asked, and now there are 1" in refused
    assert (await reply(gated, refused)).headers["Location"] == "../../operations/2"
    assert (await over(gated, 2))["done"] == 1
    again = await job(gated, 7)
    assert (again["path"], again["state"]) == ("/wait/d", "queued")
    assert "jobs of operation 1" in await look(gated, "operations/2")
    assert "Retry these…" not in await look(gated, "operations/2")
    assert "Nothing to retry" in await look(gated, "operations/1/retry")


async def test_what_cannot_be_read_is_told(client: Client) -> None:
    for path, told in (
        ("selected/retry", "Expected 1 to 1000 selected jobs."),
        ("selected/retry?id=x", "Id: expected the id of a job, and not x."),
        ("matching/retry?state=odd", "State: expected one or more of queued, running"),
        ("matching/retry?stat=done", "no such parameter; did you mean stat"),
        ("operations?before=0", "Before: expected the id of an operation."),
    ):
        assert told in await look(client, path, 400), path
    assert "There is no operation 7." in await look(client, "operations/7", 404)
    answer = page(await send(client, "matching/retry", fields={"count": "many"}), 400)
    assert "Count: expected a whole number." in answer
