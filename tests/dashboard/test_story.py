"""What is said of a job in sentences, with the words of this release and of earlier ones."""

from dataclasses import replace
from typing import Final

import pytest

from jobstore.dashboard.story import KnownJob, told
from jobstore.model.clock import SECOND
from jobstore.model.job import Attempt, Failure
from jobstore.model.lifecycle import State
from tests.dashboard.test_drawing import QUEUED

NOW: Final = QUEUED.submitted_at + 60 * SECOND
NEW: Final = "interrupted by a crash at attempt 2; its POST may have taken effect (the server …)"
OLD: Final = "attempt 2 was interrupted: the server … was killed; it must not be sent again"


def known(detail: str, state: State, attempt: int) -> KnownJob:
    """Return a job whose second attempt was interrupted."""
    job = replace(
        QUEUED, state=state, attempt=attempt, failure=Failure.INTERRUPTED, detail=detail, status=503
    )
    job = replace(job, started_at=NOW - 9 * SECOND, finished_at=NOW if attempt == 2 else None)
    began, over = NOW - 20 * SECOND, NOW - 10 * SECOND
    ended = Attempt(2, began, over, None, Failure.INTERRUPTED, detail)
    return KnownJob(
        job=job,
        attempts=[ended],
        timeline=[],
        waits=None,
        target=None,
        asker=None,
        now=NOW,
    )


@pytest.mark.parametrize("detail", [NEW, OLD])
def test_which_attempt_was_interrupted_is_said_once(detail: str) -> None:
    sentence = detail[0].upper() + detail[1:] + "."
    assert told(known(detail, State.FAILED, 2)).first == sentence
    assert told(known(detail, State.RUNNING, 3)).more[0] == sentence
