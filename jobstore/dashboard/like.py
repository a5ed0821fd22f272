"""Jobs like this one: when they were submitted, how long they took, and how they ended."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

from jobstore.dashboard.draw.dots import Dot, dots
from jobstore.dashboard.draw.svg import Svg
from jobstore.dashboard.pages import up
from jobstore.dashboard.query import written
from jobstore.dashboard.rows import JobRow, rows, tone_of, took_of
from jobstore.dashboard.runs import label_of
from jobstore.dashboard.visit import Visit
from jobstore.model import words
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.lifecycle import State
from jobstore.model.route import ANY, route_of
from jobstore.store.alike import alike
from jobstore.store.questions import JobFigures

# How many jobs are drawn, and how many of them are in the table that is open at first.
_DRAWN: Final = 50
_LISTED: Final = 6
_MIDDLE: Final = 50
_NEARLY_ALL: Final = 95


@frozen(kw_only=True)
class LikeIt:
    """Jobs of one route.

    Args:
        name: that, with its method.
        all: the query of the list that has all of them, if others as well.
        others: the other jobs than the one that these are like, the newest first.
        told: how many there are and what came of them, in words.
        drawing: all of them; None if there are no others.
    """

    name: str
    all: str
    others: Sequence[JobRow]
    told: str
    drawing: Svg | None

    @property
    def first(self) -> Sequence[JobRow]:
        """Those that are listed at once."""
        return self.others[:_LISTED]

    @property
    def rest(self) -> Sequence[JobRow]:
        """The others."""
        return self.others[_LISTED:]


async def like_it(visit: Visit, job: Job, now: int) -> LikeIt:
    """Find the last jobs of the same route as a job, as far as that takes little time.

    Args:
        now: in microseconds since 1970.
    """
    found = await alike(visit.store.history, job, _DRAWN, visit.scope)
    others = [each for each in found.jobs if each.id != job.id]
    jobs, route = [*others, job], route_of(job.path)
    half, most = _percentiles(jobs, now)
    return LikeIt(
        name=f"{job.method} {route}",
        all=written(_filter(job, route)),
        others=rows(others, now, visit.store.targets.waits_for, {}),
        told=_told(jobs, words.typical(half, most), latest=found.latest),
        drawing=_drawn(visit, jobs, job, now, {"p95": most, "p50": half}) if others else None,
    )


def _filter(job: Job, route: str) -> dict[str, str]:
    if job.definition is not None:
        return {"definition": str(job.definition)}
    return {"path": route.partition(ANY)[0]}


def _told(jobs: Sequence[Job], took: str, *, latest: bool) -> str:
    """Say what came of jobs, in the words that other pages have for that."""
    wrong = sum(tone_of(job) == "fail" for job in jobs)
    which = f"the last {len(jobs)}" if latest else f"{len(jobs)} up to this one"
    return " · ".join(part for part in (which, f"{wrong} went wrong", took) if part)


def _percentiles(jobs: Sequence[Job], now: int) -> list[int | None]:
    ended = [job for job in jobs if job.state in {State.DONE, State.FAILED}]
    took = array("q", (each for job in ended if (each := took_of(job, now)) is not None))
    return JobFigures(None, took=took).percentiles(_MIDDLE, _NEARLY_ALL)


def _drawn(
    visit: Visit, jobs: Sequence[Job], this: Job, now: int, marked: Mapping[str, int | None]
) -> Svg | None:
    """Draw the jobs that have begun; None if there are none."""
    drawn = [
        Dot(
            at=job.submitted_at,
            took=took,
            tone=tone_of(job),
            label=f"{job.id}, {label_of(job, now)}",
            href=None if job.id == this.id else f"{up(visit.request)}{job.id}",
            this=job.id == this.id,
        )
        for job in jobs
        if (took := took_of(job, now)) is not None
    ]
    levels = [(name, at) for name, at in marked.items() if at is not None]
    label = f"{words.plural(len(drawn), 'job')} by when they were submitted and how long they took"
    return dots(drawn, label, levels) if drawn else None
