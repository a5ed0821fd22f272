"""Calls for monitoring: is the server alive, is it ready, what has it counted."""

import asyncio
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web

from jobstore.live import Store
from jobstore.live.census import about
from jobstore.live.health import Health
from jobstore.model.errors import Forbidden, MetricsOff
from jobstore.web import late, refusals, standing, wire

if TYPE_CHECKING:
    from jobstore.dialects.native.exposition import Exposition

LIVE: Final = "/_jobs/livez"
READY: Final = "/_jobs/readyz"
METRICS: Final = "/_jobs/metrics"
# Writes metrics down, with a library that takes a while to load: it is not, until somebody asks.
_EXPOSITION: Final = "jobstore.dialects.native.exposition"


class Monitoring:
    """Report the state of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._health = Health(store)
        self._writing = asyncio.Lock()

    async def live(self, _: web.Request) -> web.Response:
        """Answer that the server is alive."""
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """Answer whether jobs are accepted: 200, or 503 with the reason.

        With ``?verbose``, which needs an account that may see all jobs, the answer lists each
        check.
        """
        verbose = bool(request.query_string)
        if verbose:
            _see_all(request)
        checks = await self._health.checks()
        wrong = {name: clause for name, clause in checks.items() if clause is not None}
        told = checks if verbose else wrong
        if _wants_text(request):
            return _in_lines(told, wrong)
        document: dict[str, object] = {"ready": not wrong}
        if verbose:
            document["checks"] = {name: clause or "ok" for name, clause in checks.items()}
        if not wrong:
            return web.json_response(document)
        document |= wire.problem_document(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(wrong.values()))
        return web.json_response(
            {**document, "reasons": wrong},
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            headers=dict(refusals.SOON),
            content_type="application/problem+json",
        )

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with the metrics, in one of Prometheus's two text formats."""
        _see_all(request)
        meters = self._store.meters
        if meters is None:
            raise MetricsOff
        await late.loaded(_EXPOSITION)
        from jobstore.dialects.native.exposition import Slots, Snapshot

        store, figures = self._store, await self._store.census.figures()
        meters.fold()
        closed = store.targets.closed
        snapshot = Snapshot(
            about=about(),
            meters=meters,
            figures=figures,
            targets={
                name: Slots(*slots, paused=name in closed) for name, slots in store.slots().items()
            },
            queue_limit=store.queue()[1],
            writer_waiting=store.writer_waiting,
            lag=store.pulse.lag,
            followers=store.waits.followers(),
        )
        accept = ",".join(request.headers.getall("Accept", ()))
        # It takes milliseconds, which is too long for the loop. What is counted meanwhile may be in
        # one number of a histogram and not yet in another, which is in the next scrape.
        async with self._writing:
            content_type, text = await asyncio.to_thread(self._exposition.written, snapshot, accept)
        return web.Response(body=text, headers={"Content-Type": content_type})

    @cached_property
    def _exposition(self) -> "Exposition":
        from jobstore.dialects.native.exposition import Exposition  # as above

        return Exposition()


def _see_all(request: web.Request) -> None:
    if standing.scope(request) is not None:
        raise Forbidden("metrics are for admins and readers")


def _wants_text(request: web.Request) -> bool:
    """Return whether the client asks for text instead of JSON."""
    accept = request.headers.get("Accept", "").lower()
    return "text/plain" in accept and "json" not in accept


def _in_lines(told: Mapping[str, str | None], wrong: Mapping[str, str]) -> web.Response:
    """Write checks as Kubernetes does; passed ones only if asked for."""
    lines = [f"[-] {name}: {clause}" if clause else f"[+] {name}" for name, clause in told.items()]
    text = "\n".join([*lines, "not ready" if wrong else "ready", ""])
    if not wrong:
        return web.Response(text=text)
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return web.Response(text=text, status=status, headers=dict(refusals.SOON))
