"""Which jobs of the history to look for."""

import json
from dataclasses import dataclass, fields
from typing import Any

from jobstore.model.job import Trigger
from jobstore.model.lifecycle import Result, State
from jobstore.store.codec import writable


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A start of the server whose end nobody has seen; times in microseconds since 1970.

    Args:
        boot: its number; 0 if there was none.
        over: the number of the last start that is over, however it ended.
        pid: the server's process id.
        started_at: when it was started.
        restarted_at: when the next one was, or None.
    """

    boot: int
    over: int
    pid: int = 0
    started_at: int = 0
    restarted_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which jobs to look for; None is any.

    Args:
        states: where their work stands.
        results: where their results stand.
        owner: the name that the client gave.
        account: to which they belong.
        path: what the path begins with.
        target: the name of the target that is asked.
        definition: the id of the definition that they are runs of.
        trigger: what started that run.
        tag: their client's handle.
        since: submitted then or later, in microseconds since 1970.
        until: submitted before.
        lowest_status: the least status code of the answer.
        highest_status: the greatest.
        definitions: the ids of several definitions, of one of which they are runs.
        running_at: an attempt at them ran at this moment, in microseconds since 1970.
        cancelled_by: who asked for their cancellation.
        died: they were running when this start of the server died, or any that is over left them
            running.
    """

    states: tuple[State, ...] | None = None
    results: tuple[Result, ...] | None = None
    owner: str | None = None
    account: int | None = None
    path: str | None = None
    target: str | None = None
    definition: int | None = None
    trigger: Trigger | None = None
    tag: str | None = None
    since: int | None = None
    until: int | None = None
    lowest_status: int | None = None
    highest_status: int | None = None
    definitions: tuple[int, ...] | None = None
    running_at: int | None = None
    cancelled_by: str | None = None
    died: Death | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What is looked for, by the names of the statement's parameters."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["states"] = json.dumps(self.states) if self.states else None
        given["results"] = json.dumps(self.results) if self.results else None
        given["definitions"] = json.dumps(self.definitions) if self.definitions else None
        cancelled_by = given.pop("cancelled_by")
        given["asker"] = None if cancelled_by is None else asked_by(cancelled_by)
        found = {name: value for name, value in given.items() if value is not None}
        return found | (_of_death(self.died) if self.died else {})


def asked_by(name: str) -> str:
    """Write who asked for something, as it stands in the detail of an event."""
    return writable(f"by {name}")


def asker(detail: str) -> str:
    """Read what `asked_by` wrote."""
    return detail.removeprefix("by ")


def _of_death(death: Death) -> dict[str, Any]:
    return {
        "died": death.boot,
        "over": death.over,
        "died_since": death.started_at,
        "restarted_at": death.restarted_at,
    }
