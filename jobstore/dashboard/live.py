"""Live updates of open pages: server-sent events, from one feed for all of them.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from contextlib import suppress
from typing import Any, Final

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.live.changes import Change
from jobstore.model.errors import StoreError
from jobstore.web import cookies, standing

# How long a browser may leave what was sent to it lying before it is dropped.
_STALLED_SECONDS: Final = 30.0
# A browser that has closed its side may be reading still, as far as its system tells; only what
# is sent to it shows whether it does.
_PING_SECONDS: Final = 5.0


async def feed(visit: Visit) -> web.StreamResponse:
    """Send a page which jobs change, and the counts, as long as it is open.

    Raises:
        TooManyListeners: too many pages are open.
    """
    if visit.request.method == "HEAD":  # nothing would end the wait for changes
        return web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    with visit.store.changes.listening() as listener:
        async with sse_response(
            visit.request, send_timeout=_STALLED_SECONDS, ping_interval=_PING_SECONDS
        ) as stream:
            # Then the page is closed, or whoever has it may see it no more.
            with suppress(ConnectionError, TimeoutError, StoreError, standing.Revoked):
                async for change in listener:
                    await _send(visit, stream, change)
    return stream


async def _send(visit: Visit, stream: EventSourceResponse, change: Change) -> None:
    """Send the part of a change that the visitor may see.

    Raises:
        Revoked: their access was revoked.
    """
    scope = standing.scope_again(visit.request)
    await _require_session(visit)
    told = change.described if scope is None else await _of(visit, change, scope)
    if told is not None:
        await stream.send(json.dumps(told), event="jobs")


async def _of(visit: Visit, change: Change, scope: int) -> dict[str, Any] | None:
    """Return a change restricted to the visitor's own jobs; None if none of these changed."""
    own = await visit.store.history.among(change.changed, scope)
    if not own and not change.more:
        return None
    return {"counters": {}, "changed": own, "more": change.more}


async def _require_session(visit: Visit) -> None:
    """Ensure that the visitor's session is still valid.

    Raises:
        Revoked: it is not.
    """
    secret = cookies.session_of(visit.request.headers)
    if visit.visitor.session is None or secret is None:
        return
    if not await visit.store.sessions.lasts(secret):
        raise standing.Revoked


ROUTES: Final[Routes] = (PageRoute("GET", "feed", feed),)
