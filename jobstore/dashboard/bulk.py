"""Actions on many jobs: on the selected ones, or on all that match the list's filters.

The question is frozen: its count is exact, relative times are stored in the form as absolute ones,
and later jobs are not touched. If the count has changed when the form is submitted, nothing is
done, and the question is asked again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from jobstore.dashboard import query
from jobstore.dashboard.acting import WITHOUT
from jobstore.dashboard.confirm import Input, Question, ask
from jobstore.dashboard.forms import Fields, FormInvalid, filled_in
from jobstore.dashboard.pages import see_other, up
from jobstore.dashboard.query import Query
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import clock, words
from jobstore.model.bulk import BulkAction, BulkOrder
from jobstore.model.errors import QueryInvalid
from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import ENDED, Result, State
from jobstore.store.bulk import Matched
from jobstore.store.jobs import LARGEST_ID
from jobstore.store.search import Search
from jobstore.web import standing
from jobstore.web.parameters import id_of, is_count

# Of more jobs, the number has to be typed.
TYPED: Final = 100
_MOST: Final = 1000  # that are selected at once
_SHOWN: Final = 40  # of an id that is none


@frozen(kw_only=True)
class Chosen:
    """The jobs to act on.

    Args:
        search: finds them.
        words: describes them, as the rest of a sentence that begins with a number of jobs.
        others: why the action is not possible for other selected jobs.
        path: the question's path below the mount, with everything it depends on.
        back: the page that they were chosen on.
        filter: the filter to store with the operation, as JSON; None if they were given by id.
        named: how many ids were given.
    """

    search: Search
    words: str
    path: str
    back: str
    filter: str | None = None
    named: int | None = None


# --- which jobs ---------------------------------------------------------------------------------


def _selected(visit: Visit, action: BulkAction) -> Chosen:
    """Read which jobs are selected.

    Raises:
        QueryInvalid: none are, or too many, or an id is invalid.
    """
    given = [*dict.fromkeys(visit.request.query.getall("id", []))]
    ids = [number for text in given if (number := _id(text)) is not None]
    if not 1 <= len(ids) <= _MOST:
        raise QueryInvalid(f"expected 1 to {_MOST} selected jobs")
    return Chosen(
        search=Search(ids=tuple(ids), account=visit.scope),
        words="that you have selected",
        path=f"selected/{action}?" + "&".join(f"id={each}" for each in ids),
        back="",
        named=len(ids),
    )


def _id(text: str) -> int | None:
    number = id_of(text)
    if number is None:
        raise QueryInvalid(f"id: expected the id of a job, and not {text[:_SHOWN]}")
    return number if number <= LARGEST_ID else None


def _matching(visit: Visit, action: BulkAction) -> Chosen:
    """Read which jobs match the shown list's filters.

    Raises:
        QueryInvalid: it cannot be understood; the message says what was expected.
    """
    asked = Query.of(visit.request.query)
    fixed = asked.at(clock.now())
    search = fixed.page(visit.scope).search
    filters = dict(fixed.filters)
    return Chosen(
        search=search,
        words=f"that match {query.line(filters)}" if filters else "that there are",
        path=f"matching/{action}{_query(filters)}",
        back=_query(dict(asked.filters)),
        filter=json.dumps(filters or {"all": True}),
    )


def _query(filters: Mapping[str, str]) -> str:
    return query.written({**filters}) if filters else ""


def offers(visit: Visit, filters: Mapping[str, str]) -> dict[str, Any]:
    """Return the actions for jobs of a list, and the query that matches all of them."""
    possible = sensible(filters) if visit.visitor.may_act else []
    return {"offered": possible, "matching": _query(filters)}


def sensible(filters: Mapping[str, str]) -> list[BulkAction]:
    """Return the actions that make sense for jobs with such filters."""
    states, results = _among(filters, "state", State), _among(filters, "result", Result)
    ended = not states.isdisjoint(ENDED) and results != {Result.NONE}
    over = filters.get("error") == "yes" or "status" in filters  # only ended jobs have those
    holds = {
        BulkAction.RETRY: ended and results != {Result.DELETED},
        BulkAction.CANCEL: not (states <= {*ENDED} or over) and Result.NONE in results,
        BulkAction.RESTORE: ended and results <= {Result.TAKEN, Result.DELETED},
        BulkAction.DELETE: results != {Result.DELETED},
    }
    return [action for action, can in holds.items() if can]


def _among(filters: Mapping[str, str], name: str, words: Iterable[str]) -> set[str]:
    given = filters.get(name)
    return {*words} if given is None else {each.strip() for each in given.split(",")}


# --- asking -------------------------------------------------------------------------------------


async def tell_selected(visit: Visit) -> web.Response:
    """Ask for confirmation of an action on the selected jobs."""
    visit.visitor.acting()
    return await tell(visit, _action(visit), _selected(visit, _action(visit)))


async def do_selected(visit: Visit) -> web.Response:
    """Act on the selected jobs."""
    visit.visitor.acting()
    return await do(visit, _action(visit), _selected(visit, _action(visit)))


async def tell_matching(visit: Visit) -> web.Response:
    """Ask for confirmation of an action on all matching jobs."""
    visit.visitor.acting()
    return await tell(visit, _action(visit), _matching(visit, _action(visit)))


async def do_matching(visit: Visit) -> web.Response:
    """Act on all matching jobs."""
    visit.visitor.acting()
    return await do(visit, _action(visit), _matching(visit, _action(visit)))


def _action(visit: Visit) -> BulkAction:
    return BulkAction(visit.request.match_info["action"])


async def tell(visit: Visit, action: BulkAction, chosen: Chosen) -> web.Response:
    """Ask about jobs, with their exact number."""
    matched = await visit.store.operations.match(action, chosen.search)
    return ask(visit, question(action, chosen, matched), action=chosen.path)


async def do(visit: Visit, action: BulkAction, chosen: Chosen) -> web.Response:
    """Create the operation, if the number of jobs is still the same."""
    fields = await filled_in(visit.request)
    asker = standing.changing(visit.request)  # who may have changed while the form came
    operations = visit.store.operations
    expected, last = _number(fields, "count"), _number(fields, "last")
    matched = await operations.match(action, replace(chosen.search, account=asker.scope), last)
    if matched.count != expected:
        return await _again(visit, action, chosen, expected)
    if expected > TYPED and fields.get("typed", "").replace(",", "").strip() != str(expected):
        wrong = f"Nothing was done: the number of jobs was not typed as {words.count(expected)}."
        asked = replace(question(action, chosen, matched), wrong=wrong)
        return ask(visit, asked, 400, action=chosen.path)
    order = BulkOrder(
        action=action,
        filter=chosen.filter,
        owner=asker.name,
        account=asker.account,
        scope=asker.scope,
        without_secrets=fields.get(WITHOUT) == "yes",
    )
    made = await operations.make(order, matched, expected)
    return see_other(f"{up(visit.request)}operations/{made}")


async def _again(visit: Visit, action: BulkAction, chosen: Chosen, expected: int) -> web.Response:
    """Ask again: the number of jobs has changed."""
    matched = await visit.store.operations.match(action, chosen.search)
    wrong = f"Nothing was done: there were {words.count(expected)} when you were asked, and now "
    wrong += f"there are {words.count(matched.count)}."
    asked = replace(question(action, chosen, matched), wrong=wrong)
    return ask(visit, asked, 409, action=chosen.path)


def _number(fields: Fields, name: str) -> int:
    text = fields.get(name, "")
    if not is_count(text):
        raise FormInvalid(f"{name}: expected a whole number")
    return int(text)


# --- what is said -------------------------------------------------------------------------------


def question(action: BulkAction, chosen: Chosen, matched: Matched) -> Question:
    """Return the question, with the number of jobs."""
    number, verb = matched.count, action.capitalize()
    if not number:
        return Question(
            title=f"Nothing to {action}",
            told=(f"None of the jobs {chosen.words} {_COULD[action]}.",),
            button="",
            back=chosen.back,
        )
    jobs = words.plural(number, "job")
    return Question(
        title=f"{verb} {jobs}?",
        told=(_which(action, chosen, jobs, number), *_worst(action, matched)),
        button=f"{verb} {jobs}",
        back=chosen.back,
        danger=action in {BulkAction.CANCEL, BulkAction.DELETE},
        kept={"count": str(number), "last": str(matched.last)},
        inputs=(*_secrets(matched), *_typed(number)),
    )


def _which(action: BulkAction, chosen: Chosen, jobs: str, number: int) -> str:
    if chosen.named is None:
        return f"These are all {jobs} {chosen.words} and {_CAN[action]}."
    left = chosen.named - number
    rest = f" The other {words.count(left)} cannot be." if left else ""
    return f"{words.count(number)} of {words.plural(chosen.named, 'job')} {chosen.words}.{rest}"


_COULD: Final = {
    BulkAction.CANCEL: "can be cancelled",
    BulkAction.RETRY: "can be retried: they have not ended, were retried already, or their "
    "requests are no longer kept",
    BulkAction.DELETE: "can be deleted",
    BulkAction.RESTORE: "can be restored",
}
_CAN: Final = {action: said.partition(":")[0] for action, said in _COULD.items()}


def _worst(action: BulkAction, matched: Matched) -> list[str]:
    """Describe what will happen, and the worst case."""
    running, queued = matched.running, matched.count - matched.running
    match action:
        case BulkAction.CANCEL:
            told = f"{words.count(queued)} of them are queued and {words.count(running)} running. "
            told += "Running ones are stopped at once, whatever their targets have done by then."
            return [told, "This cannot be undone; they can be retried as new jobs."]
        case BulkAction.RETRY:
            told = "Each request is sent again, as a new job."
            return [f"{told} Whatever targets have already done may then happen twice."]
        case BulkAction.DELETE:
            told = "Nobody can fetch their results any more. Until these are purged, this can be "
            return [f"{told}undone for jobs that have ended."]
        case BulkAction.RESTORE:
            return ["Their results are held again, for whoever fetches each of them first."]


def _secrets(matched: Matched) -> tuple[Input, ...]:
    if not matched.secret:
        return ()
    label = f"Retry also the {words.count(matched.secret)} with secret headers, without these: "
    label += "they are not kept, and targets may refuse the requests. Otherwise they are skipped."
    return (Input(name=WITHOUT, label=label, kind="checkbox", value="yes"),)


def _typed(number: int) -> tuple[Input, ...]:
    if number <= TYPED:
        return ()
    label = f"Type {words.count(number)} to go on"
    return (Input(name="typed", label=label, required=True),)


_ACTION: Final = "{action:cancel|retry|delete|restore}"
ROUTES: Final[Routes] = (
    PageRoute("GET", f"selected/{_ACTION}", tell_selected),
    PageRoute("POST", f"selected/{_ACTION}", do_selected),
    PageRoute("GET", f"matching/{_ACTION}", tell_matching),
    PageRoute("POST", f"matching/{_ACTION}", do_matching),
)
