"""Targets at run time: what operators have set, and whether they can be reached.

Operators' settings are kept in the store with a revision number: a server notices a change within
half a second, a node as soon as it is notified. Whether a target can be reached is found out by
each server for itself; it is stored for display, and is ignored once that server has ended.

No job starts for a target that is paused or cannot be reached: see `jobstore.live.dispatch`.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

from jobstore.live.dispatch import Dispatcher
from jobstore.model.clock import SECOND, Clock
from jobstore.model.job import Job
from jobstore.model.target_state import (
    ClosedTarget,
    Hold,
    TargetChange,
    TargetSeen,
    TargetState,
    WaitReason,
    waits_for,
)
from jobstore.store import audit, target_states
from jobstore.store.audit import AuditEntry
from jobstore.store.history import History
from jobstore.store.own_boot import OwnBoot
from jobstore.store.reading import Points
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer

log = logging.getLogger(__name__)


class TargetStates:
    """The state of this server's targets.

    Args:
        dispatcher: starts their jobs.
        points: tells how often operators have changed something.
        boot: this start of the server.
    """

    def __init__(
        self,
        writer: Writer,
        history: History,
        dispatcher: Dispatcher,
        points: Points,
        boot: OwnBoot,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._history = history
        self._dispatcher = dispatcher
        self._points = points
        self._boot = boot
        self._clock = clock
        self._noticed = -1
        self._configured: Mapping[str, int] = {}
        self._states: Mapping[str, TargetState] = {}
        self._holds: dict[str, Hold] = {}

    # --- what a server does -----------------------------------------------------------------------

    def serve(self, configured: Mapping[str, int]) -> None:
        """Read the settings of the targets, and announce which targets are served here.

        Args:
            configured: how many of its jobs may run at once, by the target's name.

        Raises:
            StoreError: it cannot be read.
        """
        self._configured = configured
        self.notice()
        self._writer.queue(self._serve)

    async def serve_again(self) -> None:
        """Announce the targets again, as a new start of the same node."""
        await self._writer.run(self._serve)

    def _serve(self, tx: Transaction) -> None:
        target_states.serve(tx, self._boot.number, self._configured, self._holds)

    def notice(self) -> None:
        """Apply the settings that changed since the last call."""
        revision = self._points.revision("targets")
        if revision == self._noticed:
            return
        rows = self._points.kept(target_states.STATES)
        before, self._states = self._states, {row[0]: target_states.decoded(row) for row in rows}
        self._noticed = revision
        for name in self._configured:
            if before.get(name) != self._states.get(name):
                self._apply(name)
                log.info("target %s is %s", name, self._words(name), extra=_about("notice", name))

    def concurrency(self, name: str, configured: int) -> int:
        """Return how many jobs of a target may run at once, given the configured number."""
        state = self._states.get(name)
        own = None if state is None else state.concurrency
        return configured if own is None else own

    @property
    def closed(self) -> Collection[str]:
        """The targets that start no jobs."""
        return {*self._holds, *(name for name in self._states if self.paused(name))}

    def told_closed(self) -> list[ClosedTarget]:
        """Return this server's closed targets, as it knows without a query."""
        found = (self._closed(name) for name in sorted(self._configured))
        return [each for each in found if each is not None]

    def _closed(self, name: str) -> ClosedTarget | None:
        state, hold = self._states.get(name), self._holds.get(name)
        if state is not None and state.paused_at is not None:
            why, by = state.reason or "", state.paused_by or ""
            return ClosedTarget(name=name, since=state.paused_at, why=why, paused_by=by)
        if hold is None:
            return None
        return ClosedTarget(name=name, since=hold.since, why=hold.why, until=hold.until)

    def paused(self, name: str) -> bool:
        """Return whether a target is paused."""
        state = self._states.get(name)
        return state is not None and state.paused_at is not None

    def _apply(self, name: str) -> None:
        slots = self.concurrency(name, self._configured[name])
        self._dispatcher.resize(name, slots, closed=name in self.closed)

    def _words(self, name: str) -> str:
        state = self._states.get(name)
        slots = f"{self.concurrency(name, self._configured[name])} at once"
        if state is None or state.paused_at is None:
            return f"not paused, {slots}"
        why = f": {state.reason}" if state.reason else ""
        return f"paused by {state.paused_by}{why}"

    # --- whether it can be reached ----------------------------------------------------------------

    @property
    def held(self) -> Mapping[str, Hold]:
        """The targets that cannot be reached."""
        return self._holds

    def hold(self, name: str, why: str, limit: float | None = None, waited: float = 0) -> None:
        """Hold a target that cannot be reached: start none of its jobs.

        Args:
            limit: for how many seconds each job may wait, or None for ever.
            waited: for how many seconds the first have waited.
        """
        before, now = self._holds.get(name), self._clock()
        since = now if before is None else before.since
        if limit is None or self._boot.shared:  # other nodes may fail them, and earlier
            self._note(name, Hold(since=since, why=why))
            return
        until = now + int((limit - waited) * SECOND)
        self._note(name, Hold(since=since, why=why, until=until, limit=int(limit * SECOND)))

    def end_hold(self, name: str) -> None:
        """End the hold of a target that can be reached again."""
        self._note(name, None)

    def _note(self, name: str, hold: Hold | None) -> None:
        before = self._holds.pop(name, None)
        if hold is not None:
            self._holds[name] = hold
        if hold == before:
            return
        if name in self._configured:
            self._apply(name)
        boot = self._boot.number
        # Only for those who look: if it cannot be written, nothing else is lost.
        self._writer.queue(lambda tx: target_states.note_hold(tx, boot, name, hold))

    # --- what is asked and said -------------------------------------------------------------------

    def waits_for(self, job: Job) -> WaitReason | None:
        """Return what a queued job waits for; None if it is not queued."""
        return waits_for(job, self._states, self._holds)

    async def seen(self, configured: Mapping[str, int] | None = None) -> list[TargetSeen]:
        """Return the state of all targets, at all servers of the store.

        Args:
            configured: how many jobs of each target may run at once, for targets that no server has
                stored.
        """
        found = await self._history.together(target_states.LOOKED_AT)
        known = self._configured if configured is None else configured
        return [self._timed(target) for target in target_states.seen(found, known)]

    async def one(self, name: str) -> TargetSeen | None:
        """Return the state of a target, at all servers of the store; None if it is unknown."""
        found = await target_states.one(self._history, name, self._configured)
        return None if found is None else self._timed(found)

    def _timed(self, target: TargetSeen) -> TargetSeen:
        """Add what this server alone knows: until when jobs may wait."""
        own = self._holds.get(target.name)
        if target.hold is None or own is None:
            return target
        return replace(target, hold=replace(target.hold, until=own.until, limit=own.limit))

    async def trail(self, limit: int) -> list[AuditEntry]:
        """Return the audit log, newest first, up to a number of entries."""
        rows = await self._history.rows(audit.ENTRIES, limit=limit)
        return [AuditEntry(*row) for row in rows]

    async def change(
        self, name: str, wanted: TargetChange, who: str, known: Collection[str] = ()
    ) -> None:
        """Change the settings of a target, and apply them.

        Args:
            who: who makes the change.
            known: existing targets that no server has stored.

        Raises:
            TargetUnknown: there is no such target.
        """

        def change(tx: Transaction) -> None:
            said = {row[0] for row in tx.execute(target_states.SAID)}
            target_states.change(tx, name, wanted, who, {*said, *known, *self._configured})

        await self._writer.run(change)
        await self._points.refresh()
        self.notice()


def _about(action: str, target: str) -> dict[str, object]:
    return {"action": action, "target": target}
