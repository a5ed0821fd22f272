"""The vocabulary of operations on many jobs: values without behaviour."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobstore.model.clock import iso


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOrder:
    """What somebody wants to be done to many jobs.

    Args:
        filter: which jobs, as it was written, in JSON; None if they were named by their ids.
        owner: the name of who wants it, or "".
        account: theirs.
        scope: the account whose jobs these have to be, or None for anybody's.
        without_secrets: whether a request is sent again whose secret headers are not kept.
    """

    action: BulkAction
    filter: str | None = None
    owner: str = ""
    account: int = 0
    scope: int | None = None
    without_secrets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOperation:
    """Something that is done to many jobs; times are in microseconds since 1970.

    Args:
        order: what was wanted.
        stopped_by: the name of who stopped it, or None if nobody did.
        total: how many jobs there were when it was made.
        done: to how many of these it was done.
        skipped: to how many it could not be done.
        reasons: how many of them for which reason.
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
    """Describe how far an operation is, in JSON."""
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
