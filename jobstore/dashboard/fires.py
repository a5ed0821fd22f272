"""When all schedules fire within the next 24 hours: a lane for each, and one for all of them."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Final

from jobstore.dashboard.draw.lanes import Lane, lanes
from jobstore.dashboard.draw.svg import Svg
from jobstore.model import words
from jobstore.model.clock import SECOND
from jobstore.model.definition import Definition
from jobstore.model.frozen import frozen
from jobstore.model.periods import DAY, HOUR, QUARTER, start_of
from jobstore.model.schedule import Schedule, fires
from jobstore.store.definitions import Definitions

# How many definitions are looked at, and how many have a lane of their own.
LOOKED_AT: Final = 500
_LANES: Final = 20
# So many quarters of an hour have a part in 24 hours: of the first and the last, only a part.
_QUARTERS: Final = DAY // QUARTER + 1
_IN_HOUR: Final = HOUR // QUARTER


@frozen(kw_only=True)
class Strip:
    """The next 24 hours.

    Args:
        since: where the first quarter of an hour begins, in microseconds since 1970.
        fires: how often each definition fires in each quarter, those first that fire soonest.
        whole: whether all definitions were looked at.
    """

    since: int
    fires: Sequence[tuple[Definition, Sequence[int]]]
    whole: bool

    @property
    def together(self) -> Sequence[int]:
        """How often any of them fires in each quarter."""
        return [sum(column) for column in zip(*(counts for _, counts in self.fires), strict=True)]

    @property
    def told(self) -> str:
        """What there is to see, in words."""
        runs, together = sum(self.together), self.together
        busiest = max(range(_QUARTERS), key=lambda place: together[place])
        return (
            f"{words.plural(runs, 'run')} of {words.plural(len(self.fires), 'definition')} in the "
            f"next 24 h, busiest at {self._at(busiest)} UTC: {together[busiest]:,} in 15 min"
        )

    @property
    def hours(self) -> Iterator[tuple[int, int, Sequence[Definition]]]:
        """Yield each hour in which something fires, how often, and which definitions do."""
        for place in range(0, _QUARTERS, _IN_HOUR):
            part = slice(place, place + _IN_HOUR)
            if runs := sum(self.together[part]):
                which = [each for each, counts in self.fires if any(counts[part])]
                yield self.since + place * QUARTER * SECOND, runs, which

    @property
    def more(self) -> int:
        """How many have no lane of their own."""
        return max(0, len(self.fires) - _LANES)

    def drawn(self, up: str) -> Svg:
        """Draw it.

        Args:
            up: what leads to where all pages are.
        """
        none = [0] * _QUARTERS
        shown = [
            Lane(
                name=each.draft.name,
                counts=counts,
                wrong=none,
                href=f"{up}definitions/{each.id}",
            )
            for each, counts in self.fires[:_LANES]
        ]
        together = Lane(name="all together", counts=self.together, wrong=none)
        until = self.since + _QUARTERS * QUARTER * SECOND
        return lanes([together, *shown], self.since, until, self.told)

    def _at(self, place: int) -> str:
        return f"{words.moment(self.since + place * QUARTER * SECOND):%H:%M}"


async def strip_of(definitions: Definitions, scope: int | None, now: int) -> Strip | None:
    """Return when the definitions fire that whoever asks may see; None if none does.

    Args:
        now: in microseconds since 1970.
    """
    since = start_of(QUARTER, now)
    found = await definitions.page(0, LOOKED_AT + 1, scope)
    firing = [
        (each, _counts(schedule, since, now // (60 * SECOND)))
        for each in found[:LOOKED_AT]
        if (schedule := each.draft.schedule) is not None and not schedule.paused
    ]
    firing = [(each, counts) for each, counts in firing if any(counts)]
    firing.sort(key=lambda pair: next(place for place, count in enumerate(pair[1]) if count))
    return Strip(since=since, fires=firing, whole=len(found) <= LOOKED_AT) if firing else None


# A schedule that fires each minute has 1,440 times to be found, which are the same for all viewers.
@lru_cache(maxsize=2 * LOOKED_AT)
def _counts(schedule: Schedule, since: int, minute: int) -> Sequence[int]:
    """Count how often a schedule fires in each quarter of an hour, 24 hours from a minute on."""
    counts, begin = [0] * _QUARTERS, minute * 60 * SECOND
    for at in takewhile(lambda at: at < begin + DAY * SECOND, fires(schedule, begin - 1)):
        counts[(at - since) // (QUARTER * SECOND)] += 1
    return counts
