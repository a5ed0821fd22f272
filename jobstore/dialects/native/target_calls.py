"""Targets over HTTP: their state, and what operators set.

The name of a target is its prefix, percent-encoded: ``/_jobs/targets/%2Fexports``.
"""

from typing import Final

from aiohttp import web

from jobstore.dialects.native.problems import json_of
from jobstore.live import Store
from jobstore.model.errors import Forbidden, SubmissionInvalid
from jobstore.model.target_state import TargetChange, described
from jobstore.web import standing
from jobstore.web.parameters import count_of

_LARGEST: Final = 64 * 2**10
_PAGE: Final = 100
_LARGEST_PAGE: Final = 1000


class TargetCalls:
    """List targets, and change their settings."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, request: web.Request) -> web.Response:
        """Return the state of all targets."""
        if standing.scope(request) is not None:
            raise Forbidden("targets are for admins and readers")
        found = await self._store.targets.seen()
        return web.json_response({"targets": [described(target) for target in found]})

    async def change(self, request: web.Request) -> web.Response:
        """Pause or resume a target, or change how many of its jobs run at once."""
        standing.operator(request)
        wanted = _change(await json_of(request, _LARGEST))
        who = standing.operator(request)  # who may have changed while the body came
        name = request.match_info["name"]
        await self._store.targets.change(name, wanted, who)
        found = await self._store.targets.seen()
        return web.json_response(described(next(each for each in found if each.name == name)))

    async def trail(self, request: web.Request) -> web.Response:
        """Return who did what, the newest first."""
        standing.operator(request)
        limit = min(count_of(request.query, "limit", _PAGE), _LARGEST_PAGE)
        found = await self._store.targets.trail(limit)
        return web.json_response({"audit": [each.described for each in found]})


def _change(given: object) -> TargetChange:
    """Read the changes.

    Raises:
        SubmissionInvalid: they are invalid; the message says what was expected.
    """
    from jobstore.dialects.native.forms import WrittenTarget  # see json_of
    from jobstore.model.written_request import read

    try:
        return read(WrittenTarget, given, "paused, reason or concurrency").change
    except ValueError as invalid:
        raise SubmissionInvalid(str(invalid)) from None
