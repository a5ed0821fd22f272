"""The last jobs of the same route as another.

No index has routes: what has to be found for a page is not worth a column that each submission
writes. Runs of a definition are found by theirs; others by a walk through the newest jobs, which
looks at ids in their order and is over when its time is.
"""

from typing import Final

from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.route import ANY, CUT, route_of
from jobstore.store.budget import Budget
from jobstore.store.history import History
from jobstore.store.jobs import LARGEST_ID
from jobstore.store.search import Search

# For how long each of two walks goes on, in seconds. Measured: one looks at a million jobs in one.
_WALK_SECONDS: Final = 0.02


@frozen(kw_only=True)
class Alike:
    """Jobs of one route.

    Args:
        jobs: the newest first.
        latest: whether there are no newer ones; otherwise, the first is the one they are like.
    """

    jobs: list[Job]
    latest: bool


async def alike(history: History, job: Job, most: int, scope: int | None) -> Alike:
    """Find the last jobs of a job's route; those up to it if it is older than these.

    Args:
        most: how many at most, this one included.
        scope: the account whose they have to be, or None for anybody's.
    """
    latest = await _up_to(history, job, most, scope, LARGEST_ID)
    if any(each.id == job.id for each in latest):
        return Alike(jobs=latest, latest=True)
    return Alike(jobs=await _up_to(history, job, most, scope, job.id + 1), latest=False)


async def _up_to(
    history: History, job: Job, most: int, scope: int | None, before: int
) -> list[Job]:
    if job.definition is not None:
        return await history.runs(job.definition, most, scope=scope, before=before)
    route, budget = route_of(job.path), Budget(_WALK_SECONDS)
    search = Search(path=route.partition(ANY)[0].removesuffix(CUT), account=scope)
    found, at = list[Job](), before
    while len(found) < most:
        page = await history.page(search, most, at, budget)
        budget.begin()  # there may be any number of jobs whose paths only begin alike
        found += [
            each for each in page.jobs if (each.method, route_of(each.path)) == (job.method, route)
        ]
        if page.searched_to is None or len(page.jobs) < most:
            break
        at = page.searched_to
    return found[:most]
