"""Operations on many jobs: create, show and stop them."""

from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from jobstore.dialects.native.problems import json_of
from jobstore.live import Store
from jobstore.model.account import Identity
from jobstore.model.bulk import BulkOrder, described
from jobstore.model.errors import OperationChanged, OperationNotFound, QueryInvalid
from jobstore.store import bulk
from jobstore.store.bulk import Matched
from jobstore.store.jobs import LARGEST_ID
from jobstore.web import standing, wire
from jobstore.web.filters import limit_of, values_of
from jobstore.web.parameters import id_of

_LARGEST: Final = 2**16
_SHOWN: Final = 40  # of an id that is none
_MEMBERS: Final = "an action, and a filter or ids"


class BulkCalls:
    """Change many jobs.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._operations = store.operations

    async def create(self, request: web.Request) -> web.Response:
        """Create an operation, or only count its jobs."""
        standing.changing(request)
        written = await json_of(request, _LARGEST)
        asker = standing.changing(request)  # which may not be what it was before the body came
        return await self._create(written, asker)

    async def _create(self, written: object, asker: Identity) -> web.Response:
        from jobstore.dialects.native.bulk_forms import WrittenOperation  # late
        from jobstore.model.written_request import read

        try:
            wanted = read(WrittenOperation, written, _MEMBERS)
        except ValueError as invalid:
            raise QueryInvalid(str(invalid)) from None
        matched = (
            bulk.named(wanted.ids)
            if wanted.ids is not None
            else await self._operations.match(wanted.action, wanted.search(asker.scope))
        )
        order = BulkOrder(
            action=wanted.action,
            filter=wanted.filter_as_json,
            owner=asker.name,
            account=asker.account,
            scope=asker.scope,
            without_secrets=wanted.without_secrets,
        )
        if wanted.dry_run:
            return web.json_response(_counted(order, matched))
        try:
            made = await self._operations.make(order, matched, wanted.expect)
        except OperationChanged as error:
            return wire.problem(409, str(error), count=error.count)
        headers = {"Location": f"/_jobs/operations/{made}"}
        operation = await self._operations.get(made)
        document = {**described(operation), "forgotten": matched.secret}
        return web.json_response(document, status=202, headers=headers)

    async def page(self, request: web.Request) -> web.Response:
        """List operations, the newest first."""
        limit, before = _page(request.query)
        found = await self._operations.page(limit + 1, before, standing.scope(request))
        shown = found[:limit]
        return web.json_response(
            {
                "operations": [described(each) for each in shown],
                "next": shown[-1].id if len(found) > limit else None,
            }
        )

    async def show(self, request: web.Request) -> web.Response:
        """Return the progress of an operation."""
        found = await self._operations.get(_id(request), standing.scope(request))
        return web.json_response(described(found))

    async def stop(self, request: web.Request) -> web.Response:
        """Stop an operation; what it has done is not undone."""
        asker, operation_id = standing.changing(request), _id(request)
        await self._operations.stop(operation_id, asker.scope, asker.name)
        return await self.show(request)


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    number = id_of(text)
    if number is None:
        raise OperationNotFound(text[:_SHOWN])
    return number


def _page(query: MultiMapping[str]) -> tuple[int, int]:
    """Read the page of operations that is asked for."""
    values = values_of(query, ("limit", "before"))
    before = id_of(values.get("before", str(LARGEST_ID)))
    if before is None or before > LARGEST_ID:
        raise QueryInvalid("before: expected the id of an operation")
    return limit_of(values.get("limit")), before


def _counted(order: BulkOrder, matched: Matched) -> dict[str, Any]:
    return {"action": order.action, "count": matched.count, "forgotten": matched.secret}
