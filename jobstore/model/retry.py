"""When to retry work that failed for a temporary reason: decisions only."""

import random
import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.job import Claim, Failure, Job, Replay

# RFC 9110 section 9.2.2
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
# What another attempt may well change: RFC 6585 section 4 and RFC 9110 section 15.6.
PASSING: Final = frozenset({429, 502, 503, 504})
# However long a target asks to be left alone.
LONGEST_WAIT: Final = 24 * 3600.0
_ASKED: Final = "Retry-After: "
# How that is told at the end of what became of an attempt: before it, a target may say anything.
_TOLD_ASKED: Final = re.compile(rf"; retrying in [^;()]+ \(({_ASKED}[^;()]+)\)\Z")
_MANY: Final = 100  # seconds, which are written without a fraction


@frozen(kw_only=True)
class Retry:
    """How often, when and after which failures to retry; times are in seconds.

    Args:
        retries: how many attempts may follow the first.
        delay: how long to wait before the first retry; doubles with each further one.
        longest: the longest wait, unless the target asks for more.
        statuses: the status codes to retry.
    """

    retries: int = 0
    delay: float = 1.0
    longest: float = 300.0
    statuses: frozenset[int] = PASSING


@frozen(kw_only=True)
class AttemptEnded:
    """How an attempt has ended.

    Args:
        status: the status code of the answer, if there was one.
        failure: why there was none, if there was none.
        detail: what happened, in a sentence.
        retry_after: the answer's ``Retry-After`` field, if it has one.
        date: its ``Date`` field, likewise.
    """

    status: int | None = None
    failure: Failure | None = None
    detail: str = ""
    retry_after: str | None = None
    date: str | None = None


def may_repeat(method: str, replay: Replay) -> bool:
    """Return whether a request may be sent a second time."""
    return replay is Replay.ALWAYS or (replay is Replay.IDEMPOTENT and method in IDEMPOTENT)


def told_of_doubt(job: Job, name: str = "It") -> str:
    """Say that an interrupted request may take effect twice; nothing if it may not.

    Args:
        name: how to call the job at the beginning of the sentence.
    """
    if job.failure is not Failure.INTERRUPTED or may_repeat(job.method, Replay.IDEMPOTENT):
        return ""
    interrupted = f"{name} was interrupted, and its {job.method} may have taken effect"
    return f"{interrupted}; sent again, it may take effect twice."


def is_passing(policy: Retry, status: int | None) -> bool:
    """Return whether an attempt may have failed for a temporary reason.

    Args:
        status: the status of its answer, or None if there was none.
    """
    return status is None or status in policy.statuses


def wait_before_next(
    policy: Retry,
    claim: Claim,
    ended: AttemptEnded,
    now: int,
    chance: Callable[[], float] = random.random,
) -> float | None:
    """Decide how long to wait before a job is tried again.

    Args:
        policy: the target's.
        claim: the attempt that has ended; its request is one that may be repeated.
        ended: how it has ended.
        now: microseconds since 1970.
        chance: returns a random number from 0 to 1, so that jobs that failed together are not
            retried together.

    Returns:
        seconds, or None if that was the last attempt.
    """
    allowed = policy.retries if claim.policy.retries is None else claim.policy.retries
    answered = ended.status if ended.failure is None else None
    if not is_passing(policy, answered) or claim.retried >= allowed:
        return None
    backoff = min(policy.longest, policy.delay * float(2 ** min(claim.retried, 32)))
    asked = asked_to_wait(ended.retry_after, now, ended.date)
    return max(backoff * (0.5 + chance() / 2), min(asked, LONGEST_WAIT))


def told_of_wait(seconds: float, ended: AttemptEnded, now: int) -> str:
    """Say after what time a job is tried again, and that its target asked for it, if it did.

    Args:
        seconds: as `wait_before_next` decided at the same moment.
        now: microseconds since 1970.
    """
    told = f"retrying in {brief(seconds)}"
    asked = asked_to_wait(ended.retry_after, now, ended.date)
    return f"{told} ({_ASKED}{brief(asked)})" if 0 < seconds <= asked else told


def asked_for(detail: str | None) -> str:
    """Read from what was told of a wait what its target asked for; nothing if it did not.

    >>> asked_for("status 503; retrying in 30 s (Retry-After: 30 s)")
    'Retry-After: 30 s'
    """
    found = _TOLD_ASKED.search(detail or "")
    return found[1] if found else ""


def brief(seconds: float) -> str:
    """Write some seconds without more digits than anybody reads.

    >>> [brief(each) for each in (0.01234, 2.0, 86_400.0)]
    ['0.0123 s', '2 s', '86400 s']
    """
    return f"{seconds:.3g} s" if seconds < _MANY else f"{seconds:.0f} s"


def asked_to_wait(retry_after: str | None, now: int, date: str | None = None) -> float:
    """Read a ``Retry-After`` field: RFC 9110 section 10.2.3.

    Args:
        retry_after: its value, or None.
        now: microseconds since 1970.
        date: the ``Date`` field, which shows the sender's clock, or None.

    Returns:
        seconds; 0 if it is missing or invalid.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    asked = _seconds(text)
    if asked is None:
        return 0.0
    sent = _seconds(date or "")
    return max(0.0, asked - (now / SECOND if sent is None else sent))


def _seconds(text: str) -> float | None:
    """Parse an HTTP date as seconds since 1970; None if it is invalid."""
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # asctime's form of a date, which is in UTC as all others are
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
