"""Accounts, tokens and sessions on a page: what an admin sees, does and cannot do."""

import re

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from jobstore.model.errors import AccountProblem
from jobstore.server import Server
from tests.accounts import PASSWORD
from tests.client import Client
from tests.conftest import Serve
from tests.dashboard.visitors import MOUNT, OURS, Visitor, account, visitor
from trials.clients import Answer

NEW = {"password": "another horse", "again": "another horse"}


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve()


@pytest.fixture
async def alice(server: Server, http: ClientSession) -> Visitor:
    """Give an admin's browser."""
    return await visitor(server, http, "alice", Role.ADMIN)


def said(answer: Answer) -> str:
    """Give the text of a page's main part, with single spaces."""
    main = answer.body.decode().partition("<main")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", "<main" + main).split())


async def done(browser: Visitor, deed: str, **fields: str) -> Answer:
    """Ask for something, read what will happen, and do it."""
    kept = "&".join(f"{name}={value}" for name, value in fields.items() if name in {"name", "id"})
    asked = await browser.get(f"access/{deed}?{kept}")
    assert asked.status == 200, said(asked)
    return await browser.post(f"access/{deed}", fields)


async def entries(server: Server) -> list[tuple[str, str, str]]:
    """Give what stands in the trail, the oldest first."""
    trail = await server.store.targets.trail(50)
    return [(each.who, each.what, each.subject) for each in reversed(trail)]


async def test_an_admin_adds_changes_and_removes_accounts_and_it_is_in_the_trail(
    server: Server, alice: Visitor, http: ClientSession
) -> None:
    added = await done(alice, "add", name="bob", role="user", **NEW)
    assert (added.status, added.headers["Location"]) == (303, "../access?done=changed")
    bob = Visitor(http, alice.url)
    assert (await bob.log_in("bob", "another horse")).status == 303
    await done(alice, "role", name="bob", role="reader")
    assert (await bob.get()).status == 303, "sessions end with the role"
    await done(alice, "password", name="bob", password="a third horse", again="a third horse")
    assert (await bob.log_in("bob", "another horse")).status == 403
    assert (await bob.log_in("bob", "a third horse")).status == 303
    words = said(await alice.get("access/remove?name=bob"))
    assert "0 tokens and 1 session end with the account" in words
    await done(alice, "remove", name="bob")
    assert (await bob.get()).status == 303
    page = said(await alice.get("access"))
    assert "remove account bob" in page
    assert await entries(server) == [
        ("alice", each, "bob")
        for each in ("add account", "set role", "set password", "remove account")
    ]


async def test_a_token_is_shown_once_and_works_until_it_is_revoked(
    server: Server, alice: Visitor, http: ClientSession
) -> None:
    answer = await done(alice, "token", name="alice", label="<nightly>")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    token = said(answer).partition("Bearer ")[2].partition(" ")[0]
    client = Client(http, server.url)
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await client("GET", "/_jobs", headers=bearer)).status == 200
    page = await alice.get("access")
    assert token.encode() not in page.body
    assert b"&lt;nightly&gt;" in page.body
    assert "token of alice (" in said(await alice.get("access/revoke?id=1"))
    assert (await done(alice, "revoke", id="1")).status == 303
    assert (await client("GET", "/_jobs", headers=bearer)).status == 401
    assert (await alice.get("access/revoke?id=1")).status == 404
    assert (await alice.post("access/revoke", {"id": "1"})).status in {404, 409}


async def test_sessions_are_listed_and_one_can_be_ended(
    server: Server, alice: Visitor, http: ClientSession
) -> None:
    other = Visitor(http, alice.url)
    await other.log_in("alice")
    page = said(await alice.get("access"))
    assert page.count("Firefox 131 on Linux, 127.0.0.1") == 2
    assert page.count("· this one") == 1
    await done(alice, "end", id="2")
    assert (await other.get()).status == 303
    assert (await alice.get()).status == 200
    assert (await alice.get("access/end?id=2")).status == 404
    assert await entries(server) == [("alice", "end session", "alice")]


async def test_the_last_admin_stays_one(server: Server, alice: Visitor) -> None:
    await account(server, "bob", Role.USER)
    for deed, fields in [("role", {"role": "user"}), ("remove", {})]:
        refused = await done(alice, deed, name="alice", **fields)
        assert refused.status == 409
        assert "At least one account has to be an admin" in said(refused)
    assert (await done(alice, "role", name="bob", role="admin")).status == 303
    assert (await done(alice, "remove", name="alice")).status == 303
    gone = await alice.get("access")
    assert (gone.status, gone.headers["Location"]) == (303, "./login?next=access")
    assert await entries(server) == [
        ("alice", "set role", "bob"),
        ("alice", "remove account", "alice"),
    ]


WRONG = [
    ("add", {"name": "b:b", "role": "user", **NEW}, "cannot be the name of an account"),
    ("add", {"name": "", "role": "user", **NEW}, "cannot be the name of an account"),
    ("add", {"name": "alice", "role": "user", **NEW}, "The account alice already exists."),
    ("add", {"name": "bob", "role": "king", **NEW}, "expected one of admin, user, reader"),
    ("add", {"name": "bob", "role": "user", **NEW, "again": "x"}, "the same one twice"),
    ("add", {"name": "bob", "role": "user"}, "8 to 1024 characters"),
    ("password", {"name": "alice", "password": "short", "again": "short"}, "8 to 1024"),
    ("password", {"name": "eve", **NEW}, "There is no account &#39;eve&#39;"),
    ("token", {}, "There is no account &#39;&#39;"),
    ("end", {"id": "x"}, "Session: expected its id."),
    ("revoke", {"id": "9" * 30}, "There is no token"),
]


async def test_what_is_wrong_with_a_form_is_said(server: Server, alice: Visitor) -> None:
    for deed, fields, words in WRONG:
        answer = await alice.post(f"access/{deed}", fields)
        assert answer.status in {400, 404, 409}
        assert words in said(answer)
    assert await entries(server) == []


async def test_others_neither_see_the_page_nor_do_anything_there(
    server: Server, alice: Visitor, http: ClientSession
) -> None:
    for role in (Role.USER, Role.READER):
        somebody = await visitor(server, http, role, role)
        page = said(await somebody.get("access"))
        assert f"You are logged in as {role}, with the role {role}." in page
        assert "alice" not in page
        for deed in ("add", "role", "password", "remove", "token", "revoke", "end"):
            fields = {"name": "alice", "role": "user", "id": "1", "label": "", **NEW}
            assert (await somebody.get(f"access/{deed}?name=alice&id=1")).status == 403
            assert (await somebody.post(f"access/{deed}", fields)).status == 403
    assert await entries(server) == []
    assert (await alice.get("access/nothing")).status == 404


CHANGED = {"current": PASSWORD, **NEW}


@pytest.mark.parametrize("role", Role)
async def test_everybody_changes_their_own_password_and_only_this_session_goes_on(
    server: Server, http: ClientSession, role: Role
) -> None:
    here = await visitor(server, http, "bob", role)
    elsewhere = Visitor(http, here.url)
    await elsewhere.log_in("bob")
    before = here.cookies["jobstore_session"].value
    assert b'href="./own-password"' in (await here.get("access")).body
    assert "Your other sessions end" in said(await here.get("own-password"))
    answer = await here.post("own-password", CHANGED)
    assert (answer.status, answer.headers["Location"]) == (303, "./access?done=password")
    assert here.cookies["jobstore_session"].value != before
    assert "Your password is changed" in said(await here.get("access?done=password"))
    assert (await elsewhere.get()).status == 303
    assert (await elsewhere.log_in("bob")).status == 403
    assert (await elsewhere.log_in("bob", "another horse")).status == 303
    assert await entries(server) == [("bob", "set password", "bob")]


WRONG_OWN = [
    ({**CHANGED, "current": "wrong horse"}, 403, "current", "not your current password"),
    ({**NEW}, 403, "current", "not your current password"),
    ({**CHANGED, "again": "x"}, 400, "again", "not the same as the new password"),
    ({**CHANGED, "password": "x", "again": "x"}, 400, "password", "8 to 1024 characters"),
]


@pytest.mark.parametrize(("fields", "status", "name", "words"), WRONG_OWN)
async def test_what_is_wrong_with_a_change_of_ones_password_stands_beside_the_field(
    server: Server, alice: Visitor, fields: dict[str, str], status: int, name: str, words: str
) -> None:
    answer = await alice.post("own-password", fields)
    page = answer.body.decode()
    assert answer.status == status
    assert re.findall(r'aria-invalid="true" aria-describedby="(\w+)-told"', page) == [name]
    assert re.search(rf'<span class="error" id="{name}-told" role="alert">[^<]*{words}', page)
    assert "horse" not in page
    assert await entries(server) == []
    assert (await alice.log_in("alice")).status == 303


async def test_a_password_that_somebody_else_has_just_set_is_not_replaced(server: Server) -> None:
    await account(server, "bob", Role.USER)
    accounts = server.store.accounts
    verified = accounts.snapshot().accounts["bob"].password
    await accounts.set_password("bob", "of an admin")
    with pytest.raises(AccountProblem, match="the account bob has just been changed"):
        await accounts.set_password("bob", "of bob", "bob", was=verified)
    assert accounts.snapshot().accounts["bob"].password == "of an admin"
    assert await entries(server) == []


async def test_who_has_no_password_here_has_none_to_change(
    server: Server, http: ClientSession
) -> None:
    anybody = Visitor(http, f"{server.url}{MOUNT}")
    assert (await anybody.get("own-password")).status == 404
    assert (await anybody.post("own-password", CHANGED)).status == 404
    assert b"own-password" not in (await anybody.get("access")).body


async def test_nobody_makes_themselves_an_admin_where_there_are_no_accounts(
    server: Server, http: ClientSession
) -> None:
    anybody = Visitor(http, f"{server.url}{MOUNT}")
    page = said(await anybody.get("access"))
    assert "jobstore user add NAME --role admin" in page
    fields = {"name": "eve", "role": "admin", "password": PASSWORD, "again": PASSWORD}
    refused = await anybody.post("access/add", fields, **OURS)
    assert refused.status == 403
    assert "Add the first account on the machine of the store" in said(refused)
    assert server.store.accounts.snapshot().accounts == {}
