"""Definitions over HTTP, in our own words: JSON, and problem documents for what goes wrong."""

import re
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from jobstore.dialects.native.problems import json_of, told
from jobstore.dialects.native.respond_async import accepted
from jobstore.live import Store
from jobstore.model import clock
from jobstore.model.clock import Clock, iso
from jobstore.model.definition import Definition, Key, change, described, normal_path, parse
from jobstore.model.errors import DefinitionInvalid
from jobstore.model.job import Dialect, Trigger
from jobstore.model.schedule import next_fires
from jobstore.targets.router import Router
from jobstore.web import wire

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

    def add_routes(self, app: web.Application) -> None:
        """Let an application answer its calls."""
        one = "/_jobs/definitions/{id}"
        handle = told(self._handle)
        for path in ("/_jobs/definitions", one, one + "/{run:run}"):
            app.router.add_route("*", path, handle)

    async def _handle(self, request: web.Request) -> web.Response:
        definition, run = request.match_info.get("id"), request.match_info.get("run")
        match request.method, definition, run:
            case "POST", None, None:
                answer = await self._create(request)
            case (("GET" | "HEAD"), None, None):
                answer = await self._list(request)
            case (("GET" | "HEAD"), str(), None):
                answer = await self._show(request, definition)
            case "PATCH", str(), None:
                answer = await self._change(request, definition)
            case "DELETE", str(), None:
                answer = await self._delete(request, definition)
            case "POST", str(), str():
                answer = await self._run(request, definition)
            case _:
                answer = _not_allowed(definition, run)
        return answer

    async def _create(self, request: web.Request) -> web.Response:
        identity = wire.changing(request)
        draft = parse(await json_of(request, _LARGEST))
        definition = await self._store.definitions.create(draft, identity.name, identity.account)
        location = f"/_jobs/definitions/{definition.id}"
        return self._answer(definition, 201, {"Location": location})

    async def _list(self, request: web.Request) -> web.Response:
        """List a page; ``next`` is the ``after`` of the page behind it."""
        limit = min(_number(request, "limit", _PAGE), _LARGEST_PAGE)
        after = _number(request, "after", 0)
        path = request.query.get("path")
        scope = wire.scope(request)
        if path is not None:
            found = await self._at(path, scope)
        else:
            found = await self._store.definitions.page(after, limit, scope)
        listed = [self._written(definition) for definition in found]
        full = path is None and len(found) == limit and limit > 0
        return _answer({"definitions": listed, "next": found[-1].id if full else None})

    async def _show(self, request: web.Request, definition: str) -> web.Response:
        """Show a definition; with ``fires``, also so many of the times at which it will run."""
        count = min(_number(request, "fires", 0), _MOST_FIRES)
        found = await self._found(definition, wire.scope(request))
        written = self._written(found)
        if "fires" in request.query:
            times = next_fires(found.draft.schedule, self._clock(), count)
            written["fires"] = [iso(at) for at in times]
        return _answer(written)

    async def _at(self, path: str, scope: int | None) -> list[Definition]:
        """List the definitions at a path: each owner may have one there."""
        try:
            return await self._store.definitions.all_at(normal_path(path), scope)
        except ValueError:
            return []

    async def _change(self, request: web.Request, definition: str) -> web.Response:
        found = await self._found(definition, wire.changing(request).scope)
        draft = change(found.draft, await json_of(request, _LARGEST))
        return self._answer(await self._store.definitions.change(found, draft))

    async def _delete(self, request: web.Request, definition: str) -> web.Response:
        scope = wire.changing(request).scope
        found = await self._found(definition, scope)
        await self._store.definitions.delete(found.id, scope)
        return web.Response(status=204)

    async def _run(self, request: web.Request, definition: str) -> web.Response:
        identity = wire.changing(request)
        found = await self._found(definition, identity.scope)
        asked = found.draft.request
        target = self._router.owner(asked.method, asked.path).name
        run = found.run(target, Dialect.NATIVE, identity.name, Trigger.RESTAPI, identity.account)
        return accepted(await self._store.submit(replace(run, source=wire.source(request))))

    async def _found(self, definition: str, scope: int | None) -> Definition:
        """Find a definition by its id or by its uuid."""
        if re.fullmatch("[0-9]{1,19}", definition):
            return await self._store.definitions.find(Key.ID, int(definition), scope)
        return await self._store.definitions.find(Key.UUID, definition.lower(), scope)

    def _answer(
        self, definition: Definition, status: int = 200, headers: dict[str, str] | None = None
    ) -> web.Response:
        return _answer(self._written(definition), status, headers)

    def _written(self, definition: Definition) -> dict[str, Any]:
        return described(definition, self._store.definitions.secret)


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,18}", text):
        raise DefinitionInvalid(f"{name}: expected a whole number")
    return int(text)


def _not_allowed(definition: str | None, run: str | None) -> web.Response:
    allowed = "POST" if run else "GET, PATCH, DELETE" if definition else "GET, POST"
    return wire.problem(405, f"expected one of the methods {allowed}", (("Allow", allowed),))


def _answer(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response(value, status=status, headers=headers)
