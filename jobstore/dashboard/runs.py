"""The latest runs of a definition, as a drawing and in words."""

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import Final

from jobstore.dashboard.draw.spark import Run, outlined, sparkline
from jobstore.dashboard.draw.svg import Svg
from jobstore.dashboard.rows import tone_of, took_of
from jobstore.live import Store
from jobstore.model import words
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.lifecycle import ENDED

# How many runs are drawn.
SHOWN: Final = 30


@frozen(kw_only=True)
class Runs:
    """The latest runs of a definition.

    Args:
        jobs: the newest first.
        now: in microseconds since 1970.
    """

    jobs: Sequence[Job]
    now: int

    @property
    def drawn(self) -> Svg:
        """The runs as a row of bars."""
        return sparkline([self._run(job) for job in reversed(self.jobs)], self.told, SHOWN)

    @property
    def outlined(self) -> Svg:
        """The same for a list of many: the runs have no words of their own."""
        return outlined([self._run(job) for job in reversed(self.jobs)], self.told, SHOWN)

    @property
    def half(self) -> int | None:
        """The median duration of the ended runs, in microseconds."""
        took = [took_of(job, self.now) for job in self.jobs if job.state in ENDED]
        known = [each for each in took if each is not None]
        return median_low(known) if known else None

    @property
    def last_ended(self) -> Job | None:
        """The newest run that has ended."""
        return next((job for job in self.jobs if job.state in ENDED), None)

    @property
    def told(self) -> str:
        """Their outcomes, in words."""
        if not self.jobs:
            return "no runs"
        counts = Counter(_ended(job) for job in self.jobs)
        ends = ", ".join(f"{number} {end}" for end, number in counts.most_common())
        half = "" if self.half is None else f"; median {words.duration(self.half)}"
        return f"the last {words.plural(len(self.jobs), 'run')}: {ends}{half}"

    def took(self, job: Job) -> int | None:
        """Return how long a run took, or has taken so far, in microseconds; None before that."""
        return took_of(job, self.now)

    def _run(self, job: Job) -> Run:
        return Run(took=took_of(job, self.now), tone=tone_of(job), label=label_of(job, self.now))


async def runs_of(store: Store, definition: int, now: int) -> Runs:
    """Return the latest runs of a definition that the visitor may see."""
    return Runs(jobs=await store.history.runs(definition, SHOWN), now=now)


def label_of(job: Job, now: int) -> str:
    """Say of a job when it was submitted, how it ended and after what time."""
    took = took_of(job, now)
    after = "" if took is None else f" after {words.duration(took)}"
    return f"{words.absolute(job.submitted_at)}: {_ended(job)}{after}"


def _ended(job: Job) -> str:
    return str(job.state) if tone_of(job) != "fail" or job.failure else f"answered {job.status}"
