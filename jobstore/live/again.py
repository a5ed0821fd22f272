"""Run the request of an ended job again, as a new job."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from jobstore.live.submissions import Submissions
from jobstore.model.bulk import BulkOperation
from jobstore.model.errors import NoTarget
from jobstore.model.job import Dialect, Job, Policy, Submission, Trigger
from jobstore.model.lifecycle import ENDED, Result
from jobstore.model.message import REDACTED, Headers, Request, without
from jobstore.store import bulk, events, jobs, repeating
from jobstore.store.bodies import Content
from jobstore.store.bulk_steps import NeedsBody
from jobstore.store.repeating import Repeatable
from jobstore.store.transaction import Transaction

if TYPE_CHECKING:
    from jobstore.live.store import Store

# Names the target that answers a method and a path.
TargetOf: TypeAlias = Callable[[str, str], str]


def forgotten(headers: Headers) -> list[str]:
    """Return the names of secret headers whose values are no longer kept."""
    return sorted({name for name, value in headers if value == REDACTED})


def submission_of(
    job: Job, request: Request, target: str, policy: Policy, *, administers: bool
) -> Submission:
    """Create the submission that runs a job again, for the same owner.

    Args:
        request: its stored request.
        administers: whether an admin asks for it.
    """
    lower = {name.lower() for name in forgotten(request.headers)}
    return Submission(
        request=request.with_headers(without(request.headers, lower)),
        target=target,
        dialect=Dialect.NATIVE,
        owner=job.owner,
        account=job.account,
        wanted=job.result is not Result.UNWANTED,
        priority=job.priority if administers else max(0, job.priority),
        definition=job.definition,
        trigger=None if job.definition is None else Trigger.RESTAPI,
        policy=policy,
    )


async def submit_again(
    store: "Store",
    job: Job,
    request: Request,
    target: str,
    *,
    administers: bool,
    source: str | None,
    by: str = "",
) -> int:
    """Submit an ended job again, note that at both jobs, and return the new job's id.

    The notes are stored with the new job: without them, an operation on many jobs would send the
    same request once more.

    Args:
        request: its stored request.
        administers: whether an admin asks for it.
        source: the address of the client that asks, or None if it did not come over a network.
        by: from where it was asked for, for the histories of both jobs.
    """
    policy = await store.history.policy(job.id)
    again = submission_of(job, request, target, policy, administers=administers)

    def note(tx: Transaction, new: int) -> None:
        if tx.execute(jobs.LOCK, job_id=job.id).fetchone() is not None:  # it may be gone by now
            events.note_retry(tx, job.id, new, by)

    return await store.submissions.submit(replace(again, source=source), note)


class Again:
    """Submit many ended jobs again, for an operation.

    Args:
        copied: large bodies copied so far, by the old job's id; or why one could not be copied.
    """

    def __init__(
        self,
        submissions: Submissions,
        target_of: TargetOf,
        operation: BulkOperation,
        copied: Mapping[int, Content | str],
    ) -> None:
        self._submissions = submissions
        self._target_of = target_of
        self._order = operation.order
        self._number = operation.id
        self._copied = copied

    def act(self, tx: Transaction, job_id: int) -> str | None:
        """Submit one job again, or return why that is not possible.

        Raises:
            NotAccepting: the queue is full, or the server is shutting down.
            OwnerLimit: its owner has reached a limit.
            NeedsBody: its body is large and has to be copied first.
        """
        old = repeating.repeatable(tx, job_id)
        if old is None or self._order.scope not in {None, old.job.account}:
            return bulk.NO_SUCH_JOB
        why = _why_not(old) or self._lacking(old.headers or ())
        if why is not None:
            return why
        try:
            target = self._target_of(old.job.method, old.job.path)
        except NoTarget:
            return "no target is configured for its path"
        content = self._copied.get(job_id) if old.content is None else old.content
        if content is None:
            raise NeedsBody(job_id)
        if isinstance(content, str):
            return content
        self._put(tx, old, content, target)
        return None

    def _lacking(self, headers: Headers) -> str | None:
        names = [] if self._order.without_secrets else forgotten(headers)
        if not names:
            return None
        return f"had secret headers that are not kept: {', '.join(names)}"

    def _put(self, tx: Transaction, old: Repeatable, content: Content, target: str) -> None:
        job, body = old.job, content if isinstance(content, bytes) else b""
        request = Request(method=job.method, path=job.path, headers=old.headers or (), body=body)
        administers = self._order.scope is None
        again = submission_of(job, request, target, old.policy, administers=administers)
        new = self._submissions.put_again(tx, again, content)
        events.note_retry(tx, job.id, new, events.by_operation(self._number))


def _why_not(old: Repeatable) -> str | None:
    if old.job.state not in ENDED:
        return f"has not ended yet: it is {old.job.state}"
    if old.job.result is Result.DELETED:
        return "was deleted"
    if old.headers is None:
        return "its request is no longer kept"
    return "was already run again" if old.tried else None
