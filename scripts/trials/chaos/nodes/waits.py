"""How long clients wait for answers, and what is done to nodes and their database meanwhile."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, isinf
from typing import Final

from jobstore.store.postgresql.patience import PATIENCE
from jobstore.web import prefer
from trials.chaos.client import Ask

# How many of the longest waits are told.
_LONGEST: Final = 5
# What is over so many seconds before a request may still have to do with it.
_AFTERWARDS: Final = 5.0
# How often this process looks whether it gets its turn, in seconds.
_TICK: Final = 0.02


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client may wait for a node that does not stand still, in seconds.

    For as long as this process itself did not get its turn, it is the machine that is waited for:
    the clients are here, and the proxies between nodes and database.

    Args:
        answered: for whatever answer.
        away: to be told that the database is away: the patience, and a second for a busy machine.
    """

    answered: float = 10.0
    away: float = PATIENCE + 1


@dataclass(slots=True)
class Fault:
    """Something that is done to a node or to the database; times are in seconds.

    Args:
        name: what is done.
        to: the name of the node; "database" for that.
        began: by the monotonic clock.
        ended: likewise; infinite as long as it goes on.
    """

    name: str
    to: str
    began: float
    ended: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A request, and how long its client waited for the answer; times are in seconds.

    Args:
        ask: the request.
        node: the name of the node that was asked.
        began: by the monotonic clock.
        took: until the answer was there.
        status: of the answer.
        away: whether it was that the database is away: to come again, or that nobody knows what
            has become of the request.
        late: for how long this process did not get its turn meanwhile.
    """

    ask: Ask
    node: str
    began: float
    took: float
    status: int
    away: bool
    late: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it waited for more than it had asked to wait for."""
        asked = self.ask.headers.get("Prefer")
        return self.took - (prefer.wait([asked]) or 0 if asked else 0)


@dataclass(slots=True)
class Waits:
    """How long clients have waited for answers of nodes that did not stand still meanwhile.

    Args:
        all: each wait.
        faults: what was done meanwhile, in order.
        clock: a monotonic clock, in seconds.
        late: for how many seconds this process did not get its turn so far.
    """

    all: list[Wait] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    late: float = 0.0

    async def look_at_machine(self, goes_on: Callable[[], bool]) -> None:
        """Note for how long this process does not get its turn."""
        while goes_on():
            began = self.clock()
            await asyncio.sleep(_TICK)
            self.late += max(0.0, self.clock() - began - _TICK)

    @contextmanager
    def during(self, name: str, to: str) -> Iterator[None]:
        """Note that something is done to a node or the database while the context lasts."""
        fault = Fault(name, to, self.clock())
        self.faults.append(fault)
        try:
            yield
        finally:
            fault.ended = self.clock()

    @property
    def longest(self) -> Sequence[Wait]:
        """The longest waits, the longest first."""
        return sorted(self.all, key=lambda wait: wait.seconds, reverse=True)[:_LONGEST]

    def too_long(self, limits: Limits) -> Iterator[str]:
        """Tell of each wait that took too long."""
        for wait in self.all:
            if wait.away and self._in_vain(wait) - wait.late > limits.away:
                yield f"nobody waits long for a database that is away: {self.told(wait)}"
            elif wait.seconds - wait.late > limits.answered:
                yield f"nobody waits long: {self.told(wait)}"

    def told(self, wait: Wait) -> str:
        """Tell who waited how long for what, and in which phase of which faults."""
        asked = f"{wait.ask.method} {wait.ask.path}"
        since = wait.began - self.faults[0].began if self.faults else 0
        phases = [_phase(fault, wait) for fault in self.faults if self._concerns(fault, wait)]
        meanwhile = f" ({'; '.join(phases)})" if phases else ""
        said = f"{wait.seconds:.3f} s for {asked} at {wait.node}: {wait.status}"
        return f"{said}, asked after {since:.1f} s, {wait.late:.1f} s late{meanwhile}"

    def _in_vain(self, wait: Wait) -> float:
        """Return for how many seconds it waited since something was done to node or database.

        What came before was the work of a busy machine, such as the upload of a large body.
        """
        began, ended = wait.began, wait.began + wait.took
        since = (
            fault.began
            for fault in self.faults
            if fault.to in {wait.node, "database"} and fault.began < ended and fault.ended >= began
        )
        return min(wait.seconds, ended - min(since, default=began))

    def _concerns(self, fault: Fault, wait: Wait) -> bool:
        begins_in_time = fault.began < wait.began + wait.took
        is_over = fault.ended + _AFTERWARDS < wait.began
        return fault.to in {wait.node, "database"} and begins_in_time and not is_over


def _phase(fault: Fault, wait: Wait) -> str:
    """Tell when a fault began and ended, in seconds since a request."""
    until = "" if isinf(fault.ended) else f" until {fault.ended - wait.began:+.1f}"
    return f"{fault.to}: {fault.name} from {fault.began - wait.began:+.1f}{until}"
