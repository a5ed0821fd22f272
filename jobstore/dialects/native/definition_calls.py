"""Definitions in jobstore's own API: JSON, and problem documents for errors."""

from typing import Any, Final

from aiohttp import web

from jobstore.dialects.native.problems import json_of
from jobstore.dialects.native.respond_async import accepted
from jobstore.live import Store
from jobstore.model import clock
from jobstore.model.clock import Clock, iso
from jobstore.model.definition import Definition, described, key_of, normal_path
from jobstore.model.definition_reader import change, parse
from jobstore.model.job import Dialect, Trigger
from jobstore.model.schedule import next_fires
from jobstore.targets.router import Router
from jobstore.web import standing
from jobstore.web.edge import run_of
from jobstore.web.parameters import count_of, value_of

_PAGE: Final = 100
_LARGEST_PAGE: Final = 1000
_MOST_FIRES: Final = 100
_LARGEST: Final = 2**20  # as JSON, with the body of its request


class DefinitionCalls:
    """Create, read, change, list, run and delete definitions."""

    def __init__(self, store: Store, router: Router, clock: Clock = clock.now) -> None:
        self._store = store
        self._router = router
        self._clock = clock

    async def create(self, request: web.Request) -> web.Response:
        """Create a definition."""
        identity = standing.changing(request)
        draft = parse(await json_of(request, _LARGEST))
        definition = await self._store.definitions.create(draft, identity.name, identity.account)
        location = {"Location": f"/_jobs/definitions/{definition.id}"}
        return web.json_response(self._written(definition), status=201, headers=location)

    async def page(self, request: web.Request) -> web.Response:
        """List a page; ``next`` is the ``after`` of the page behind it."""
        limit = min(count_of(request.query, "limit", _PAGE), _LARGEST_PAGE)
        after = count_of(request.query, "after", 0)
        path = value_of(request.query, "path")
        scope = standing.scope(request)
        if path is not None:
            found = await self._at(path, scope)
        else:
            found = await self._store.definitions.page(after, limit, scope)
        listed = [self._written(definition) for definition in found]
        full = path is None and len(found) == limit and limit > 0
        following = found[-1].id if full else None
        return web.json_response({"definitions": listed, "next": following})

    async def show(self, request: web.Request) -> web.Response:
        """Show a definition; with ``fires``, also so many of the times at which it will run."""
        count = min(count_of(request.query, "fires", 0), _MOST_FIRES)
        found = await self._found(request, standing.scope(request))
        written = self._written(found)
        if "fires" in request.query:
            times = next_fires(found.draft.schedule, self._clock(), count)
            written["fires"] = [iso(at) for at in times]
        return web.json_response(written)

    async def _at(self, path: str, scope: int | None) -> list[Definition]:
        """List the definitions at a path: each owner may have one there."""
        try:
            return await self._store.definitions.all_at(normal_path(path), scope)
        except ValueError:
            return []

    async def change(self, request: web.Request) -> web.Response:
        """Change a definition; existing runs are not changed."""
        found = await self._found(request, standing.changing(request).scope)
        draft = change(found.draft, await json_of(request, _LARGEST))
        changed = await self._store.definitions.change(found, draft)
        return web.json_response(self._written(changed))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a definition; its runs continue."""
        scope = standing.changing(request).scope
        found = await self._found(request, scope)
        await self._store.definitions.delete(found.id, scope)
        return web.Response(status=204)

    async def run(self, request: web.Request) -> web.Response:
        """Run a definition."""
        found = await self._found(request, standing.changing(request).scope)
        run = run_of(found, self._store, self._router, request, Dialect.NATIVE, Trigger.RESTAPI)
        return accepted(await self._store.submit(run))

    async def _found(self, request: web.Request, scope: int | None) -> Definition:
        """Find the definition that a request is about, by its id or by its uuid."""
        return await self._store.definitions.find(*key_of(request.match_info["id"]), scope)

    def _written(self, definition: Definition) -> dict[str, Any]:
        return described(definition, self._store.definitions.secret)
