"""Other processes that use the same store, as a running server sees them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, TypeAlias

from jobstore.model.job import Replay
from jobstore.store.about import About
from jobstore.store.facts import CancelAsked, Changed, Changes, Ended, Fires, Ready, Taken
from jobstore.store.own_boot import OwnBoot
from jobstore.store.reading import Points
from jobstore.store.starts import STARTS, Start, of_file

# How long it may take until a job is noticed that another process put in.
NOTICE_SECONDS: Final = 0.5

# Tells other nodes what has happened, and to which jobs.
Tell: TypeAlias = Callable[[About, Iterable[int]], None]


class Others(Protocol):
    """What a server and other processes have to know about each other."""

    async def beat(self) -> bool:
        """Wait a little, and check the others; return whether they may have added jobs."""

    async def trusted(self) -> None:
        """Wait until claims made here are certainly valid."""

    async def serve(self, targets: Mapping[str, Replay]) -> None:
        """Announce which targets are served here, and what each allows to be repeated."""

    async def served(self) -> frozenset[str]:
        """Return the targets that others serve."""

    async def turn(self, interval: float) -> bool:
        """Return whether it is this server's turn to clean up.

        Args:
            interval: how often cleaning is due, in seconds.
        """

    async def starts(self, limit: int) -> list[Start]:
        """List the newest starts of servers, the newest first."""


class Alone:
    """See `Others`: a file has one server, beside which only commands put jobs in.

    Args:
        points: reads the row that they change.
        boot: this start of the server.
    """

    def __init__(self, points: Points, boot: OwnBoot) -> None:
        self._points = points
        self._boot = boot
        self._noticed = points.revision("queue")

    async def beat(self) -> bool:
        """Wait a little; return whether a command has added jobs."""
        # Nobody can tell this process; a row that is read now and then has to.
        revision = self._points.revision("queue")
        if revision != self._noticed:
            self._noticed = revision
            return True
        await asyncio.sleep(NOTICE_SECONDS)
        return False

    async def trusted(self) -> None:
        """Go on: nobody else claims anything."""

    async def serve(self, targets: Mapping[str, Replay]) -> None:
        """Do nothing: there is nobody to tell."""

    async def served(self) -> frozenset[str]:
        """Name nothing."""
        return frozenset()

    async def turn(self, interval: float) -> bool:  # noqa: ARG002 - the interface has it
        """Take each turn."""
        return True

    async def starts(self, limit: int) -> list[Start]:
        """List the newest starts of this server."""
        last = self._boot.number
        rows = await self._points.rows(STARTS, last=last, limit=limit)
        return [of_file(row, last) for row in rows]


def tell_others(changes: Changes, tell: Tell) -> None:
    """Tell other nodes what a batch changed, as far as it concerns them."""
    changed = [fact.job_id for fact in changes.facts if isinstance(fact, Ended | Changed | Taken)]
    if changed:
        tell(About.CHANGED, changed)
    cancelled = [fact.job_id for fact in changes.facts if isinstance(fact, CancelAsked)]
    if cancelled:
        tell(About.CANCEL, cancelled)
    if (
        changes.lined_up
        or changes.running
        or any(isinstance(each, Ready) for each in changes.facts)
    ):
        tell(About.READY, ())
    if any(isinstance(fact, Fires) for fact in changes.facts):
        tell(About.SCHEDULES, ())
