"""Sessions: who came in by a password stays in until they leave, or somebody ends that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from jobstore.live import Store
from jobstore.model.account import Role
from jobstore.model.clock import SECOND
from jobstore.model.errors import AccountProblem
from jobstore.store.sessions import IDLE, LONGEST, LONGEST_LABEL, MOST, SEEN_EACH, digest
from tests.stores import StandingClock, beside, opened, rows

HASH: Final = "what is kept of a password"
HOUR: Final = 3600


async def came_in(store: Store, name: str = "ada", role: Role = Role.ADMIN) -> str:
    """Let somebody come in who has an account from now on; return their session's secret."""
    await store.accounts.add(name, role, HASH)
    return await store.sessions.begin(name, HASH, "a browser")


async def whose(store: Store, secret: str) -> str | None:
    """Tell whose session a secret is of; that it was used is written down when this returns."""
    known = await store.sessions.known(secret)
    await store.targets.serve_again()  # which is written behind it
    return None if known is None else known.identity.name


async def test_a_session_is_known_by_what_is_kept_nowhere(store_path: Path) -> None:
    async with opened(store_path) as store:
        secret = await came_in(store)
        known = await store.sessions.known(secret)
        assert known is not None
        assert known.identity.name == "ada"
        assert known.identity.role is Role.ADMIN
        assert known.identity.id == store.accounts.id_of("ada")
        assert [*await store.sessions.all()] == [known.session]
        assert await whose(store, "x") is None
        assert await whose(store, digest(secret)) is None
        assert await whose(store, "\udcff") is None
    assert rows(store_path, "SELECT digest, account FROM session") == [(digest(secret), "ada")]


async def test_a_session_ends_when_it_is_not_used_and_after_a_week_at_the_latest(
    store_path: Path,
) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        unused, used = await came_in(store), await came_in(store, "bob")
        half = IDLE // SECOND // 2
        for _ in range(2):
            assert await store.sessions.lasts(unused)
            clock.move(half)
            assert await whose(store, used) == "bob"
        assert not await store.sessions.lasts(unused)
        assert await whose(store, unused) is None
        assert [each.account for each in await store.sessions.all()] == ["bob"]
        assert await store.sessions.forget() == 1
        for _ in range(LONGEST // IDLE * 2 - 3):
            clock.move(half)
            assert await whose(store, used) == "bob"
        clock.move(half - 1)
        assert await whose(store, used) == "bob"
        clock.move(1)
        assert await whose(store, used) is None
        assert await store.sessions.forget() == 1
    assert rows(store_path, "SELECT * FROM session") == []


async def test_that_a_session_is_used_is_written_down_now_and_then(store_path: Path) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        secret = await came_in(store)

        async def seen() -> int:
            assert await whose(store, secret) == "ada"
            (session,) = await store.sessions.all()
            return session.seen_at

        begun = await seen()
        clock.move(SEEN_EACH // SECOND - 1)
        assert await seen() == begun
        clock.move(1)
        assert await seen() == begun + SEEN_EACH


async def test_a_clock_that_was_far_ahead_makes_no_session_that_lasts_for_years(
    store_path: Path,
) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        clock.move(400 * 24 * HOUR)
        secret = await came_in(store)
        clock.move(-400 * 24 * HOUR)
        assert await whose(store, secret) is None
        assert await store.sessions.all() == []
        assert await store.sessions.forget() == 1


Change = Callable[[Store], Any]


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.accounts.set_password("ada", "another hash"),
        lambda store: store.accounts.set_role("ada", Role.READER),
        lambda store: store.accounts.remove("ada"),
    ],
    ids=["password", "role", "removed"],
)
async def test_a_change_of_the_account_ends_its_sessions_at_every_node(
    store_path: Path, change: Change
) -> None:
    async with opened(store_path) as store:
        hers, his = await came_in(store), await came_in(store, "bob")
        async with beside(store_path, clock=StandingClock()) as other:
            await change(other)
            assert await whose(other, hers) is None
            assert await whose(other, his) == "bob"
        assert await whose(store, hers) is None
        assert await whose(store, his) == "bob"


async def test_leaving_ends_one_session_and_so_does_an_admin_which_is_in_the_trail(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        first = await came_in(store)
        second, third = [await store.sessions.begin("ada", HASH, "b") for _ in range(2)]
        await store.sessions.close(first)
        assert [await whose(store, each) for each in (first, second, third)] == [None, "ada", "ada"]
        assert await store.sessions.end(2, "root") == "ada"
        assert [await whose(store, each) for each in (second, third)] == [None, "ada"]
        for gone in (1, 2, 0, -1, 2**70):
            with pytest.raises(AccountProblem, match="already ended"):
                await store.sessions.end(gone, "root")
        (entry,) = await store.targets.trail(5)
        assert (entry.who, entry.what, entry.subject) == ("root", "end session", "ada")


async def test_no_session_begins_by_a_password_that_was_changed_meanwhile(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        await came_in(store)
        with pytest.raises(AccountProblem, match="log in again"):
            await store.sessions.begin("ada", "an older hash", "")
        with pytest.raises(AccountProblem, match="log in again"):
            await store.sessions.begin("nobody", HASH, "")


async def test_an_account_has_so_many_sessions_and_no_more(store_path: Path) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        first = await came_in(store)
        clock.move(1)
        second = await store.sessions.begin("ada", HASH, "x" * 10_000 + "\0")
        for _ in range(MOST - 1):
            await store.sessions.begin("ada", HASH, "\0")
        assert [await whose(store, each) for each in (first, second)] == [None, "ada"]
        sessions = await store.sessions.all()
        assert len(sessions) == MOST
        assert max(len(each.label) for each in sessions) == LONGEST_LABEL


async def test_somebody_has_to_be_an_admin_where_that_is_wanted(store_path: Path) -> None:
    async with opened(store_path) as store:
        add, accounts = store.accounts.add, store.accounts
        with pytest.raises(AccountProblem, match="has to be an admin"):
            await add("eve", Role.READER, HASH, "eve", with_admin=True)
        await add("ada", Role.ADMIN, HASH, "eve", with_admin=True)
        await add("bob", Role.USER, HASH, "ada", with_admin=True)
        with pytest.raises(AccountProblem, match="has to be an admin"):
            await accounts.set_role("ada", Role.USER, "ada", with_admin=True)
        with pytest.raises(AccountProblem, match="has to be an admin"):
            await accounts.remove("ada", "ada", with_admin=True)
        assert {each.name for each in accounts.snapshot().accounts.values()} == {"ada", "bob"}
        await accounts.set_role("bob", Role.ADMIN, "ada", with_admin=True)
        await accounts.set_password("bob", "another", "ada")
        token = await accounts.add_token("bob", "cron", "digest", "ada")
        assert await accounts.revoke_token(token, "bob") == "bob"
        await accounts.remove("ada", "bob", with_admin=True)
        await accounts.remove("bob")  # who leaves no trace may do as they like
        said = [(each.who, each.what, each.subject) for each in await store.targets.trail(9)]
    assert said[::-1] == [
        ("eve", "add account", "ada"),
        ("ada", "add account", "bob"),
        ("ada", "set role", "bob"),
        ("ada", "set password", "bob"),
        ("ada", "add token", "bob"),
        ("bob", "revoke token", "bob"),
        ("bob", "remove account", "ada"),
    ]
