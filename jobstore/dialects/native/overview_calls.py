"""Overviews of many jobs: activity by time, and statistics by group."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from jobstore.live import Store
from jobstore.model import clock
from jobstore.model.clock import SECOND, Clock, iso
from jobstore.model.errors import QueryInvalid
from jobstore.model.periods import Dimension, Work, start_of
from jobstore.store import period_rows, questions
from jobstore.store.budget import Budget
from jobstore.store.overview import Overview, OverviewQuery, overview
from jobstore.store.starts import Start
from jobstore.web import overviews, standing
from jobstore.web.filters import values_of
from jobstore.web.overviews import WORDS
from jobstore.web.parameters import is_count

_NAMES: Final = 50
_STARTS: Final = 200
_TO_MS: Final = 1000

Answer = Callable[[web.Request], Awaitable[web.Response]]


class OverviewCalls:
    """Answer with overviews of jobs.

    Args:
        counting: answers requests for statistics without ``by``: the number of jobs in each state.
        budget: returns the time budget for jobs that are not counted yet.
    """

    def __init__(
        self,
        store: Store,
        counting: Answer,
        clock: Clock = clock.now,
        budget: Callable[[], Budget] = Budget,
    ) -> None:
        self._store = store
        self._counting = counting
        self._clock = clock
        self._budget = budget

    async def activity(self, request: web.Request) -> web.Response:
        """Answer with how jobs ended, by their span of submission, and with restarts."""
        query = values_of(request.query, ("since", "until", "by"))
        asked = overviews.activity(query, standing.scope(request), self._clock())
        found = await overview(self._store.history, asked, 1, self._budget())
        spans = found.spans.get("", {})
        return web.json_response(
            {
                "by": WORDS[asked.seconds],
                **_range(asked, found),
                "bars": [{"start": iso(at), **_ends(spans[at])} for at in sorted(spans)],
                "restarts": await self._restarts(asked),
            }
        )

    async def statistics(self, request: web.Request) -> web.Response:
        """Answer with how many jobs of each group ran, how long and when."""
        if not request.query:
            return await self._counting(request)
        query = values_of(request.query, ("by", "since", "until", "limit"))
        limit = _limit(query.get("limit"))
        asked = overviews.statistics(query, standing.scope(request), self._clock())
        found = await overview(self._store.history, asked, limit, self._budget())
        named = await self._names(asked)
        starts = range(start_of(asked.seconds, asked.since), asked.until, asked.seconds * SECOND)
        rest = found.works.get(period_rows.REST)
        return web.json_response(
            {
                "by": asked.kind,
                **_range(asked, found),
                "step": WORDS[asked.seconds],
                "starts": [iso(at) for at in starts],
                "names": len(found.works) - (rest is not None),
                "statistics": [
                    {
                        "name": name,
                        **named(name),
                        **_figures(found.works[name]),
                        "series": [_at(found.spans[name].get(at)) for at in starts],
                    }
                    for name in found.most(limit)
                ],
                "others": None if rest is None else _figures(rest),
            }
        )

    async def _names(self, asked: OverviewQuery) -> Callable[[str], dict[str, Any]]:
        """Return a function that adds a definition's name to its id."""
        if asked.kind is not Dimension.DEFINITION:
            return lambda _: {}
        names = await questions.names(self._store.history)
        return lambda name: {"definition": int(name), "name": names.get(int(name), name)}

    async def _restarts(self, asked: OverviewQuery) -> list[dict[str, Any]]:
        """List the starts of servers in a time range, if the caller may see all jobs."""
        if asked.scope is not None:
            return []
        starts = await self._store.others.starts(_STARTS)
        return [
            start_described(each) for each in starts if asked.since <= each.started_at < asked.until
        ]


def start_described(start: Start) -> dict[str, Any]:
    """Write a start of a server as JSON has it."""
    return {
        "boot": start.boot,
        "name": start.name,
        "host": start.host,
        "pid": start.pid,
        "version": start.version,
        "started_at": iso(start.started_at),
        "seen_at": None if start.seen_at is None else iso(start.seen_at),
        "ended_at": None if start.ended_at is None else iso(start.ended_at),
        "state": start.state,
    }


def _limit(text: str | None) -> int:
    limit = _NAMES if text is None else int(text) if is_count(text) else 0
    if not 1 <= limit <= period_rows.NAMES:
        raise QueryInvalid(f"limit: expected a whole number from 1 to {period_rows.NAMES}")
    return limit


# --- what is told -------------------------------------------------------------------------------


def _range(asked: OverviewQuery, found: Overview) -> dict[str, Any]:
    return {
        "since": iso(asked.since),
        "until": iso(asked.until),
        "complete": found.complete,
    }


def _ends(work: Work) -> dict[str, int]:
    return {
        "done": work.done,
        "failed": work.failed,
        "cancelled": work.cancelled,
        "errors": work.errors,
    }


def _figures(work: Work) -> dict[str, Any]:
    return {
        "count": work.count,
        **_ends(work),
        "wait_p50_ms": _ms(work.waits.at_most(50)),
        "wait_p95_ms": _ms(work.waits.at_most(95)),
        "p50_ms": _ms(work.took_at_most(50)),
        "p95_ms": _ms(work.took_at_most(95)),
        "max_ms": _ms(work.longest) if work.runs.counts else None,
    }


def _at(work: Work | None) -> list[int]:
    return [0, 0] if work is None else [work.count, work.errors]


def _ms(took: int | None) -> float | None:
    return None if took is None else took / _TO_MS
