"""The Access page: accounts, tokens and sessions, for admins."""

from collections import Counter
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web

from jobstore.dashboard.confirm import ask, done
from jobstore.dashboard.deeds import DEEDS, Deed, DeedRequest
from jobstore.dashboard.forms import FormInvalid, filled_in
from jobstore.dashboard.login import sentence
from jobstore.dashboard.notes import Done
from jobstore.dashboard.pages import NoSuchPage, render
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model.errors import AccountProblem, Forbidden, JobstoreError
from jobstore.web import standing

_TRAIL: Final = 20


async def show(visit: Visit) -> web.Response:
    """Show all accounts, tokens and sessions, and what operators did last; to others, their own."""
    if visit.visitor.has_account and not visit.visitor.administers:
        return render(visit.request, "access.html", own_login=True)
    standing.operator(visit.request)
    store = visit.store
    tokens, sessions = store.accounts.tokens(), await store.sessions.all()
    return render(
        visit.request,
        "access.html",
        own_login=visit.access is not None,
        accounts=[*store.accounts.snapshot().accounts.values()],
        tokens=tokens,
        sessions=sessions,
        tokens_of=Counter(each.account for each in tokens),
        sessions_of=Counter(each.account for each in sessions),
        trail=await store.targets.trail(_TRAIL),
    )


async def tell(visit: Visit) -> web.Response:
    """Ask for confirmation."""
    deed, who = _deed(visit), standing.operator(visit.request)
    return await _ask(
        visit, deed, DeedRequest(store=visit.store, fields=visit.request.query, who=who)
    )


async def do(visit: Visit) -> web.Response:
    """Do it, or say why it cannot be done and ask again."""
    deed = _deed(visit)
    standing.operator(visit.request)
    fields = await filled_in(visit.request)
    who = standing.operator(visit.request)  # who may have become somebody else while the form came
    asked = DeedRequest(store=visit.store, fields=fields, who=who)
    try:
        shown = await deed.do(asked)
    except (AccountProblem, FormInvalid) as error:
        return await _ask(visit, deed, asked, error)
    if shown is None:
        return done(visit, Done.CHANGED, "access")
    return render(visit.request, "token.html", token=shown, name=fields["name"])


async def _ask(
    visit: Visit, deed: Deed, asked: DeedRequest, error: JobstoreError | None = None
) -> web.Response:
    question = replace(await deed.question(asked), back="access", section="Access")
    if error is None:
        return ask(visit, question)
    return ask(visit, replace(question, wrong=sentence(error)), error.status or HTTPStatus.CONFLICT)


def _deed(visit: Visit) -> Deed:
    """Return the action that is asked for.

    Raises:
        NoSuchPage: there is no such action.
        Forbidden: there are no accounts, so anybody could become an admin.
    """
    deed = DEEDS.get(visit.request.match_info["deed"])
    if deed is None or visit.access is None:
        raise NoSuchPage
    if visit.visitor.everybody:
        raise Forbidden(
            "add the first account on the machine of the store: jobstore user add NAME --role admin"
        )
    return deed


ROUTES: Final[Routes] = (
    PageRoute("GET", "access", show),
    PageRoute("GET", "access/{deed}", tell),
    PageRoute("POST", "access/{deed}", do),
)
