"""Login and logout of browsers."""

import re
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote

from aiohttp import web

from jobstore.dashboard.forms import filled_in
from jobstore.dashboard.pages import NoSuchPage, here, render, see_other, up
from jobstore.dashboard.session import Entrance
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model.errors import (
    AccountProblem,
    AccountsUnavailable,
    JobstoreError,
    StoreError,
    TooManyLogins,
)
from jobstore.model.frozen import frozen
from jobstore.web import cookies, refusals

_LONGEST: Final = 2000
# A path below the mount, percent-encoded: nothing that a browser would take for another server's.
_PAGE: Final = re.compile(
    r"(?!/)[A-Za-z0-9._~%!$&'()*+,;=:@/-]*(?:\?[A-Za-z0-9._~%!$&'()*+,;=:@/?-]*)?"
)
_UPWARDS: Final = frozenset({".", ".."})

_WRONG: Final = "There is no account with that name and that password."
_ENDED: Final = "Your session has ended: please log in again."
_UNCHANGED: Final = "Your session has ended, so nothing was changed: please log in again."
_STRANGER: Final = "Please log in first: nothing was changed."


def login_of(request: web.Request) -> str:
    """Return the path to the login page, which leads back to the requested page."""
    page = here(request)
    return f"{up(request)}login" + (f"?next={quote(page, safe='')}" if page else "")


def next_page(asked: str) -> str:
    """Return the path from the login to a page; to the first page if it leads elsewhere.

    >>> [next_page(each) for each in ("42?body=hex", "", "//evil.example", "..%2f", "%2e%2E/x")]
    ['./42?body=hex', './', './', './', './']
    """
    path = asked.partition("?")[0]
    segments = unquote(path).replace("\\", "/").split("/")
    sound = len(asked) <= _LONGEST and _PAGE.fullmatch(asked) and _UPWARDS.isdisjoint(segments)
    return f"./{asked}" if sound else "./"


@frozen
class _Typed:
    """The fields of the form that are kept when it is shown again.

    Args:
        asked: the requested page.
        name: the entered name.
    """

    asked: str = ""
    name: str = ""


async def show(visit: Visit) -> web.Response:
    """Show the login form, unless the visitor has access already."""
    request, entrance = visit.request, _entrance(visit)
    asked = request.query.get("next", "")
    if entrance.access.everybody or await entrance.known(request):
        return see_other(next_page(asked))
    ended = cookies.session_of(request.headers) is not None
    return _form(request, _Typed(asked), wrong=_ENDED if ended else "")


async def submit(visit: Visit) -> web.Response:
    """Log somebody in by their password, or ask again."""
    request, entrance = visit.request, _entrance(visit)
    fields = await filled_in(request)
    typed = _Typed(fields.get("next", ""), fields.get("name", "").strip())
    try:
        return await _let_in(entrance, request, typed, fields.get("password", ""))
    except (AccountProblem, TooManyLogins, StoreError) as error:
        told = AccountsUnavailable() if isinstance(error, StoreError) else error
        page = _form(
            request, typed, wrong=sentence(told), status=told.status or HTTPStatus.CONFLICT
        )
        page.headers.extend(refusals.fields(told))
        return page


async def _let_in(
    entrance: Entrance, request: web.Request, typed: _Typed, password: str
) -> web.Response:
    response = see_other(next_page(typed.asked))
    if entrance.access.everybody:
        return response
    account = await entrance.access.log_in(request, typed.name, password)
    if account is None:
        return _form(request, typed, wrong=_WRONG, status=HTTPStatus.FORBIDDEN)
    await entrance.begin(request, account, response)
    return response


async def leave(visit: Visit) -> web.Response:
    """Log somebody out."""
    response = see_other("./login")
    await _entrance(visit).end(visit.request, response)
    return response


def form_again(request: web.Request, *, ended: bool) -> web.Response:
    """Ask somebody to log in before a change.

    Args:
        ended: whether they were logged in before.
    """
    wrong = _UNCHANGED if ended else _STRANGER
    return _form(request, _Typed(), wrong=wrong, status=HTTPStatus.UNAUTHORIZED)


def _entrance(visit: Visit) -> Entrance:
    """Return what logs people in.

    Raises:
        NoSuchPage: the application has its own login.
    """
    if visit.access is None:
        raise NoSuchPage
    return Entrance(visit.access, visit.store.sessions)


def _form(request: web.Request, typed: _Typed, *, wrong: str, status: int = 200) -> web.Response:
    words = {"asked": typed.asked[:_LONGEST], "name": typed.name[:_LONGEST], "wrong": wrong}
    return render(request, "login.html", status=status, **words)


def sentence(error: JobstoreError) -> str:
    """Write what went wrong as a sentence."""
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}."


ROUTES: Final[Routes] = (
    PageRoute("GET", "login", show, strangers=True),
    PageRoute("POST", "login", submit, strangers=True),
    PageRoute("POST", "logout", leave, strangers=True),
)
