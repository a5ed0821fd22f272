"""The two small state machines of a job, as tables; an event without an entry is an error.

The *job* is the work: it waits, runs and ends. The *result* is what a reader may fetch: first there
is none, then it is held for one reader, then it is gone for good in one way or another. A job
outlives its result.

Each table maps an event to the states it may happen in, and each of those to the state after it.
The store derives the guard of every statement that changes a state from these tables.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a job's work."""

    __hash__ = str.__hash__  # in C: members are looked up for each job

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"  # the target answered, whatever the status code
    FAILED = "failed"  # there was no answer
    CANCELLED = "cancelled"


class Result(StrEnum):
    """The state of a job's result."""

    __hash__ = str.__hash__  # in C: members are looked up for each job

    NONE = "none"  # the work has not ended yet
    HELD = "held"  # kept for the one reader who will fetch it
    TAKEN = "taken"
    DELETED = "deleted"  # for good as soon as its payload is purged
    EXPIRED = "expired"
    UNWANTED = "unwanted"  # the submission said that nobody will ask


class Event(StrEnum):
    """What can happen to a job; the word is the same in code, SQL, log and history."""

    CLAIM = "claim"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"
    RECOVER = "recover"
    RETRY = "retry"
    HOLD = "hold"  # its target could not be reached, so that nothing was sent
    GIVE_UP = "give up"
    TAKE = "take"
    GIVE_BACK = "give back"
    RESTORE = "restore"
    DELETE = "delete"
    EXPIRE = "expire"


JOB: Final[Mapping[Event, Mapping[State, State]]] = {
    Event.CLAIM: {State.QUEUED: State.RUNNING},
    Event.FINISH: {State.RUNNING: State.DONE},
    Event.FAIL: {State.RUNNING: State.FAILED},
    Event.CANCEL: {State.QUEUED: State.CANCELLED, State.RUNNING: State.CANCELLED},
    Event.RECOVER: {State.RUNNING: State.QUEUED},
    Event.RETRY: {State.RUNNING: State.QUEUED},
    Event.HOLD: {State.RUNNING: State.QUEUED},
    Event.GIVE_UP: {State.QUEUED: State.FAILED},
}

# A result becomes held by the very event that ends the work, unless it is gone already.
_WORK_ENDS: Final[Mapping[Result, Result]] = {
    Result.NONE: Result.HELD,
    Result.DELETED: Result.DELETED,
    Result.UNWANTED: Result.UNWANTED,
}

RESULT: Final[Mapping[Event, Mapping[Result, Result]]] = {
    Event.FINISH: _WORK_ENDS,
    Event.FAIL: _WORK_ENDS,
    Event.CANCEL: _WORK_ENDS,
    Event.GIVE_UP: _WORK_ENDS,
    Event.TAKE: {Result.HELD: Result.TAKEN},
    Event.GIVE_BACK: {Result.TAKEN: Result.HELD},
    Event.RESTORE: {Result.TAKEN: Result.HELD, Result.DELETED: Result.HELD},
    Event.DELETE: {
        Result.NONE: Result.DELETED,
        Result.HELD: Result.DELETED,
        Result.TAKEN: Result.DELETED,
        Result.EXPIRED: Result.DELETED,
        Result.UNWANTED: Result.DELETED,
    },
    Event.EXPIRE: {Result.HELD: Result.EXPIRED},
}

# What happens to a result only once the work has ended, where the result does not say that.
AFTER_THE_END: Final = frozenset({Event.RESTORE})

INITIAL_STATES: Final = (State.QUEUED, State.RUNNING)
INITIAL_RESULTS: Final = (Result.NONE, Result.UNWANTED)
ENDED: Final = (State.DONE, State.FAILED, State.CANCELLED)
AWAITED: Final = (Result.NONE, Result.HELD)  # a reader may still ask for it
