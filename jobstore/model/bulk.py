"""Values that describe operations on many jobs."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from jobstore.model.clock import iso
from jobstore.model.frozen import frozen


class BulkAction(StrEnum):
    """What is done to each of the jobs."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"
    RESTORE = "restore"


class BulkState(StrEnum):
    """Where an operation on many jobs stands."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"


@frozen(kw_only=True)
class BulkOrder:
    """An order to do something to many jobs.

    Args:
        filter: which jobs, as JSON, as the client wrote it; None if they were given by id.
        owner: the name of the person who gave the order, or "".
        account: that person's account.
        scope: only jobs of this account; None for all accounts.
        without_secrets: whether to retry requests whose secret headers are no longer kept.
    """

    action: BulkAction
    filter: str | None = None
    owner: str = ""
    account: int = 0
    scope: int | None = None
    without_secrets: bool = False


@frozen(kw_only=True)
class BulkOperation:
    """An operation on many jobs; times are in microseconds since 1970.

    Args:
        order: what to do.
        stopped_by: who stopped it, or None.
        total: how many jobs it covered when it was created.
        done: how many of them have been changed.
        skipped: how many could not be changed.
        reasons: the number of skipped jobs by reason.
        waits: what it waits for, or None.
    """

    id: int
    order: BulkOrder
    state: BulkState
    created_at: int
    finished_at: int | None
    stopped_by: str | None
    total: int
    done: int
    skipped: int
    reasons: Mapping[str, int]
    waits: str | None


def described(operation: BulkOperation) -> dict[str, Any]:
    """Return the progress of an operation as JSON."""
    order, finished_at = operation.order, operation.finished_at
    return {
        "id": operation.id,
        "action": order.action,
        "filter": None if order.filter is None else json.loads(order.filter),
        "owner": order.owner,
        "state": operation.state,
        "count": operation.total,
        "done": operation.done,
        "skipped": operation.skipped,
        "reasons": dict(operation.reasons),
        "waits": operation.waits,
        "created_at": iso(operation.created_at),
        "finished_at": None if finished_at is None else iso(finished_at),
        "stopped_by": operation.stopped_by,
    }
