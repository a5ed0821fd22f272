"""The chaos of nodes: who waited too long is named, with what was done meanwhile."""

import asyncio
from collections.abc import Mapping

import pytest

from tests.loop import turns
from trials.chaos.client import Ask
from trials.chaos.nodes.waits import Limits, Wait, Waits

LIMITS = Limits(answered=10, away=6)
LATER: Mapping[str, str] = {"Prefer": "respond-async, wait=2"}


class Clock:
    """A clock that is set by hand, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def waited(
    took: float, *, away: bool = True, headers: Mapping[str, str] | None = None, late: float = 0
) -> Wait:
    """Ask node-1 ten seconds after the beginning."""
    ask = Ask("PUT", "/_api/job/7", headers or {})
    status = 503 if away else 200
    return Wait(ask=ask, node="node-1", began=110.0, took=took, status=status, away=away, late=late)


@pytest.mark.parametrize(
    ("wait", "too_long"),
    [
        (waited(5.9), False),
        (waited(6.1), True),
        (waited(6.1, away=False), False),
        (waited(10.1, away=False), True),
        (waited(7.9, headers=LATER), False),  # two of which it had asked for
        (waited(8.1, headers=LATER), True),
        (waited(7.9, late=2), False),  # which was the machine's
        (waited(8.1, late=2), True),
        (waited(11.9, late=2, away=False), False),
    ],
)
def test_a_wait_for_a_database_that_is_away_is_a_violation_when_it_is_long(
    wait: Wait, *, too_long: bool
) -> None:
    assert bool([*Waits([wait]).too_long(LIMITS)]) is too_long


@pytest.mark.parametrize(("since", "too_long"), [(109, True), (110.5, True), (111.5, False)])
def test_what_came_before_the_fault_was_no_wait_for_a_database_that_is_away(
    since: float, *, too_long: bool
) -> None:
    clock = Clock()
    waits = Waits([waited(7)], clock=clock)
    clock.now = since
    with waits.during("away", "database"):
        clock.now = 120
    assert bool([*waits.too_long(LIMITS)]) is too_long


def test_a_long_wait_is_told_with_the_faults_that_it_may_have_been_due_to() -> None:
    clock = Clock()
    waits = Waits(clock=clock)
    for began, ended, name, to in (
        (100, 101, "kill", "node-1"),  # long over
        (103, 106, "restart", "database"),
        (111, 114, "silence", "node-1"),
        (112, 113, "drop", "node-2"),  # which was not asked
        (120, 121, "away", "database"),  # after the answer
    ):
        clock.now = began
        with waits.during(name, to):
            clock.now = ended
    waits.all.append(waited(8))
    (told,) = waits.too_long(LIMITS)
    assert told == (
        "nobody waits long for a database that is away: "
        "8.000 s for PUT /_api/job/7 at node-1: 503, asked after 10.0 s, 0.0 s late "
        "(database: restart from -7.0 until -4.0; node-1: silence from +1.0 until +4.0)"
    )


async def test_it_is_noted_for_how_long_the_trial_itself_does_not_get_its_turn() -> None:
    clock = Clock()
    waits, goes_on = Waits(clock=clock), iter((True, False))
    looking = asyncio.create_task(waits.look_at_machine(lambda: next(goes_on)))
    await turns(1)
    clock.now += 3  # while nobody else had a turn
    await looking
    assert waits.late == pytest.approx(3, abs=0.1)


def test_the_longest_waits_come_first() -> None:
    waits = Waits([waited(seconds) for seconds in (1, 7, 3, 2, 6, 5, 4)])
    assert [wait.took for wait in waits.longest] == [7, 6, 5, 4, 3]
