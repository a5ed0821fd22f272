"""The events of a job as they happen: server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from jobstore.dialects.native import as_json
from jobstore.live import Store
from jobstore.model.errors import JobNotFound
from jobstore.model.frozen import frozen
from jobstore.model.job import Job, Moment
from jobstore.model.lifecycle import ENDED
from jobstore.web import standing

# How long a reader may leave what was sent to it lying before it is dropped.
STALLED_SECONDS: Final = 30.0
_PING_SECONDS: Final = 15.0
_SEEN: Final = re.compile(r"([0-9]{1,9})-([0-9a-f]{8}|end)")
_NOTHING: Final = "0" * 8


@frozen
class _Seen:
    """What a reader has seen; as text, it is the id of the last event.

    Args:
        moments: how many entries of the timeline, which only grows until the job has ended.
        progress: identifies the progress that was sent last, or ``end``.
    """

    moments: int = 0
    progress: str = _NOTHING

    def __str__(self) -> str:
        return f"{self.moments}-{self.progress}"


class Events:
    """Follow jobs.

    Args:
        stalled: how long a reader may leave sent data unread, in seconds.
    """

    def __init__(self, store: Store, stalled: float = STALLED_SECONDS) -> None:
        self._store = store
        self._stalled = stalled

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Send what has happened to a job, and then what happens until its end."""
        job_id, scope = as_json.job_id(request), standing.scope(request)
        await self._store.history.job(job_id, scope)
        seen = _seen(request.headers.get("Last-Event-ID", ""))
        if seen.progress == "end":
            return web.Response(status=204)  # which tells a browser not to come back
        if request.method == "HEAD":  # nothing would end the wait for events
            return web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        async with sse_response(
            request, send_timeout=self._stalled, ping_interval=_PING_SECONDS
        ) as stream:
            # Then nobody listens any more, or may any more, or there is nothing left to tell.
            with suppress(ConnectionError, TimeoutError, JobNotFound, standing.Revoked):
                await self._send_all(stream, request, job_id, seen)
        return stream

    async def _send_all(
        self, stream: EventSourceResponse, request: web.Request, job_id: int, seen: _Seen
    ) -> None:
        with self._store.waits.watching(job_id) as watch:
            while not watch.over:
                job = await self._store.history.job(job_id, standing.scope_again(request))
                moments = await self._store.history.timeline(job_id)
                seen = await _send_news(stream, job, moments, seen)
                if job.state in ENDED:
                    end = _Seen(seen.moments, "end")
                    await _send(stream, "end", as_json.written(job), end)
                    return
                await watch.change()


async def _send_news(
    stream: EventSourceResponse, job: Job, moments: Iterable[Moment], seen: _Seen
) -> _Seen:
    """Send what a reader has not seen yet; return what it has seen then."""
    told = _told(job)
    if told != seen.progress:
        seen = _Seen(seen.moments, told)
        await _send(stream, "progress", as_json.progress(job), seen)
    for each in list(until_end(moments))[seen.moments :]:
        seen = _Seen(seen.moments + 1, told)
        await _send(stream, each.event, as_json.moment(each), seen)
    return seen


async def _send(stream: EventSourceResponse, event: str, data: dict[str, Any], seen: _Seen) -> None:
    await stream.send(json.dumps(data), event=event, id=str(seen))


def until_end(moments: Iterable[Moment]) -> Iterator[Moment]:
    """Return the events up to a job's end, without those of its result."""
    for each in moments:
        yield each
        if each.event in ENDED:
            return


def _told(job: Job) -> str:
    """Return what identifies a job's progress; "" if nothing was reported, as for most jobs."""
    if job.progress is None and not job.counters:
        return _NOTHING
    return blake2b(json.dumps(as_json.progress(job)).encode(), digest_size=4).hexdigest()


def _seen(last_event_id: str) -> _Seen:
    """Read what a reader has seen; an invalid value means nothing."""
    match = _SEEN.fullmatch(last_event_id)
    return _Seen(int(match[1]), match[2]) if match else _Seen()
