"""A password that its own user changes: whoever knows the current one may."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from aiohttp import web

from jobstore.dashboard.confirm import Input, Question, ask, done
from jobstore.dashboard.forms import Fields, filled_in
from jobstore.dashboard.login import sentence
from jobstore.dashboard.notes import Done
from jobstore.dashboard.pages import NoSuchPage
from jobstore.dashboard.session import Entrance
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import passwords
from jobstore.model.account import Account
from jobstore.model.errors import AccountProblem, TooManyLogins
from jobstore.web import refusals, standing
from jobstore.web.access import Access

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NOT_CURRENT: Final = "This is not your current password."
_NOT_THE_SAME: Final = "This is not the same as the new password."
_INPUTS: Final = (
    Input(name="current", label="Current password", autocomplete="current-password"),
    Input(name="password", label="New password", autocomplete="new-password"),
    Input(name="again", label="Repeat the new password", autocomplete="new-password"),
)


async def tell(visit: Visit) -> web.Response:
    """Ask for the current password and a new one."""
    _access(visit)
    return ask(visit, _question(visit))


async def change(visit: Visit) -> web.Response:
    """Change the password, or say beside a field what is wrong with it."""
    access, fields = _access(visit), await filled_in(visit.request)
    standing.confirm(visit.request)  # who may have been let out while the form came
    kept, wrong = await _new(fields)
    if wrong:
        return ask(visit, _question(visit, wrong), HTTPStatus.BAD_REQUEST)
    name = visit.visitor.name
    try:
        account = await access.log_in(visit.request, name, fields.get("current", ""))
    except TooManyLogins as error:
        page = ask(visit, replace(_question(visit), wrong=sentence(error)), error.status or 429)
        page.headers.extend(refusals.fields(error))
        return page
    if account is None:
        return ask(visit, _question(visit, {"current": _NOT_CURRENT}), HTTPStatus.FORBIDDEN)
    await visit.store.accounts.set_password(name, kept, name, was=account.password)
    response = done(visit, Done.PASSWORD, "access")
    await _stay(visit, access, name, response)
    return response


def _access(visit: Visit) -> Access:
    """Return what verifies the password of whoever looks at the page.

    Raises:
        NoSuchPage: they have none here.
    """
    if visit.access is None or not visit.visitor.has_account:
        raise NoSuchPage
    return visit.access


async def _new(fields: Fields) -> tuple[str, Mapping[str, str]]:
    """Hash the new password; or say what is wrong with which field."""
    password = fields.get("password", "")
    if password != fields.get("again", ""):
        return "", {"again": _NOT_THE_SAME}
    try:
        return await asyncio.to_thread(passwords.hashed, password), _NOTHING
    except AccountProblem as error:
        return "", {"password": sentence(error)}


async def _stay(visit: Visit, access: Access, name: str, response: web.Response) -> None:
    """Begin another session for a browser that had one: all of them end with the password."""
    account: Account | None = access.account(name)
    if account is not None and visit.visitor.session is not None:
        await Entrance(access, visit.store.sessions).begin(visit.request, account, response)


def _question(visit: Visit, wrong: Mapping[str, str] = _NOTHING) -> Question:
    return Question(
        title="Change your password",
        told=("Your other sessions end, at every browser. Your tokens stay as they are.",),
        button="Change the password",
        back="access",
        section="Access",
        login=visit.visitor.name,
        inputs=[
            replace(each, kind="password", required=True, wrong=wrong.get(each.name, ""))
            for each in _INPUTS
        ],
    )


ROUTES: Final[Routes] = (
    PageRoute("GET", "own-password", tell),
    PageRoute("POST", "own-password", change),
)
