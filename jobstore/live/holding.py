"""Targets that cannot be reached: their jobs wait, and the server checks whether they are back.

**When a hold begins.** An attempt finds that no connection to its target can be made: the
connection is refused, the name has no address, the TLS handshake fails, or it takes too long.
Nothing of the request was sent, so this does not count as an attempt: the job is queued again with
the same number of attempts left. From then on, no job of the target starts. If a connection breaks
after something was sent, that is an ordinary attempt, and the target is not held.

**How the target is checked.** By opening an empty connection: one second after the hold began,
then after two, four, and so on up to thirty. No queued job is used for this: each check would
write the job twice, would show it as running to those who wait for it, and would need a queued job
in the first place. The next job uses the connection that the check has opened.

**When it ends.** As soon as a connection could be made. Until then, each job that has waited for
the target's ``hold`` fails as unreachable. The wait is counted from the start of the hold, or from
when the job was submitted or became due, if that was later. While an operator has paused the
target, no job fails. The target remains held, and is checked on.

**After a crash** nothing is left: the next start notices by its first attempt.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from jobstore.live.store import Store
from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import StoreError, TargetUnreachable
from jobstore.targets import Reachable
from jobstore.targets.router import TargetRoute

# Between two looks at a target, in seconds: at first, and at most.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0

Sleep: TypeAlias = Callable[[float], Awaitable[None]]

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Watched:
    """A target that cannot be reached.

    Args:
        reach: tries to connect to it.
        since: since when its jobs wait, by the monotonic clock.
        why: why the last connection failed.
        task: checks it.
    """

    route: TargetRoute
    reach: Callable[[], Awaitable[None]]
    began: int
    since: int
    why: str
    task: asyncio.Task[None] = field(init=False)


class Holds:
    """Check the targets of a store that cannot be reached.

    Args:
        steady: a clock that nobody sets.
        sleep: waits for so many seconds.
    """

    def __init__(self, store: Store, clock: Clock, steady: Clock, sleep: Sleep) -> None:
        self._store = store
        self._clock = clock
        self._steady = steady
        self._sleep = sleep
        self._watched: dict[str, _Watched] = {}

    def begin(self, route: TargetRoute, why: str) -> bool:
        """Hold a target, unless it is held already.

        Returns:
            whether it is held; if not, it cannot be checked, or its jobs do not wait.
        """
        if route.name in self._watched:
            return True
        if route.hold == 0 or not isinstance(route.target, Reachable):
            return False
        now = self._steady()
        watched = _Watched(route, route.target.reach, now, now, why)
        self._tell(watched)
        log.warning(
            "target %s cannot be reached: %s; its jobs wait %s",
            route.name,
            why,
            "until it can be" if route.hold is None else f"for up to {route.hold:g} s each",
            extra=_about("hold", route),
        )
        watched.task = asyncio.create_task(self._watch(watched))
        self._watched[route.name] = watched
        return True

    async def close(self) -> None:
        """Stop checking."""
        tasks = [watched.task for watched in self._watched.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _watch(self, watched: _Watched) -> None:
        """Check a target until it is back."""
        pause = FIRST_PAUSE
        while True:
            left = self._left(watched)
            await self._sleep(min(pause, left) if left > 0 else pause)
            if await self._is_back(watched):
                self._end(watched)
                return
            try:
                await self._give_up(watched)
            except StoreError as error:
                log.warning("will try again: %s", error, extra=_about("hold", watched.route))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _is_back(self, watched: _Watched) -> bool:
        try:
            await watched.reach()
        except TargetUnreachable as error:
            watched.why = str(error)
            self._tell(watched)
            return False
        except Exception:  # whatever it is, the jobs must not wait for ever
            log.exception("target %s", watched.route.name, extra=_about("hold", watched.route))
        return True

    def _end(self, watched: _Watched) -> None:
        del self._watched[watched.route.name]
        seconds = (self._steady() - watched.began) / SECOND
        log.info(
            "target %s can be reached again, after %.3g s",
            watched.route.name,
            seconds,
            extra=_about("end hold", watched.route),
        )
        self._store.targets.end_hold(watched.route.name)

    def _left(self, watched: _Watched) -> float:
        """Return how many more seconds all jobs may wait."""
        if self._store.targets.paused(watched.route.name):
            watched.since = self._steady()  # that is what they wait for
            self._tell(watched)
        if watched.route.hold is None:
            return LONGEST_PAUSE
        return watched.route.hold - self._waited(watched)

    def _waited(self, watched: _Watched) -> float:
        return (self._steady() - watched.since) / SECOND

    def _tell(self, watched: _Watched) -> None:
        """Say that a target is held, and until when."""
        route = watched.route
        self._store.targets.hold(route.name, watched.why, route.hold, self._waited(watched))

    async def _give_up(self, watched: _Watched) -> None:
        """Fail the jobs that have waited too long."""
        hold, target = watched.route.hold, watched.route.name
        if hold is None or self._left(watched) > 0:
            return
        seems_older = self._store.timekeeping.exaggeration(hold)
        before = self._clock() - int(hold * SECOND) - seems_older
        detail = f"{watched.why}; the job waited for {hold:g} s"
        for job_id in await self._store.upkeep.give_up(target, before, detail):
            log.warning(
                "job %d failed: %s (target %s)",
                job_id,
                detail,
                target,
                extra={**_about("fail", watched.route), "job_id": job_id},
            )


def _about(action: str, route: TargetRoute) -> dict[str, object]:
    return {"action": action, "target": route.name}
