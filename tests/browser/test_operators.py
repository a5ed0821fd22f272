"""What operators do in a browser: log in, look after targets and accounts, and leave."""

import re

import pytest
from playwright.async_api import Page, expect

from jobstore.model.account import Role
from jobstore.model.passwords import hashed
from jobstore.server import Server
from tests.accounts import PASSWORD
from tests.browser.conftest import Open, check_looks
from tests.client import ORDINARY
from tests.conftest import Serve


async def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill the form in, and send it."""
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()


async def peopled(serve: Serve) -> Server:
    """Start a server at which an admin, a user and a reader have accounts."""
    server = await serve(target=ORDINARY)
    kept = hashed(PASSWORD)
    for name, role in (("alice", Role.ADMIN), ("ute", Role.USER), ("rita", Role.READER)):
        await server.store.accounts.add(name, role, kept)
    return server


async def test_who_cannot_be_let_in_is_told_so(serve: Serve, open_page: Open) -> None:
    server = await peopled(serve)
    page = await open_page(f"{server.url}/_jobs/ui/access")
    await log_in(page, "alice", "wrong horse")
    assert "no account with that name" in await page.get_by_role("alert").inner_text()
    await check_looks(page)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/access")


@pytest.mark.does("login", "logout", "targets/pause", "targets/resume", "targets/slots")
@pytest.mark.does("access/token", "access/remove")
async def test_an_admin_works_without_scripts_from_login_to_logout(
    serve: Serve, open_page: Open
) -> None:
    server = await peopled(serve)
    page = await open_page(f"{server.url}/_jobs/ui/targets", java_script_enabled=False)
    await log_in(page, "alice")
    await page.get_by_role("link", name="Pause… /", exact=True).click()
    await page.get_by_label("Why").fill("db migration")
    await page.get_by_role("button", name="Pause", exact=True).click()
    await page.get_by_text("paused by alice").wait_for()
    await page.get_by_role("button", name="Resume /", exact=True).click()
    await expect(page.get_by_text("paused by alice")).to_have_count(0)
    await page.get_by_role("link", name="Slots… of /", exact=True).click()
    await page.get_by_role("spinbutton", name="Slots").fill("7")
    await page.get_by_role("button", name="Set the slots").click()
    await page.get_by_text("0 / 7").wait_for()

    await page.get_by_role("link", name="Access").click()
    await page.get_by_role("link", name="New token… of ute").click()
    await page.get_by_label("What it is for").fill("cron")
    await page.get_by_role("button", name="Make the token").click()
    await page.get_by_text("Authorization: Bearer jobstore_").wait_for()
    await page.get_by_role("link", name="I have it").click()
    await page.get_by_role("link", name="Remove… of rita").click()
    await page.get_by_role("button", name="Remove the account").click()
    await page.get_by_role("cell", name="remove account").wait_for()
    assert await page.get_by_role("rowheader", name="rita").count() == 0
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/login")
    await page.goto(f"{server.url}/_jobs/ui/access")
    await page.wait_for_url("**/login?next=access")


@pytest.mark.does("access/end")
async def test_a_session_that_an_admin_ended_is_over_at_the_next_click(
    serve: Serve, open_page: Open
) -> None:
    server = await peopled(serve)
    page = await open_page(f"{server.url}/_jobs/ui/")
    await log_in(page, "rita")
    await page.get_by_role("link", name="Targets").click()
    await page.wait_for_url("**/targets")
    assert await page.get_by_role("button", name="Resume").count() == 0
    assert await page.get_by_role("link", name="Pause", exact=True).count() == 0
    admin = await open_page(f"{server.url}/_jobs/ui/access")
    await log_in(admin, "alice")
    await admin.get_by_role("link", name=re.compile("End… session . of rita")).click()
    dialog = admin.get_by_role("dialog", name="End a session of rita")
    await dialog.get_by_role("button", name="End the session").click()
    await admin.get_by_text("Changed.", exact=True).wait_for()
    await page.get_by_role("link", name="Jobs", exact=True).click()
    await page.get_by_text("Your session has ended").wait_for()
    await log_in(page, "rita")
    await page.get_by_role("button", name="Log out").wait_for()


@pytest.mark.does("access/role", "access/password", "access/revoke")
async def test_an_admin_changes_what_an_account_may_and_what_it_has(
    serve: Serve, open_page: Open
) -> None:
    server = await peopled(serve)
    page = await open_page(f"{server.url}/_jobs/ui/access")
    await log_in(page, "alice")
    await page.get_by_role("link", name="Role… of ute").click()
    dialog = page.get_by_role("dialog", name="Change the role of ute")
    await dialog.get_by_role("combobox", name="Role").select_option("reader")
    await dialog.get_by_role("button", name="Change the role").click()
    await page.get_by_role("row", name=re.compile("^ute reader")).wait_for()
    await page.get_by_role("link", name="New token… of ute").click()
    await page.get_by_role("button", name="Make the token").click()
    await page.get_by_text("Authorization: Bearer jobstore_").wait_for()
    await check_looks(page)
    await page.get_by_role("link", name="I have it").click()
    await page.get_by_role("link", name="Revoke… token 1").click()
    dialog = page.get_by_role("dialog", name="Revoke token 1")
    await dialog.get_by_role("button", name="Revoke the token").click()
    await page.get_by_text("There are no tokens.").wait_for()
    await page.get_by_role("link", name="Password… of ute").click()
    dialog = page.get_by_role("dialog", name="Set the password of ute")
    for label in ("Password", "Repeat the password"):
        await dialog.get_by_label(label, exact=True).fill("another horse")
    await dialog.get_by_role("button", name="Set the password").click()
    await page.get_by_role("cell", name="set password").wait_for()
    await page.get_by_role("button", name="Log out").click()
    await log_in(page, "ute", "another horse")
    await page.get_by_text("ute · reader").wait_for()


@pytest.mark.does("own-password")
async def test_a_reader_changes_their_own_password(serve: Serve, open_page: Open) -> None:
    server = await peopled(serve)
    page = await open_page(f"{server.url}/_jobs/ui/access")
    await log_in(page, "rita")
    await check_looks(page)
    assert await page.get_by_role("link", name="of alice").count() == 0
    await page.get_by_role("link", name="Change your password…").click()
    dialog = page.get_by_role("dialog", name="Change your password")
    await check_looks(page)
    for label, typed in (
        ("Current password", "wrong horse"),
        ("New password", "another horse"),
        ("Repeat the new password", "another horse"),
    ):
        await dialog.get_by_label(label, exact=True).fill(typed)
    await dialog.get_by_role("button", name="Change the password").click()
    assert "not your current password" in await page.get_by_role("alert").inner_text()
    await check_looks(page)
    await page.get_by_label("Current password").fill(PASSWORD)
    await page.get_by_label("New password", exact=True).fill("another horse")
    await page.get_by_label("Repeat the new password").fill("another horse")
    await page.get_by_role("button", name="Change the password").click()
    await page.get_by_text("Your password is changed").wait_for()
    await check_looks(page)


@pytest.mark.does("access/add")
async def test_a_dialog_asks_before_an_account_is_added(serve: Serve, open_page: Open) -> None:
    server = await peopled(serve)
    page = await open_page(f"{server.url}/_jobs/ui/access")
    await log_in(page, "alice")
    await page.get_by_role("link", name="Add an account…").click()
    dialog = page.get_by_role("dialog", name="Add an account")
    await check_looks(page)
    await dialog.get_by_label("Name").fill("bob")
    await dialog.get_by_label("Role").select_option("reader")
    await dialog.get_by_label("Password", exact=True).fill(PASSWORD)
    await dialog.get_by_label("Repeat the password").fill("another one")
    await dialog.get_by_role("button", name="Add the account").click()
    assert "the same one twice" in await page.get_by_role("alert").inner_text()
    assert await page.get_by_label("Name").input_value() == "bob"
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Repeat the password").fill(PASSWORD)
    await page.get_by_role("button", name="Add the account").click()
    await page.get_by_role("rowheader", name="bob").wait_for()
    await page.get_by_text("Changed.", exact=True).wait_for()
