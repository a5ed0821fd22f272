"""Targets on a page: how they stand, and what an admin says of them there."""

import re

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from jobstore.server import Server
from tests.accounts import basic
from tests.client import Client
from tests.conftest import Serve
from tests.dashboard.test_access import entries, said
from tests.dashboard.visitors import Visitor, visitor
from tests.loop import turns
from trials.clients import Answer, client

TARGETS = [
    {"prefix": "/wait", "app": "tests.gates:create_app", "concurrency": 2},
    {"prefix": "/", "app": "tests.webapp:create_app"},
]


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve(target=TARGETS)


@pytest.fixture
async def alice(server: Server, http: ClientSession) -> Visitor:
    """Give an admin's browser."""
    return await visitor(server, http, "alice", Role.ADMIN)


async def test_a_target_is_paused_with_a_reason_and_resumed(server: Server, alice: Visitor) -> None:
    form = said(await alice.get("targets/pause?target=/wait"))
    assert "What runs now (0 jobs) goes on to its end" in form
    fields = {"target": "/wait", "reason": "<b>db</b> migration \u202eoff"}
    answer = await alice.post("targets/pause", fields)
    assert (answer.status, answer.headers["Location"]) == (303, "../targets?done=paused")
    page = await alice.get("targets")
    # As the target's state, and among what operators did.
    assert page.body.count(b"&lt;b&gt;db&lt;/b&gt; migration \\u202eoff") == 2
    assert "\u202e" not in page.body.decode()
    assert "paused by alice" in said(page)
    assert server.store.targets.paused("/wait")
    await alice.post("targets/resume", {"target": "/wait"})
    assert "paused by" not in said(await alice.get("targets"))
    assert await entries(server) == [("alice", "pause", "/wait"), ("alice", "resume", "/wait")]


async def test_slots_are_changed_and_given_back_to_the_configuration(
    server: Server, alice: Visitor
) -> None:
    assert "0 / 2" in said(await alice.get("targets"))
    await alice.post("targets/slots", {"target": "/wait", "slots": "7"})
    assert "0 / 7 configured: 2" in said(await alice.get("targets"))
    assert b'value="7"' in (await alice.get("targets/slots?target=/wait")).body
    for wrong in ("0", "-1", "seven", "9" * 12, "9" * 50, "1.5", "<b>"):
        refused = await alice.post("targets/slots", {"target": "/wait", "slots": wrong})
        assert refused.status == 400
        assert "Slots: expected a whole number from 1 on, or nothing." in said(refused)
    await alice.post("targets/slots", {"target": "/wait", "slots": ""})
    assert "0 / 2" in said(await alice.get("targets"))
    assert server.store.slots()["/wait"] == (0, 2)


async def test_the_page_shows_what_runs_waits_and_went_wrong(
    server: Server, alice: Visitor
) -> None:
    async with client({"Authorization": basic("alice")}) as http:
        program = Client(http, server.url)
        await program.done("/unhandled")
        wrong = await program.done("/status/503")
        await alice.post("targets/slots", {"target": "/wait", "slots": "1"})
        for name in ("a", "b", "c"):
            await program.submit(f"/wait/{name}")
        while server.store.slots()["/wait"][0] < 1:  # until it has begun
            await turns(1)
        page = await alice.get("targets")
        label = r'aria-label="2 jobs in the last 24 h: 100 % went wrong, most of them at [^"]*; '
        assert re.search(label, page.body.decode())
        assert b'<path class="t-half"' in page.body
        assert 'aria-label="no jobs in the last 24 h"' in page.body.decode()
        assert f"#{wrong} · 503 · " in said(page)
        assert re.search(r"median .*, 95 % within .* 100 % of 2 jobs went wrong", said(page))
        assert "/_api/job jobstore's own calls" in said(page)
        assert b'<progress class="slots" max="1" value="1"' in page.body
        assert "1 / 1 configured: 2 2 " in said(page)
        words = said(await alice.get("targets/pause?target=/wait"))
        assert "(1 job) goes on to its end; what waits (2 jobs) keeps waiting" in words


def banner(answer: Answer) -> str:
    """Read what is said above the list of jobs; "" if nothing is."""
    found = re.findall(
        r'<ul class="warnings" id="closed"([^>]*)>(.*?)</ul>', answer.body.decode(), re.DOTALL
    )
    ((attributes, inside),) = found
    return "" if "hidden" in attributes else " ".join(re.sub(r"<[^>]+>", "", inside).split())


async def test_the_list_of_jobs_says_which_targets_start_none_and_why(
    serve: Serve, http: ClientSession
) -> None:
    nobody = {"prefix": "/nobody", "upstream": "http://127.0.0.1:9", "hold": "1h"}
    server = await serve(target=[*TARGETS, nobody])
    alice = await visitor(server, http, "alice", Role.ADMIN)
    assert banner(await alice.get()) == ""
    await alice.post("targets/pause", {"target": "/wait", "reason": "<b>db</b> migration"})
    said_now = banner(await alice.get())
    assert re.fullmatch(
        r"/wait was paused by alice \d+ s ago: &lt;b&gt;db&lt;/b&gt; migration\. Its jobs wait\. "
        r"Targets",
        said_now,
    )
    async with client({"Authorization": basic("alice")}) as program:
        await Client(program, server.url).submit("/nobody/there")
    while not server.store.targets.held:  # until it was tried
        await turns(1)
    assert re.match(
        r"/nobody has been unreachable for \d+ s: no connection to 127\.0\.0\.1:9: .*\. Its jobs "
        r"wait\. If it is not back, its jobs fail from [-:0-9 ]+ UTC on\. Targets /wait was paused",
        banner(await alice.get()),
    )
    while "held since" not in (shown := said(await alice.get("targets"))):
        pass  # the store is told a moment after this server knows
    assert re.search(
        r"held since .*: no connection to 127\.0\.0\.1:9: .*\. If it is not back, its jobs ",
        shown,
    )
    assert re.search(
        r"If it is not back, the job fails at [-:0-9 ]+ UTC at the earliest\.",
        said(await alice.get("1")),
    )
    ute = await visitor(server, http, "ute", Role.USER)
    assert banner(await ute.get()) == ""  # who is not shown that page
    await alice.post("targets/resume", {"target": "/wait"})
    assert "paused" not in banner(await alice.get())


async def test_who_may_not_act_is_shown_no_action_and_refused_each(
    server: Server, alice: Visitor, http: ClientSession
) -> None:
    reader = await visitor(server, http, "rita", Role.READER)
    page = await reader.get("targets")
    assert page.status == 200
    assert b"targets/pause" not in page.body
    assert b"What operators did last" not in page.body
    user = await visitor(server, http, "ute", Role.USER)
    assert (await user.get("targets")).status == 403
    assert b'href="./targets"' not in (await user.get()).body
    for somebody in (reader, user):
        for deed in ("pause", "resume", "slots"):
            assert (await somebody.get(f"targets/{deed}?target=/")).status == 403
            assert (await somebody.post(f"targets/{deed}", {"target": "/"})).status == 403
    assert await entries(server) == []
    for answer in (
        await alice.get("targets/pause?target=/none"),
        await alice.post("targets/pause", {"target": "/none"}),
        await alice.get("targets/explode?target=/"),
        await alice.post("targets/explode", {"target": "/"}),
    ):
        assert answer.status == 404
