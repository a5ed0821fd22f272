"""Which jobs are related to another: its retries, what waited for it, and neighbouring runs.

A job's own history names most of them, in notes that `events` writes and reads. The rest is found
by two indexes: the jobs that wait for it, and the runs of its definition on either side of it.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import bindparam, func, select

from jobstore.model.frozen import frozen
from jobstore.model.job import Job, Moment
from jobstore.store import schema
from jobstore.store.events import FOLLOWED_BY, RELEASED, RETRY_OF, TRIED_AGAIN, jobs_named
from jobstore.store.expressions import Statement
from jobstore.store.guards import ZERO, limit
from jobstore.store.history import History
from jobstore.store.search import NEWEST_RUN

_job: Final = schema.JOB.c
_MOST: Final = 6  # jobs shown of each relation

# The jobs that wait for another, or were cancelled since it did not succeed.
FOLLOWERS: Final = Statement(
    select(_job.id)
    .where(_job.follows == bindparam("followed"))
    .order_by(_job.follows, _job.id)
    .limit(limit)
    .offset(ZERO)
)
NEXT_RUN: Final = Statement(
    select(func.min(_job.id)).where(
        _job.definition == bindparam("definition"), _job.id > bindparam("after")
    )
)


@frozen(kw_only=True)
class Kin:
    """Jobs with the same relation to another.

    Args:
        what: the relation, as a heading.
        jobs: by their ids; None for those that are gone.
        more: how many there are besides.
    """

    what: str
    jobs: dict[int, Job | None]
    more: int = 0


async def kin(
    history: History, job: Job, timeline: Sequence[Moment], scope: int | None
) -> list[Kin]:
    """Find the jobs that came before and after another.

    Args:
        scope: the account whose they have to be, or None for anybody's.
    """
    named = [(what, sorted({*ids})) for what, ids in await _named(history, job, timeline) if ids]
    shown = {each for _, ids in named for each in ids[-_MOST:]}
    there = {each.id: each for each in await history.those(shown, scope)}
    return [
        Kin(
            what=what,
            jobs={each: there.get(each) for each in ids[-_MOST:]},
            more=len(ids[:-_MOST]),
        )
        for what, ids in named
    ]


async def _named(
    history: History, job: Job, timeline: Sequence[Moment]
) -> list[tuple[str, list[int]]]:
    waiting = await history.rows(FOLLOWERS, followed=job.id, limit=_MOST)
    before, after = await _runs(history, job)
    follows = [] if job.follows is None else [job.follows]
    return [
        ("Retry of", [*_told(timeline, RETRY_OF)]),
        ("Retried as", retried_as(timeline)),
        ("Follows", [*follows, *_told(timeline, RELEASED)]),
        ("Followed by", [*_told(timeline, FOLLOWED_BY), *(row[0] for row in waiting)]),
        ("Run before", before),
        ("Run after", after),
    ]


def _told(timeline: Sequence[Moment], event: str) -> Iterator[int]:
    """Yield the ids that a job's history names where it tells of an event."""
    for moment in timeline:
        if moment.event == event:
            yield from jobs_named(moment)


def retried_as(timeline: Sequence[Moment]) -> list[int]:
    """Return the jobs that a job was retried as, the first one first."""
    return sorted({*_told(timeline, TRIED_AGAIN)})


async def _runs(history: History, job: Job) -> tuple[list[int], list[int]]:
    """Return the runs of a job's definition before and after it, if it is a run."""
    if job.definition is None:
        return [], []
    this = {"definition": job.definition}
    before = await history.rows(NEWEST_RUN, last=job.id - 1, **this)
    after = await history.rows(NEXT_RUN, after=job.id, **this)
    return [row[0] for row in before if row[0]], [row[0] for row in after if row[0]]
