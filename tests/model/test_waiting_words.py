"""Why jobs wait: in the same words on pages and for `jobstore show`."""

from dataclasses import replace
from typing import Any, Final

import pytest

from jobstore.model.clock import SECOND
from jobstore.model.target_state import ClosedTarget, Hold, TargetSeen, TargetState, WaitReason
from jobstore.model.waiting_words import why_closed, why_it_waits
from jobstore.model.words import soon
from tests.dashboard.test_drawing import QUEUED

NOW: Final = QUEUED.submitted_at + 600 * SECOND
SEEN: Final = TargetSeen(
    name="/", concurrency=4, configured=4, running=4, waiting=1, state=TargetState(name="/")
)
PAUSED: Final = TargetState(
    name="/", paused_at=NOW - 180 * SECOND, paused_by="alice", reason="db migration."
)
REFUSED: Final = Hold(since=NOW - 26 * SECOND, why="no route to 10.0.0.7:80")
LIMITED: Final = replace(REFUSED, until=NOW + 60 * SECOND, limit=86 * SECOND)
UNREACHABLE: Final = (
    "It waits because its target / has been unreachable for 26 s: no route to 10.0.0.7:80."
)


def fails(seconds: int) -> str:
    """Say when a job fails that waits for so long from now."""
    at = soon(NOW + seconds * SECOND, NOW)
    return f"If it is not back, the job fails at {at} at the earliest."


@pytest.mark.parametrize(
    ("reason", "job", "target", "said"),
    [
        (WaitReason.SLOT, {}, SEEN, "It waits for a slot of /: 4 of 4 are taken."),
        (
            WaitReason.SLOT,
            {},
            replace(SEEN, waiting=13),
            "It waits for a slot of /: 4 of 4 are taken, with 12 other jobs waiting.",
        ),
        (
            WaitReason.SLOT,
            {},
            replace(SEEN, waiting=1001),
            "It waits for a slot of /: 4 of 4 are taken, with more than 1,000 other jobs waiting.",
        ),
        (
            WaitReason.PAUSED,
            {},
            replace(SEEN, state=PAUSED),
            "It waits because its target / was paused by alice 3 min ago: db migration.",
        ),
        (
            WaitReason.HELD,
            {},
            replace(SEEN, hold=REFUSED),
            UNREACHABLE,
        ),
        (
            WaitReason.HELD,
            {},
            replace(SEEN, hold=LIMITED),
            f"{UNREACHABLE} {fails(60)}",
        ),
        (
            WaitReason.HELD,
            {"submitted_at": NOW - 5 * SECOND},  # it came when the hold had begun
            replace(SEEN, hold=LIMITED),
            f"{UNREACHABLE} {fails(81)}",
        ),
        (WaitReason.TIME, {"not_before": NOW + 30 * SECOND}, None, "It will run in 30 s."),
        (
            WaitReason.TIME,
            {"not_before": NOW + 30 * SECOND, "retried": 1},
            None,
            "It will be retried in 30 s.",
        ),
        (WaitReason.JOB, {"follows": 7}, None, "It waits until job 7 has succeeded."),
    ],
)
def test_it_is_said_since_when_and_why(
    reason: WaitReason, job: dict[str, Any], target: TargetSeen | None, said: str
) -> None:
    assert why_it_waits(replace(QUEUED, **job), reason, target, NOW) == said


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (WaitReason.SLOT, "It waits for a slot of /."),
        (WaitReason.PAUSED, "It waits because its target / is paused."),
        (WaitReason.HELD, "It waits because its target / cannot be reached."),
    ],
)
def test_those_who_may_not_see_targets_are_told_no_more_than_the_reason(
    reason: WaitReason, said: str
) -> None:
    assert why_it_waits(QUEUED, reason, None, NOW) == said


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        (
            {"since": NOW - 180 * SECOND, "why": "db migration.", "paused_by": "alice"},
            "was paused by alice 3 min ago: db migration. Its jobs wait.",
        ),
        ({"since": NOW - 180 * SECOND, "paused_by": ""}, "was paused 3 min ago. Its jobs wait."),
        (
            {"since": REFUSED.since, "why": REFUSED.why},
            "has been unreachable for 26 s: no route to 10.0.0.7:80. Its jobs wait.",
        ),
        (
            {"since": REFUSED.since, "why": REFUSED.why, "until": LIMITED.until},
            (
                "has been unreachable for 26 s: no route to 10.0.0.7:80. Its jobs wait. "
                f"If it is not back, its jobs fail from {soon(NOW + 60 * SECOND, NOW)} on."
            ),
        ),
    ],
)
def test_a_closed_target_is_told_of_in_the_words_of_the_jobs_that_wait_for_it(
    closed: dict[str, Any], said: str
) -> None:
    assert why_closed(ClosedTarget(**{"name": "/", "why": "", **closed}), NOW) == said
