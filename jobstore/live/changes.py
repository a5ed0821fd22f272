"""What changes, for all who look at many jobs at once: one message for everybody.

Nothing is noted and nothing runs while nobody listens. While somebody does, each batch that was
committed leaves the ids of the jobs that it has changed, up to a bound; at most once in a while,
one task reads the counters, and everybody is given the same message. Whoever is slow finds what
they have missed merged into one message.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from operator import attrgetter
from types import TracebackType
from typing import Any, Final, Self

from jobstore.model.errors import StoreError, TooManyListeners
from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import Result, State
from jobstore.store.facts import (
    CancelAsked,
    Changed,
    Changes,
    Ended,
    Expired,
    GivenBack,
    PayloadsGone,
    Queued,
    Started,
    Taken,
    Waiting,
)

# How many may listen at once.
LISTENERS: Final = 64
# How many ids a message has at most.
MOST_IDS: Final = 200
# How often messages come at most, in seconds.
TICK: Final = 1.0

_ID_OF: Final[Mapping[type, Callable[[Any], int]]] = {
    Started: attrgetter("claim.job_id"),
    **dict.fromkeys(
        (Queued, Waiting, Ended, Changed, CancelAsked, Taken, GivenBack), attrgetter("job_id")
    ),
}
_OF_MANY: Final = frozenset({Expired, PayloadsGone})
_WORDS: Final = {"jobs": ("job", tuple(State)), "results": ("result", tuple(Result))}

log = logging.getLogger(__name__)

Counters = Mapping[tuple[str, str], int]


@frozen
class Change:
    """What has changed since the last message.

    Args:
        counters: how many jobs and results are in each state, as ``GET /_jobs/statistics`` tells.
        changed: the ids of jobs that have changed, in order.
        more: whether others have changed as well.
    """

    counters: Mapping[str, Mapping[str, int]]
    changed: tuple[int, ...] = ()
    more: bool = False

    def after(self, earlier: "Change | None") -> "Change":
        """Add what an earlier message says that nobody has read."""
        if earlier is None:
            return self
        ids = sorted({*earlier.changed, *self.changed})
        more = self.more or earlier.more or len(ids) > MOST_IDS
        return Change(self.counters, tuple(ids[:MOST_IDS]), more)

    @property
    def described(self) -> dict[str, Any]:
        """The message as JSON has it."""
        return {"counters": self.counters, "changed": self.changed, "more": self.more}


class ChangeListener:
    """One who is told of all changes while its context lasts; iterating waits for the next.

    The first message comes at once, and has the counters as they are. The iteration ends when the
    server stops.
    """

    def __init__(self, feed: "ChangeFeed") -> None:
        self._feed = feed
        self._unread: Change | None = None
        self._news = asyncio.Event()

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises:
            TooManyListeners: as many as may do so already.
        """
        self._feed.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Listen no more."""
        self._feed.remove(self)

    async def __aiter__(self) -> AsyncIterator[Change]:
        """Yield the changes, each when it is known."""
        while not self._feed.over:
            await self._news.wait()
            self._news.clear()
            change, self._unread = self._unread, None
            if change is not None:
                yield change

    def put(self, change: Change) -> None:
        """Give it a message."""
        self._unread = change.after(self._unread)
        self._news.set()

    def wake(self) -> None:
        """Let it see that all is over."""
        self._news.set()


class ChangeFeed:
    """Tell all listeners what changes.

    Args:
        counters: reads how many jobs and results are in each state.
        tick: how often messages come at most, in seconds.

    Attributes:
        over: whether the server stops.
    """

    def __init__(self, counters: Callable[[], Awaitable[Counters]], tick: float = TICK) -> None:
        self._counters = counters
        self._tick = tick
        self._listeners: set[ChangeListener] = set()
        self._ids: set[int] = set()
        self._more = self._greeting = False
        self._noted = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        self.over = False

    def listening(self) -> ChangeListener:
        """Return what is told of changes while its context lasts."""
        return ChangeListener(self)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    # --- who listens ----------------------------------------------------------------------------

    def add(self, listener: ChangeListener) -> None:
        """Let somebody listen.

        Raises:
            TooManyListeners: as many as may do so already.
        """
        if len(self._listeners) >= LISTENERS:
            raise TooManyListeners(LISTENERS)
        self._listeners.add(listener)
        self._greeting = True
        self._noted.set()
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    def remove(self, listener: ChangeListener) -> None:
        """Send a listener no more messages."""
        self._listeners.discard(listener)
        if not self._listeners and self._telling is not None:
            self._telling.cancel()
            self._telling = None
            self._ids.clear()
            self._more = False

    def dismiss(self) -> None:
        """Let nobody listen any more: the server stops."""
        self.over = True
        for listener in self._listeners:
            listener.wake()

    # --- what is noted --------------------------------------------------------------------------

    def settle(self, changes: Changes) -> None:
        """Note what a batch has changed."""
        if not self._listeners:
            return
        ids = {_ID_OF[type(fact)](fact) for fact in changes.facts if type(fact) in _ID_OF}
        more = any(type(fact) in _OF_MANY for fact in changes.facts)
        if ids or more:
            self.note(ids, more=more)

    def note(self, ids: Iterable[int] = (), *, more: bool) -> None:
        """Note what was changed, here or elsewhere.

        Args:
            ids: those of jobs.
            more: whether there are others, whose ids are not known.
        """
        if self._listeners:
            if len(self._ids) <= MOST_IDS:
                self._ids.update(ids)
            self._more = self._more or more
            self._noted.set()

    # --- what is told ---------------------------------------------------------------------------

    async def _tell(self) -> None:
        told = Change({})
        while True:
            await self._noted.wait()
            self._noted.clear()
            change = await self._news(told.counters)
            if change != Change(told.counters) or self._greeting:
                self._greeting = False
                for listener in self._listeners:
                    listener.put(change)
            told = change
            await asyncio.sleep(self._tick)

    async def _news(self, known: Mapping[str, Mapping[str, int]]) -> Change:
        """Return what was noted since the last message, with the counters as they are by now."""
        ids, more = sorted(self._ids)[-MOST_IDS:], self._more or len(self._ids) > MOST_IDS
        self._ids, self._more = set(), False
        try:
            known = _told(await self._counters())
        except StoreError as error:  # then they are told with the next message
            log.debug("%s", error, extra={"action": "follow"})
        return Change(known, tuple(ids), more)


def _told(counters: Counters) -> Mapping[str, Mapping[str, int]]:
    return {
        name: {word: counters.get((machine, word), 0) for word in words}
        for name, (machine, words) in _WORDS.items()
    }
