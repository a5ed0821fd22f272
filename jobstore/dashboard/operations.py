"""Operations on many jobs: their progress, what was skipped, and how to undo them."""

import json
from typing import Final

from aiohttp import web

from jobstore.dashboard import bulk, query
from jobstore.dashboard.bulk import Chosen
from jobstore.dashboard.confirm import Question, ask, done
from jobstore.dashboard.forms import filled_in
from jobstore.dashboard.notes import Done
from jobstore.dashboard.pages import render
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import words
from jobstore.model.bulk import BulkAction, BulkOperation, BulkState
from jobstore.model.errors import OperationNotFound, QueryInvalid
from jobstore.model.frozen import frozen
from jobstore.store.jobs import LARGEST_ID
from jobstore.store.search import Search
from jobstore.web import standing
from jobstore.web.parameters import id_of

_PAGE: Final = 50
_SHOWN: Final = 40  # of an id that is none


@frozen(kw_only=True)
class OperationRow:
    """An operation on a page.

    Args:
        title: what it does to how many jobs.
        which: describes the jobs.
        list: leads to what matches now, below the dashboard's root; None if there is no such page.
        undoable: whether it can be undone.
        retriable: whether there is something that it has cancelled, and that could be retried.
    """

    operation: BulkOperation
    title: str
    which: str
    list: str | None
    undoable: bool
    retriable: bool

    @property
    def is_running(self) -> bool:
        """Whether it is running."""
        return self.operation.state is BulkState.RUNNING

    @property
    def behind(self) -> int:
        """How many jobs have been processed."""
        return self.operation.done + self.operation.skipped


def _line(operation: BulkOperation) -> OperationRow:
    order, which, found = operation.order, "selected jobs", None
    filters = json.loads(order.filter) if order.filter else {}
    if "all" in filters:
        which, found = "all jobs", ""
    elif "operation" in filters:
        which = f"jobs of operation {filters['operation']}"
        found = f"operations/{filters['operation']}"
    elif filters:
        given = {name: _text(value) for name, value in filters.items()}
        which, found = query.line(given), query.written({**given})
    has_done = operation.done > 0 and operation.state is not BulkState.RUNNING
    return OperationRow(
        operation=operation,
        title=f"{order.action.capitalize()} {words.plural(operation.total, 'job')}",
        which=which,
        list=found,
        undoable=has_done and order.action is BulkAction.DELETE,
        retriable=has_done and order.action is BulkAction.CANCEL,
    )


def _text(value: object) -> str:
    """Return the value of a filter as in a query; clients of the API may have given a list."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


async def page(visit: Visit) -> web.Response:
    """List operations, the newest first."""
    before = _before(visit)
    found = await visit.store.operations.page(_PAGE + 1, before, visit.scope)
    shown = found[:_PAGE]
    older = shown[-1].id if len(found) > _PAGE else None
    return render(
        visit.request, "operations.html", lines=[_line(each) for each in shown], older=older
    )


def _before(visit: Visit) -> int:
    text = visit.request.query.get("before")
    before = LARGEST_ID if text is None else id_of(text)
    if before is None or before > LARGEST_ID:
        raise QueryInvalid("before: expected the id of an operation")
    return before


async def _sought(visit: Visit) -> BulkOperation:
    """Return the operation that a page is about.

    Raises:
        OperationNotFound: there is none with this id that the caller may see.
    """
    text = visit.request.match_info["id"]
    number = id_of(text)
    if number is None:
        raise OperationNotFound(text[:_SHOWN])
    return await visit.store.operations.get(number, visit.scope)


async def show(visit: Visit) -> web.Response:
    """Show the progress of an operation."""
    return render(visit.request, "operation.html", line=_line(await _sought(visit)))


# --- stopping -----------------------------------------------------------------------------------


async def tell_stop(visit: Visit) -> web.Response:
    """Ask for confirmation to stop an operation."""
    visit.visitor.acting()
    return _ask_stop(visit, await _sought(visit))


def _ask_stop(visit: Visit, operation: BulkOperation) -> web.Response:
    is_over = operation.state is not BulkState.RUNNING
    left = operation.total - operation.done - operation.skipped
    told = f"What it has done stays done. It leaves the other {words.plural(left, 'job')} alone."
    question = Question(
        title=f"Stop operation {operation.id}?",
        told=(told,) if not is_over else (),
        button="" if is_over else "Stop it",
        back=f"operations/{operation.id}",
        danger=True,
        wrong=f"It has already ended: it is {operation.state}." if is_over else "",
    )
    return ask(visit, question, 409 if is_over else 200)


async def stop(visit: Visit) -> web.Response:
    """Stop an operation, unless it has ended."""
    visit.visitor.acting()
    await filled_in(visit.request)
    asker = standing.changing(visit.request)
    operation = await _sought(visit)
    if operation.state is not BulkState.RUNNING:
        return _ask_stop(visit, operation)
    await visit.store.operations.stop(operation.id, asker.scope, asker.name)
    return done(visit, Done.STOPPED, f"operations/{operation.id}")


# --- undoing ------------------------------------------------------------------------------------


async def tell_undo(visit: Visit) -> web.Response:
    """Ask for confirmation to restore what an operation deleted."""
    visit.visitor.acting()
    return await bulk.tell(visit, BulkAction.RESTORE, await _deleted(visit))


async def undo(visit: Visit) -> web.Response:
    """Restore what an operation deleted, by another operation."""
    visit.visitor.acting()
    return await bulk.do(visit, BulkAction.RESTORE, await _deleted(visit))


async def _deleted(visit: Visit) -> Chosen:
    operation = await _sought(visit)
    search = visit.store.operations.deleted_by(operation, visit.scope)
    return _changed_by(operation, search, "deleted", "undo")


def _changed_by(operation: BulkOperation, search: Search, became: str, action: str) -> Chosen:
    """Choose the jobs that an operation changed, for another action on just these."""
    path = f"operations/{operation.id}"
    return Chosen(
        search=search,
        words=f"that operation {operation.id} has {became}",
        path=f"{path}/{action}",
        back=path,
        filter=json.dumps({"operation": operation.id}),
    )


# --- retrying -----------------------------------------------------------------------------------


async def tell_retry(visit: Visit) -> web.Response:
    """Ask whether what an operation has cancelled shall be retried."""
    visit.visitor.acting()
    return await bulk.tell(visit, BulkAction.RETRY, await _cancelled(visit))


async def retry(visit: Visit) -> web.Response:
    """Retry what an operation has cancelled, by another one."""
    visit.visitor.acting()
    return await bulk.do(visit, BulkAction.RETRY, await _cancelled(visit))


async def _cancelled(visit: Visit) -> Chosen:
    operation = await _sought(visit)
    search = visit.store.operations.cancelled_by(operation, visit.scope)
    return _changed_by(operation, search, "cancelled", "retry")


_ONE: Final = "operations/{id:[0-9]+}"
ROUTES: Final[Routes] = (
    PageRoute("GET", "operations", page),
    PageRoute("GET", _ONE, show),
    PageRoute("GET", f"{_ONE}/stop", tell_stop),
    PageRoute("POST", f"{_ONE}/stop", stop),
    PageRoute("GET", f"{_ONE}/undo", tell_undo),
    PageRoute("POST", f"{_ONE}/undo", undo),
    PageRoute("GET", f"{_ONE}/retry", tell_retry),
    PageRoute("POST", f"{_ONE}/retry", retry),
)
