"""Targets that cannot be reached: their jobs wait, and somebody looks whether they are back.

**When a hold begins.** An attempt finds that no connection to its target can be made: by a refused
connection, a name that has no address, a TLS handshake that fails, or a connection that takes too
long. Nothing of its request was sent, so that it was no attempt: the job is queued again, and has
the same number of attempts left. From then on, no job of the target starts. What was sent and then
broke off is an attempt as any other; such a target is not held for that.

**How it is looked for.** By a connection that carries nothing, a second after the hold began, then
after two seconds, four, and so on up to thirty. No queued job is used for that: each look would
write its job twice, would show it as running to whoever waits for it, and would need one that
waits. What is looked for is just what was missing, a connection; it is then used by the next job.

**When it ends.** As soon as a connection was made. Or not at all: jobs that have waited for as long
as the target's ``hold`` says fail as unreachable, each for itself. They wait since the hold began,
or since they were submitted, or came due, if that was later. While an operator has paused the
target, none fails. The target goes on being held, and looked for.

**What a crash leaves.** Nothing: the next start finds out by itself, by its first attempt.
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
from jobstore.targets.router import Route

# Between two looks at a target, in seconds: at first, and at most.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0

Sleep: TypeAlias = Callable[[float], Awaitable[None]]

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Watched:
    """A target that cannot be reached.

    Args:
        reach: finds out whether it can be.
        since: since when its jobs wait, by the steady clock.
        why: what kept the last connection from being made.
        task: looks for it.
    """

    route: Route
    reach: Callable[[], Awaitable[None]]
    began: int
    since: int
    why: str
    task: asyncio.Task[None] = field(init=False)


class Holds:
    """Look for the targets of a store that cannot be reached.

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

    def begin(self, route: Route, why: str) -> bool:
        """Hold a target, unless it is held already.

        Returns:
            whether it is; if not, nobody could find out when it is back, or its jobs do not wait.
        """
        if route.name in self._watched:
            return True
        if route.hold == 0 or not isinstance(route.target, Reachable):
            return False
        now = self._steady()
        watched = _Watched(route, route.target.reach, now, now, why)
        self._store.targets.hold(route.name, why)
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
        """Look for no target any more."""
        tasks = [watched.task for watched in self._watched.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _watch(self, watched: _Watched) -> None:
        """Look for a target until it is back."""
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
            self._store.targets.hold(watched.route.name, watched.why)
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
            extra=_about("let go", watched.route),
        )
        self._store.targets.let_go(watched.route.name)

    def _left(self, watched: _Watched) -> float:
        """Tell for how many seconds more all jobs may wait."""
        if self._store.targets.paused(watched.route.name):
            watched.since = self._steady()  # that is what they wait for
        if watched.route.hold is None:
            return LONGEST_PAUSE
        return watched.route.hold - (self._steady() - watched.since) / SECOND

    async def _give_up(self, watched: _Watched) -> None:
        """Let the jobs fail that have waited for too long."""
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


def _about(action: str, route: Route) -> dict[str, object]:
    return {"action": action, "target": route.name}
