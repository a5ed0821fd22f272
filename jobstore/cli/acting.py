"""What the commands for many jobs do: count, ask, act, watch the progress and say what was done."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Final, Protocol

import click

from jobstore.cli.plain import Complaint, tell, write_json
from jobstore.cli.terminal import progress
from jobstore.model import words
from jobstore.model.bulk import BulkAction, BulkState
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.retry import told_of_doubt

# How often it is looked how far an operation is, in seconds.
_LOOK_SECONDS: Final = 0.1


@frozen
class _Words:
    """The words for an action.

    Args:
        question: what is asked before it.
        done: what has become of the jobs.
    """

    question: str
    done: str


_WORDS: Final = {
    BulkAction.CANCEL: _Words("Cancel {}? Running ones are stopped.", "cancelled"),
    BulkAction.RETRY: _Words("Run {} again, each as a new job?", "run again"),
    BulkAction.DELETE: _Words(
        "Delete the results of {}? `jobstore restore` undoes it until they are purged.", "deleted"
    ),
    BulkAction.RESTORE: _Words("Make the results of {} available again?", "restored"),
}


@frozen(kw_only=True)
class WantedAction:
    """The jobs that are meant, and what to do with them.

    Args:
        asked: all options that say which jobs are meant.
        everything: whether all jobs are.
    """

    action: BulkAction
    ids: Sequence[int]
    asked: dict[str, Any]
    everything: bool
    without_secrets: bool

    @property
    def one(self) -> bool:
        """Whether a single job is named."""
        return len(self.ids) == 1


class Actor(Protocol):
    """Where the action is carried out."""

    async def count(self) -> tuple[int, int]:
        """Return how many jobs match, and how many had secret headers, which are not kept."""

    async def job(self, job_id: int) -> Job:
        """Look at a job."""

    async def make(self, expect: int) -> int:
        """Make the operation for so many jobs, and return its id."""

    async def look(self, operation: int) -> dict[str, Any]:
        """Return its progress, as in the API; do the work if no server does."""


async def act(actor: Actor, wanted: WantedAction, *, yes: bool, as_json: bool) -> None:
    """Act on jobs, once somebody has confirmed that.

    Raises:
        Complaint: nobody can be asked, or nothing was done.
        Abort: the answer is no.
    """
    count, forgotten = await actor.count()
    if not count:
        _tell_result(
            {"id": None, "count": 0, "done": 0, "skipped": 0, "reasons": {}},
            wanted,
            as_json=as_json,
        )
        return
    if not yes:
        question = (
            await _doubt(actor, wanted) if wanted.one else _question(wanted, count, forgotten)
        )
        _ask(question)
    operation = await actor.make(count)
    with progress("jobs") as report:
        while True:
            said = await actor.look(operation)
            report(wanted.action.value, said["done"] + said["skipped"], said["count"])
            if said["state"] != BulkState.RUNNING:
                break
            await asyncio.sleep(_LOOK_SECONDS)
    _tell_result(said, wanted, as_json=as_json)


async def _doubt(actor: Actor, wanted: WantedAction) -> str | None:
    """Say what has to be confirmed for a single job; None if nothing has."""
    if wanted.action is not BulkAction.RETRY:
        return None
    job = await actor.job(wanted.ids[0])
    told = told_of_doubt(job, f"Job {job.id}")
    return f"{told} Run it again?" if told else None


def _question(wanted: WantedAction, count: int, forgotten: int) -> str:
    question = _WORDS[wanted.action].question.format(words.plural(count, "job"))
    if forgotten and not wanted.without_secrets:
        question += f" {forgotten:,} of them had secret headers and will be skipped."
    return question


def _ask(question: str | None) -> None:
    """Ask for confirmation, if there is a question.

    Raises:
        Complaint: nobody can be asked.
        Abort: the answer is no.
    """
    if question is None:
        return
    if not sys.stdin.isatty():
        raise Complaint(f"{question} There is no terminal to ask on; --yes confirms.")
    click.confirm(question, abort=True, err=True)


def _tell_result(said: dict[str, Any], wanted: WantedAction, *, as_json: bool) -> None:
    """Report what was done.

    Raises:
        Complaint: nothing was.
    """
    if as_json:
        facts = {name: said[name] for name in ("id", "count", "done", "skipped", "reasons")}
        write_json({"operation": facts.pop("id"), "action": wanted.action, **facts})
    elif not said["count"]:
        tell("No matching jobs.")
    elif said["done"]:
        done = words.plural(said["done"], "job was", "jobs were")
        tell(f"{done} {_WORDS[wanted.action].done}.")
    reasons = [
        f"{words.plural(number, 'job')} skipped: {why}" for why, number in said["reasons"].items()
    ]
    if reasons and not said["done"]:
        raise Complaint("\n".join(reasons) if not as_json else "nothing was done")
    for line in reasons if not as_json else ():
        tell(line)
    if said["done"] + said["skipped"] < said["count"]:
        raise Complaint(f"operation {said['id']} was stopped before it was complete")
