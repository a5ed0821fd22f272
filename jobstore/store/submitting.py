"""Insert jobs: each function is one step of a transaction."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, bindparam, literal_column, select

from jobstore.model.errors import TagTaken
from jobstore.model.job import Submission
from jobstore.model.lifecycle import Result, State
from jobstore.store import bodies, claiming, elsewhere, schema
from jobstore.store.bodies import Content
from jobstore.store.codec import encode_headers, writable
from jobstore.store.expressions import Statement, inserting
from jobstore.store.facts import Accepted, Due, Queued, Waiting
from jobstore.store.guards import ONE, ZERO
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_SUBMITTED: Final = frozenset(
    {
        "state",
        "result",
        "dialect",
        "owner",
        "account",
        "depth",
        "stored",
        "target",
        "method",
        "path",
        "priority",
        "attempt",
        "boot",
        "submitted_at",
        "started_at",
        "source",
    }
)
# What most submissions say nothing about: naming a column costs, even for NULL.
WISHES: Final = frozenset(
    {
        "timeout",
        "replay",
        "tag",
        "once",
        "definition",
        "trigger",
        "follows",
        "not_before",
        "retries",
    }
)


def _submit(names: frozenset[str]) -> Statement:
    columns = [column.name for column in schema.JOB.columns if column.name in names]
    values: dict[str, ColumnElement[Any]] = {name: bindparam(name) for name in columns}
    return inserting(schema.JOB, {**values, "warnings": literal_column("0")})


SUBMIT: Final = _submit(_SUBMITTED)
SUBMIT_WITH_WISHES: Final = _submit(_SUBMITTED | WISHES)
PUT_REQUEST: Final = inserting(
    schema.REQUEST, {column.name: bindparam(column.name) for column in schema.REQUEST.columns}
)
_NO_WISHES: Final = (None,) * len(WISHES)
_NONE: Final[Mapping[str, object]] = {}


class Submitted(NamedTuple):
    """An inserted job.

    Args:
        secrets: whether the store keeps secrets of its request until it ends.
    """

    job_id: int
    secrets: bool


def submit(
    tx: Transaction,
    submission: Submission,
    content: Content,
    secret: frozenset[str],
    claimed_by: int | None,
    depth: int = 0,
) -> Submitted:
    """Insert a job: queued, or running at once if it comes with a claim.

    Args:
        content: the request's body.
        secret: the lower-case names of headers to forget when the job ends.
        claimed_by: the number of the server start that runs it at once, or None.
        depth: how many jobs led to this one, each of which submitted the next.
    """
    if claimed_by is None:  # before anything else, so that who looks meanwhile counts it as well
        tx.changes.queued += 1
        if not submission.waits:
            tx.changes.lined_up.add(submission.target)
    delay = submission.delay
    not_before = submission.not_before if delay is None else tx.now + delay
    job_id = _put_job(tx, submission, bodies.size_of(content), not_before, claimed_by, depth)
    if delay is not None:
        tx.execute(claiming.DELAY, job_id=job_id, length=delay)
    headers, secrets = encode_headers(submission.request.headers, secret)
    tx.execute(
        PUT_REQUEST,
        job_id=job_id,
        headers=headers,
        secrets=secrets,
        content=bodies.put_content(tx, job_id, content),
    )
    if claimed_by is None:
        _line_up(tx, job_id, submission, not_before, secrets=secrets is not None)
    return Submitted(job_id, secrets is not None)


def _put_job(
    tx: Transaction,
    submission: Submission,
    stored: int,
    not_before: int | None,
    claimed_by: int | None,
    depth: int,
) -> int:
    """Insert the row of a job, and count it; return its id."""
    request, account, claimed = submission.request, submission.account, claimed_by is not None
    state = State.RUNNING if claimed else State.QUEUED
    result = Result.NONE if submission.wanted else Result.UNWANTED
    wishes = _wishes(submission, not_before)
    job_id = tx.insert(
        SUBMIT_WITH_WISHES if wishes else SUBMIT,
        state=state,
        result=result,
        dialect=submission.dialect,
        owner=writable(submission.owner),
        account=account,
        depth=depth,
        stored=stored,
        target=submission.target,
        method=request.method,
        path=writable(request.path),
        priority=submission.priority,
        attempt=int(claimed),
        boot=claimed_by,
        submitted_at=tx.now,
        started_at=tx.now if claimed else None,
        source=submission.source,
        **wishes,
    )
    tx.tally.came(account, state, result, stored, tx.now)
    tx.tell(Accepted(submission.dialect, submission.target))
    return job_id


def _wishes(submission: Submission, not_before: int | None) -> Mapping[str, object]:
    """Return the values of rarely used columns, by name; empty for most submissions."""
    policy = submission.policy
    wishes: dict[str, object] = {
        "timeout": policy.timeout,
        "replay": policy.replay,
        "tag": submission.tag,
        "once": int(submission.once) or None,
        "definition": submission.definition,
        "trigger": submission.trigger,
        "follows": submission.follows,
        "not_before": not_before,
        "retries": policy.retries,
    }
    return (
        {**wishes, "once": int(submission.once)} if tuple(wishes.values()) != _NO_WISHES else _NONE
    )


def _line_up(
    tx: Transaction, job_id: int, submission: Submission, not_before: int | None, *, secrets: bool
) -> None:
    """Report what an inserted job waits for."""
    if submission.follows is not None:
        tx.followed = True
    if not_before is not None:
        tx.tell(Due(not_before))
    if submission.waits:
        tx.tell(Waiting(job_id))
    else:
        target, account, priority = submission.target, submission.account, submission.priority
        tx.tell(Queued(job_id, target, account, priority, submission.request, secrets))


# --- whether a submission is refused -------------------------------------------------------------


USAGE: Final = Statement(
    select(schema.ACCOUNT_USAGE.c.queued, schema.ACCOUNT_USAGE.c.stored).where(
        schema.ACCOUNT_USAGE.c.account == bindparam("of_account")
    )
)


def usage(tx: Transaction, account: int) -> tuple[int, int]:
    """Return how many jobs of an account are queued, and how many bytes it has stored."""
    queued, stored = tx.execute(USAGE, of_account=account).fetchone() or (0, 0)
    more_queued, more_stored = tx.tally.used(account)
    return queued + more_queued, stored + more_stored


# A tag is its owner's, and stands for the newest of their jobs that has it.
_tagged: Final = _job.tag == bindparam("tag")
_newest_tagged: Final = (
    select(_job.id, _job.result, _job.cancel_asked_at)
    .order_by(_job.id.desc())
    .limit(ONE)
    .offset(ZERO)
)
OWN_TAGGED: Final = Statement(
    _newest_tagged.where(
        _job.account == bindparam("account"), _job.owner == bindparam("owner"), _tagged
    )
)
ANY_TAGGED: Final = Statement(_newest_tagged.where(_tagged))


def check_tag(tx: Transaction, submission: Submission) -> None:
    """Ensure that no other job of the same owner that has not ended has a submission's tag.

    Since this is checked each time, only the newest job with a tag can be unended. A job whose
    cancellation was requested counts as ended: its client has been told so.

    Raises:
        TagTaken: one has it.
    """
    tag, owner = submission.tag, writable(submission.owner)
    assert tag is not None
    if tx.shared:  # nobody else looks for it until this is committed
        elsewhere.lock(tx, f"tag {submission.account} {owner} {tag}")
    row = tx.execute(OWN_TAGGED, tag=tag, owner=owner, account=submission.account).fetchone()
    if row is not None and row[1] == Result.NONE and row[2] is None:
        raise TagTaken(tag)
