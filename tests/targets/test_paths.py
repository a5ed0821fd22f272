"""Paths and names that servers read in more than one way: none leads where it does not belong."""

import json
from pathlib import Path

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st

from jobstore.model.handle import JobHandle
from jobstore.model.message import Request, without_lookalikes
from jobstore.targets.mount import front_of
from jobstore.targets.paths import stays_below
from jobstore.targets.upstream import outgoing
from tests.conftest import Serve
from tests.peers import OK, Origin, Services
from tests.raw import Front
from tests.stores import opened, submission
from trials.sockets import fields_of, status_of

LEAVING = [
    "/public/../priv",
    "/public/..",
    "/public/a/../../priv",
    "/public/%2e%2e/priv",
    "/public/.%2E/priv",
    "/public/%252e%252e/priv",
    "/public/%25252e%25252e/priv",
    "/public/%2%65%2%65/priv",
    "/public/..;/x",
    "/public/..;a=b/x",
    "/public/..%3b/x",
    "/public/..%2fpriv",
    "/public/..%252fpriv",
    "/public/..%5cpriv",
    "/public/..\\priv",
    "/public/a%2f..%2f..%2fpriv",
    "/public/a%2fb/../../priv",
    "/public//../priv",
    "/public/./../priv",
    "/public/;/../priv",
    "/public/;%2f..../../priv",
    "/public/..%00/priv",
    "/public/..%20/priv",
    "/public/..%3fa/priv",
    "/public/%u002e%u002e/priv",
    "/public/%c0%ae%c0%ae/priv",
    "/public/..%c0%afpriv",
    "/public/" + "%" + "25" * 20 + "2e./priv",
]
STAYING = [
    "/public",
    "/public/",
    "/public/a/../b",
    "/public/a/b/../../c",
    "/public/a%2Fb/%7Euser/../x;y=1?q=%20+%C3%A4&&a=b%26",
    "/public/a..b/..c/...",
    "/public/M%C3%BCller/100%25/%zz",
    "/public?a=/../../b",
    "/public/a?/../../b",
    "/public/%2e/a",
]


@pytest.mark.parametrize("path", LEAVING)
def test_a_path_that_may_lead_out_of_its_prefix_is_known(path: str) -> None:
    assert not stays_below("/public", path)


@pytest.mark.parametrize("path", STAYING)
def test_a_path_that_stays_below_its_prefix_is_known(path: str) -> None:
    assert stays_below("/public", path)


@given(st.lists(st.sampled_from(["..", "%2e.", "a", "..;x", "/", "%2f", "\\", "%25", "2e", ";"])))
def test_no_way_of_reading_leads_out_of_what_counts_as_staying(parts: list[str]) -> None:
    path = "/public/" + "".join(parts)
    if stays_below("/public", path):
        for reading in readings(path):
            assert resolved(reading)[:1] == ["public"], reading


def readings(path: str) -> set[str]:
    """Read a path as different servers do: escapes undone so often, separators of these kinds."""
    found = {path}
    for _ in range(3):
        found |= {each.replace("%2e", ".").replace("%2f", "/") for each in found}
        found |= {each.replace("%25", "%") for each in found}
    found |= {each.replace("\\", "/") for each in found}
    return found | {"/".join(name.partition(";")[0] for name in each.split("/")) for each in found}


def resolved(path: str) -> list[str]:
    """Follow dot segments, with slashes merged, which leads further up than without."""
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            names = names[:-1]
        elif name not in {"", "."}:
            names.append(name)
    return names


@pytest.mark.parametrize("job", [False, True], ids=["passed through", "as a job"])
@pytest.mark.parametrize("path", LEAVING)
async def test_a_path_that_leaves_its_target_is_refused_and_goes_nowhere(
    serve: Serve, services: Services, path: str, *, job: bool
) -> None:
    origin = Origin(OK)
    target = {"prefix": "/public", "upstream": await services.listen(origin.talk)}
    front = Front((await serve(target=target)).url)
    answer = await front.ask("GET", path, *([b"x-arango-async: store"] if job else []))
    assert (status_of(answer), b"prefix" in answer, origin.heads) == (400, True, [])


@pytest.mark.parametrize("path", STAYING)
async def test_a_path_that_stays_is_sent_on_byte_for_byte(
    serve: Serve, services: Services, path: str
) -> None:
    origin = Origin(OK)
    target = {"prefix": "/public", "upstream": await services.listen(origin.talk)}
    front = Front((await serve(target=target)).url)
    assert status_of(await front.ask("GET", path)) == 200
    assert origin.heads[0].split(b" ")[1] == path.encode()


async def test_no_other_way_of_submitting_takes_a_path_that_leaves(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    target = {"prefix": "/public", "upstream": await services.listen(Origin(OK).talk)}
    server = await serve(target=target)
    for path in ("/public/../priv", "/public/%2e%2e/priv"):
        async with http.post(f"{server.url}/_jobs", json={"target": path}) as answer:
            assert answer.status == 400
            assert "prefix" in (await answer.json())["detail"]
        asked = {"endpoint": path, "request_encoding": "json", "data": "", "data_str": "{}"}
        body = json.dumps({**asked, "options": {}}).encode()
        kind = {"Content-Type": "application/json"}
        async with http.post(f"{server.url}/create/job", data=body, headers=kind) as answer:
            assert "expected" in await answer.text()


async def test_a_job_of_an_earlier_version_whose_path_leaves_is_not_sent(
    serve: Serve, services: Services, store_path: Path
) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission(path="/public/../priv", target="/public"))
    origin = Origin(OK)
    target = {"prefix": "/public", "upstream": await services.listen(origin.talk)}
    front = Front((await serve(target=target)).url)
    answer = await front.fetch(job_id)
    assert (status_of(answer), b"prefix" in answer, origin.heads) == (502, True, [])


# --- reserved names -----------------------------------------------------------------------------

SPOOFED = ["Jobstore-Id", "jobstore_id", "Jobstore_Id", "JOBSTORE_ATTEMPT", "Jobstore.Id"]


@pytest.mark.parametrize("name", SPOOFED)
def test_no_client_can_say_what_only_the_server_says(name: str) -> None:
    request = Request(method="GET", path="/", headers=((name, "666"), ("Jobstore", "a")))
    sent = outgoing(request, JobHandle(), front_of(request))
    assert "666" not in dict(sent).values()
    assert ("Jobstore", "a") in sent


@pytest.mark.parametrize("name", SPOOFED)
async def test_no_client_can_say_it_to_a_handler_in_process_either(serve: Serve, name: str) -> None:
    front = Front((await serve(target={"app": "tests.webapp:create_app"})).url)
    answer = await front.ask("GET", "/mirror/", name.encode() + b": 666")
    assert (status_of(answer), b"666" in answer) == (200, False)


async def test_a_job_says_its_own_id_beside_a_spoofed_one(serve: Serve, services: Services) -> None:
    origin = Origin(OK)
    front = Front((await serve(target={"upstream": await services.listen(origin.talk)})).url)
    job_id = await front.submit("GET", "/", b"Jobstore_Id: 666", b"jobstore_attempt: 666")
    await front.ended(job_id)
    fields = [line for line in fields_of(origin.heads[0]) if line.lower().startswith(b"jobstore")]
    assert fields == [b"Jobstore-Id: %d" % job_id, b"Jobstore-Attempt: 1"]


def test_names_are_alike_only_where_servers_take_them_for_each_other() -> None:
    headers = (("a-b", "1"), ("A_B", "2"), ("ab", "3"), ("a-b-", "4"), ("x-a-b", "5"))
    assert without_lookalikes(headers, ("a-b",)) == headers[2:]
