"""Definitions on pages: what is shown of them, and what forms do to them."""

import json
import re
from contextlib import AsyncExitStack
from html import unescape
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from tests.accounts import People
from tests.client import Client
from tests.conftest import Serve

NIGHTLY = {
    "name": "Nightly <b>import</b>",
    "path": "/Imports/nightly",
    "method": "POST",
    "target": "/import?records=100&seconds=0",
    "headers": {"Accept": "text/csv", "Authorization": "Bearer s3cret"},
    "body": "one\ntwo",
    "retries": 2,
    "schedule": {"cron": "30 2 * * *", "time_zone": "Europe/Berlin"},
}
ON_REQUEST = {"name": "Echo", "path": "/echo", "target": "/echo"}


async def define(client: Client, written: dict[str, Any]) -> int:
    answer = await client("POST", "/_jobs/definitions", json=written)
    assert answer.status == 201, answer
    return int(json.loads(answer.body)["id"])


async def page(client: Client, path: str, status: int = 200) -> str:
    answer = await client("GET", f"/_jobs/ui/{path}")
    assert answer.status == status, answer
    return answer.body.decode()


async def said(client: Client, definition: int) -> dict[str, Any]:
    answer = await client("GET", f"/_jobs/definitions/{definition}")
    written: dict[str, Any] = json.loads(answer.body)
    return written


async def post(client: Client, to: str, **fields: str) -> tuple[int, str]:
    """Send a form; return the status, and where it leads or the page."""
    answer = await client("POST", f"/_jobs/ui/{to}", data=fields)
    return answer.status, answer.headers.get("Location") or unescape(answer.body.decode())


def form(text: str) -> dict[str, str]:
    """Read what the form of a definition is filled in with."""
    fields = dict(re.findall(r'<input type="text" name="(\w+)" value="([^"]*)"', text))
    fields |= dict(re.findall(r'<textarea name="(\w+)"[^>]*>\n([^<]*)</textarea>', text))
    chosen = re.findall(r'<select name="(\w+)".*?</select>', text, re.DOTALL)
    fields |= {
        name: (re.findall(r"<option selected>(\w+)", text.split(f'name="{name}"')[1]) or [""])[0]
        if name != "replay"
        else ""
        for name in chosen
    }
    return {name: unescape(value) for name, value in fields.items()}


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    return Client(http, (await serve()).url)


async def test_the_list_says_when_they_run_and_how_they_ended(client: Client) -> None:
    assert "No definitions yet" in await page(client, "definitions")
    nightly, echo = await define(client, NIGHTLY), await define(client, ON_REQUEST)
    status, location = await post(client, f"definitions/{echo}/run")
    assert (status, location) == (303, "../../1?done=started")
    await client.ended(1)
    text = await page(client, "definitions")
    assert "Nightly &lt;b&gt;import&lt;/b&gt;" in text
    assert "every day at 02:30 Europe/Berlin" in text
    assert "on request" in text
    assert 'aria-label="the last 1 run: 1 done; median ' in text
    assert 'aria-label="no runs"' in text
    assert f'action="./definitions/{nightly}/pause"' in text
    assert f'action="./definitions/{echo}/pause"' not in text


async def test_a_page_has_all_that_one_says(client: Client) -> None:
    nightly = await define(client, NIGHTLY)
    text = await page(client, f"definitions/{nightly}")
    assert "Times that were missed get one run together." in text
    assert len(re.findall(r"<li><span>\w{3} \d+ \w{3} \d{4}, 0[23]:\d\d</span>", text)) == 5
    assert "s3cret" not in text
    assert form(text) == {
        "name": "Nightly <b>import</b>",
        "path": "/Imports/nightly",
        "method": "POST",
        "target": "/import?records=100&seconds=0",
        "headers": "Accept: text/csv\nAuthorization: [redacted]",
        "body": "one\ntwo",
        "timeout": "",
        "retries": "2",
        "replay": "",
        "cron": "30 2 * * *",
        "time_zone": "Europe/Berlin",
        "catch_up": "one",
        "overlap": "skip",
    }
    by_uuid = (await said(client, nightly))["uuid"]
    assert await page(client, f"definitions/{by_uuid}") == text
    assert "No definition 99" in await page(client, "definitions/99", 404)


async def test_a_form_changes_what_it_says_and_nothing_else(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve()
    client = Client(http, server.url)
    nightly = await define(client, NIGHTLY)
    before = await said(client, nightly)
    filled = form(await page(client, f"definitions/{nightly}"))
    filled["body"] = filled["body"].replace("\n", "\r\n")  # as a browser sends it
    assert await post(client, f"definitions/{nightly}", **filled) == (
        303,
        f"../definitions/{nightly}?done=changed",
    )
    same = await said(client, nightly)
    assert same | {"changed_at": ""} == before | {"changed_at": ""}
    new = {"name": "Weekly", "timeout": "15m", "retries": "", "cron": "0 4 * * 1"}
    new |= {"headers": "Accept: text/plain\nX-Tag: a\nX-Tag: b\nAuthorization: [redacted]"}
    assert (await post(client, f"definitions/{nightly}", **(filled | new)))[0] == 303
    kept = (await server.store.definitions.page(0, 1))[0].draft
    assert (kept.name, kept.policy.timeout, kept.policy.retries) == ("Weekly", 900.0, None)
    assert kept.request.headers == (
        ("Accept", "text/plain"),
        ("X-Tag", "a"),
        ("X-Tag", "b"),
        ("Authorization", "Bearer s3cret"),
    )
    assert kept.schedule is not None
    assert (kept.schedule.cron, kept.schedule.time_zone) == ("0 4 * * 1", "Europe/Berlin")
    await post(client, f"definitions/{nightly}", **(filled | new | {"cron": ""}))
    assert (await said(client, nightly))["schedule"] is None


async def test_a_form_creates_one_without_any_script(client: Client) -> None:
    filled = form(await page(client, "definitions"))
    assert (filled["name"], filled["method"], filled["time_zone"]) == ("", "GET", "UTC")
    filled |= {"name": "Nightly", "path": "/Imports/nightly", "target": "/import?records=1"}
    filled |= {"method": "POST", "headers": "Accept: text/csv", "body": "one\r\ntwo"}
    filled |= {"timeout": "15m", "retries": "2", "cron": "30 2 * * *"}
    status, text = await post(client, "definitions", **filled, check="1")
    assert status == 200
    assert "It would run every day at 02:30 UTC, for the first time" in text
    assert form(text)["cron"] == "30 2 * * *"
    assert "Nothing was created yet." in text
    await page(client, "definitions/1", 404)
    assert await post(client, "definitions", **filled) == (303, "./definitions/1?done=created")
    assert "Created." in await page(client, "definitions/1?done=created")
    made = await said(client, 1)
    assert (made["name"], made["path"], made["method"]) == ("Nightly", "/Imports/nightly", "POST")
    assert (made["headers"], made["body"]) == ({"Accept": "text/csv"}, "one\ntwo")
    assert (made["retries"], made["schedule"]["cron"]) == (2, "30 2 * * *")
    status, text = await post(client, "definitions", **filled)
    assert status == 409
    assert "Nothing was created. a definition with the path /Imports/nightly already" in text


async def test_what_cannot_be_created_is_said_beside_the_field(client: Client) -> None:
    wrong = {"name": " ", "path": "/a", "target": "/a", "cron": "61 * * * *", "retries": "x"}
    status, text = await post(client, "definitions", **wrong)
    assert status == 400
    assert '<details class="create" open>' in text
    assert form(text)["cron"] == "61 * * * *"
    for name in ("name", "cron", "retries"):
        assert f'<span class="error" id="{name}-told">' in text
    assert "Nothing was created." in text
    await page(client, "definitions/1", 404)


async def test_the_next_day_of_all_schedules_is_drawn_and_told(client: Client) -> None:
    assert "The next 24 hours" not in await page(client, "definitions")
    for number in range(3):
        schedule = {"cron": "0 3 * * *"}
        await define(client, {**ON_REQUEST, "path": f"/{number}", "schedule": schedule})
    paused = {"cron": "* * * * *", "paused": True}
    await define(client, {**ON_REQUEST, "schedule": paused})
    text = await page(client, "definitions")
    told = "3 runs of 3 definitions in the next 24 h, busiest at 03:00 UTC: 3 in 15 min"
    assert f'aria-label="{told}"' in text
    assert len(re.findall(r'<a href="\./definitions/\d+">Echo</a><svg', text)) == 3
    assert re.search(r"0[23]:\d\d</th><td[^>]*>3</td><td[^>]*>Echo, Echo, Echo</td>", text)


async def test_what_is_wrong_is_said_beside_the_field(client: Client) -> None:
    await define(client, ON_REQUEST)
    nightly = await define(client, NIGHTLY)
    filled = form(await page(client, f"definitions/{nightly}"))
    wrong = {"cron": "0 3 30 2 *", "timeout": "soon", "retries": "many", "name": " "}
    status, text = await post(client, f"definitions/{nightly}", **(filled | wrong))
    assert status == 400
    assert 'value="0 3 30 2 *" autocomplete' in text
    for name, sentence in {
        "cron": "schedule.cron: 0 3 30 2 * never fires: no month has such a day",
        "timeout": "timeout: expected a duration such as 500ms, 30s, 15m or 24h, or null",
        "retries": "retries: expected a whole number from 0 to 1000, or null",
        "name": "name: expected a name of 1 to 255 characters",
    }.items():
        assert f'<span class="error" id="{name}-told">{sentence}</span>' in text
    status, text = await post(client, f"definitions/{nightly}", **(filled | {"path": "/echo"}))
    assert status == 409
    assert "a definition with the path /echo already exists" in text
    status, text = await post(client, f"definitions/{nightly}", **(filled | {"headers": "Accept"}))
    assert status == 400
    assert "headers: expected a line such as Accept: text/csv for each" in text
    assert (await said(client, nightly))["name"] == NIGHTLY["name"]


async def test_one_is_paused_resumed_and_deleted(client: Client) -> None:
    nightly = await define(client, NIGHTLY)
    assert await post(client, f"definitions/{nightly}/pause") == (
        303,
        f"../../definitions/{nightly}?done=paused",
    )
    assert (await said(client, nightly))["schedule"]["paused"] is True
    text = await page(client, f"definitions/{nightly}?done=paused")
    assert "Paused." in text
    assert "It would run" in text
    assert await post(client, f"definitions/{nightly}/resume", **{"from": "definitions"}) == (
        303,
        "../../definitions?done=resumed",
    )
    assert (await said(client, nightly))["fires_at"] is not None
    question = await page(client, f"definitions/{nightly}/delete")
    assert "This cannot be undone." in question
    assert (await said(client, nightly))["id"] == nightly
    assert await post(client, f"definitions/{nightly}/delete") == (
        303,
        "../../definitions?done=deleted",
    )
    assert "No definitions yet" in await page(client, "definitions")
    echo = await define(client, ON_REQUEST)
    status, text = await post(client, f"definitions/{echo}/pause")
    assert (status, "no schedule" in text) == (400, True)


async def test_who_may_do_what(serve: Serve, http: ClientSession) -> None:
    server = await serve()
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        alice = await people.with_token("alice")
        bob = await people.with_token("bob")
        reader = await people.with_token("rita", Role.READER)
        nightly = await define(alice, NIGHTLY)
        assert "Nightly" in await page(alice, "definitions")
        assert "No definitions yet" in await page(bob, "definitions")
        await page(bob, f"definitions/{nightly}", 404)
        assert (await post(bob, f"definitions/{nightly}/run"))[0] == 404
        for path in ("definitions", f"definitions/{nightly}"):
            assert 'method="post"' not in await page(reader, path)
        assert (await post(reader, "definitions", name="x", path="/x", target="/x"))[0] == 403
        assert "Create a definition" not in await page(reader, "definitions")
        assert (await post(bob, "definitions", name="x", path="/x", target="/x"))[0] == 303
        assert "Nightly" not in await page(bob, "definitions")
        for action in ("", "/run", "/pause", "/resume", "/delete"):
            assert (await post(reader, f"definitions/{nightly}{action}"))[0] == 403
        await page(reader, f"definitions/{nightly}/delete", 403)
        forged = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
        path = f"/_jobs/ui/definitions/{nightly}/run"
        assert (await alice("POST", path, headers=forged)).status == 403
    assert (await Client(http, server.url)("GET", "/_jobs/ui/definitions")).status == 401


async def test_a_body_that_is_no_text_stays_what_it_is(client: Client) -> None:
    written = {**ON_REQUEST, "body_base64": "/wD/"}
    binary = await define(client, written)
    text = await page(client, f"definitions/{binary}")
    assert "Its body, 3 bytes, is not text, or too long for this form." in text
    assert (await post(client, f"definitions/{binary}", **(form(text) | {"name": "B"})))[0] == 303
    assert (await said(client, binary))["body_base64"] == "/wD/"


async def test_a_long_list_has_pages(client: Client) -> None:
    for number in range(26):
        await define(client, {**ON_REQUEST, "path": f"/echo/{number}", "name": f"No. {number}"})
    text = await page(client, "definitions")
    (following,) = re.findall(r'rel="next" href="\./(definitions\?after=\d+)"', text)
    assert re.findall(r">(No\. \d+)</a>", await page(client, following)) == ["No. 25"]
    await page(client, "definitions?after=x", 400)


async def test_a_new_definition_has_no_secrets_and_no_runs_to_explain(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve()).url)
    empty = await page(client, "definitions")
    assert "a secret header keeps" not in empty
    assert "Bars:" not in empty
    made = await define(client, NIGHTLY)
    assert "a secret header keeps its value" in await page(client, f"definitions/{made}")
    assert "Bars: the latest 30 runs" in await page(client, "definitions")
