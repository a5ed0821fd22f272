"""What happens to jobs that an earlier start left running; see `jobstore.store.recovery`."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from jobstore.live import Boot, Orphan, Store
from jobstore.model.clock import iso
from jobstore.model.job import Replay
from jobstore.model.retry import may_repeat
from jobstore.targets.router import Router, TargetRoute

log = logging.getLogger(__name__)


class Recovery(StrEnum):
    """What happens to a job whose server died while it ran."""

    RUN_AGAIN = "run again"
    INTERRUPT = "interrupt"
    SET_ASIDE = "set aside"
    CANCEL = "cancel"


# The decision, the attempt, and the method of the request where that is told.
_Alike: TypeAlias = tuple[Recovery, int, str]

# What became of one job, and of several.
_BECAME: Final[Mapping[Recovery, tuple[str, str]]] = {
    Recovery.RUN_AGAIN: ("runs again", "run again"),
    Recovery.INTERRUPT: ("ends as interrupted", "end as interrupted"),
    Recovery.SET_ASIDE: ("ends as interrupted too often", "end as interrupted too often"),
    Recovery.CANCEL: ("is cancelled", "are cancelled"),
}
# What is said in lists comes first: they cut the rest off.
_NOT_AGAIN: Final = (
    "may have taken effect, so jobstore does not send it again: check your service, then retry the "
    "job"
)


def decide(orphan: Orphan, replay: Replay, max_attempts: int) -> Recovery:
    """Decide what happens to an orphaned job.

    Args:
        orphan: the job and its last attempt.
        replay: what its target allows to be sent again.
        max_attempts: how many claims a job may have.
    """
    if orphan.cancel_asked_at is not None:
        return Recovery.CANCEL
    if not may_repeat(orphan.method, replay):
        return Recovery.INTERRUPT
    if orphan.attempt - orphan.retried >= max_attempts:
        return Recovery.SET_ASIDE
    return Recovery.RUN_AGAIN


class Recovering:
    """Recover the jobs that earlier starts left behind.

    Args:
        router: the targets.
        max_attempts: how many claims a job may have before it is set aside.
    """

    def __init__(self, store: Store, router: Router, max_attempts: int) -> None:
        self._store = store
        self._router = router
        self._max_attempts = max_attempts
        self._meters = store.meters
        if store.meters is not None:
            store.meters.recovered.update({each.name.lower(): 0 for each in Recovery})

    async def recover(self) -> int:
        """Recover every job that an earlier start of the server left running.

        Returns:
            how many there were.
        """
        recovered = 0
        while orphans := await self._store.upkeep.orphans():
            for boot in {orphan.boot for orphan in orphans}:
                await self._recover([orphan for orphan in orphans if orphan.boot == boot])
            recovered += len(orphans)
        await self._reroute()
        return recovered

    async def _recover(self, orphans: list[Orphan]) -> None:
        """Recover jobs that were claimed by the same start of the server."""
        boot = await self._store.upkeep.boot_of(orphans[0])
        groups: Mapping[_Alike, list[int]] = defaultdict(list)
        for orphan in orphans:
            recovery = self._decide(orphan, boot)
            told = orphan.method if recovery is Recovery.INTERRUPT else ""
            groups[recovery, orphan.attempt, told].append(orphan.job_id)
            if self._meters is not None:
                self._meters.interrupted(orphan.target, recovery.name.lower())
        for alike, ids in groups.items():
            await self._apply(alike, ids, boot)

    async def _apply(self, alike: _Alike, ids: list[int], boot: Boot) -> None:
        """Apply a decision to the jobs that it is the same for."""
        recovery, attempt, method = alike
        cause, server = _cause(boot)
        what, who = f"interrupted by {cause} at attempt {attempt}", f"({server})"
        match recovery:
            case Recovery.RUN_AGAIN:
                await self._store.upkeep.recover(ids, f"{what} {who}")
            case Recovery.INTERRUPT:
                why = f"{what}; its {method} {_NOT_AGAIN} {who}"
                await self._store.upkeep.fail_orphans(ids, why)
            case Recovery.SET_ASIDE:
                await self._store.upkeep.fail_orphans(ids, f"{what}; no attempts are left {who}")
            case Recovery.CANCEL:
                await self._store.upkeep.cancel_orphans(ids, f"cancelled; {what} {who}")
        one, many = _BECAME[recovery]
        jobs = f"1 job {one}" if len(ids) == 1 else f"{len(ids)} jobs {many}"
        log.info("%s: %s %s", jobs, what, who, extra={"action": "recover"})

    def _decide(self, orphan: Orphan, boot: Boot) -> Recovery:
        route = self._router.resolve(orphan.method, orphan.path)
        # The node that has run it may have had other targets than this one.
        replay = orphan.replay or boot.replays.get(orphan.target)
        replay = replay or (route.replay if route else Replay.NEVER)
        return decide(orphan, replay, self._max_attempts)

    async def _reroute(self) -> None:
        """Move jobs of a removed target to the target that owns their path now."""
        names = {route.name for route in self._router.routes} | await self._store.others.served()
        for gone in await self._store.upkeep.queued_targets():
            fallback = self._fallback(gone)
            if gone not in names and fallback is not None:
                await self._store.upkeep.reroute(gone, fallback.name)

    def _fallback(self, name: str) -> TargetRoute | None:
        return self._router.resolve("GET", name) or next(iter(self._router.routes), None)


def _cause(boot: Boot) -> tuple[str, str]:
    """Describe how an earlier start of the server ended: in a few words, and exactly."""
    server = f"the server with process id {boot.pid}, started {iso(boot.started_at)},"
    if boot.ended_at is None:
        return "a crash", f"{server} was killed or lost power"
    if boot.died:
        declared = f"{server} was silent and declared dead at {iso(boot.ended_at)}"
        return "the loss of its server", declared
    return "a shutdown", f"{server} was shut down at {iso(boot.ended_at)} before the job ended"
