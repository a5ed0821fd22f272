"""Cancel, retry, delete and restore jobs: one, several, or all that match filters."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Union

import click

from jobstore.cli import filters
from jobstore.cli.beside import operator
from jobstore.cli.options import json_option, reaching
from jobstore.cli.places import Place, place_of
from jobstore.cli.plain import Complaint, tell, write_json
from jobstore.cli.remote_jobs import RemoteJobs
from jobstore.cli.terminal import progress
from jobstore.config import Config
from jobstore.config.limits import store_limits
from jobstore.model.bulk import BulkAction, BulkOperation, BulkOrder, BulkState, described
from jobstore.model.errors import JobNotFound, NoTarget
from jobstore.model.job import Job
from jobstore.model.retry import in_doubt
from jobstore.store import bulk
from jobstore.store.jobs import LARGEST_ID
from jobstore.store.search import Search
from jobstore.store.starts import StartState
from jobstore.targets.router import longest

if TYPE_CHECKING:
    from jobstore.cli.remote import Remote
    from jobstore.live import Store

Where = Union[Config, "Remote"]

# How often it is looked how far an operation is, in seconds.
_LOOK_SECONDS: Final = 0.1
# How many nodes are looked at for one that is alive.
_NODES: Final = 100


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The arguments of the command.

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


class _Actor(Protocol):
    """Where the action is carried out."""

    async def count(self) -> tuple[int, int]:
        """Return how many jobs match, and how many had secret headers, which are not kept."""

    async def job(self, job_id: int) -> Job:
        """Look at a job."""

    async def make(self, expect: int) -> int:
        """Make the operation for so many jobs, and return its id."""

    async def look(self, operation: int) -> dict[str, Any]:
        """Return its progress, as in the API; do the work if no server does."""


def _verb(name: BulkAction, text: str) -> Callable[..., None]:
    """Make the command of an action."""

    def command(  # noqa: PLR0913 - as many as it has options
        where: Where,
        /,
        ids: tuple[int, ...],
        *,
        everything: bool,
        yes: bool,
        as_json: bool,
        without_secrets: bool = False,
        **asked: Any,
    ) -> None:
        named = filters.given(asked)
        if sum([bool(ids), bool(named), everything]) != 1:
            raise click.UsageError("expected ids of jobs, or filters, or --all for all jobs")
        for job_id in ids:
            if not 0 < job_id <= LARGEST_ID:
                raise JobNotFound(job_id)
        wanted = _Wanted(
            action=name,
            ids=ids,
            asked=asked,
            everything=everything,
            without_secrets=without_secrets,
        )
        asyncio.run(_run(where, wanted, yes=yes, as_json=as_json))

    command.__doc__ = text
    command = filters.filter_options(json_option(command))
    if name is BulkAction.RETRY:
        command = click.option(
            "--without-secrets",
            is_flag=True,
            help="Include jobs that had secret headers, and send them without.",
        )(command)
    command = click.option("--yes", "-y", is_flag=True, help="Do not ask; for scripts.")(command)
    command = click.option("--all", "everything", is_flag=True, help="All jobs.")(command)
    command = click.argument("ids", metavar="[ID]...", nargs=-1, type=int)(command)
    return click.command(name.value)(reaching(command))


cancel_command = _verb(
    BulkAction.CANCEL,
    """Cancel jobs: those named, or all that match the filters.

    Queued jobs are cancelled and running ones are stopped. The number of matching jobs is shown
    first, and you are asked to confirm unless you name a single job.
    """,
)
retry_command = _verb(
    BulkAction.RETRY,
    """Run ended jobs again, each as a new job: those named, or all that match the filters.

    A running server starts them at once; otherwise they wait for the next start. Jobs that were
    already run again are skipped, and so are jobs with secret headers, which are not kept.
    """,
)
delete_command = _verb(
    BulkAction.DELETE,
    """Delete results: those of the jobs named, or of all that match the filters.

    Jobs that have not ended go on. `jobstore restore` undoes this until the payloads are purged;
    see [retention] fetched.
    """,
)
restore_command = _verb(
    BulkAction.RESTORE,
    """Make fetched or deleted results available again, for example if a reader lost one.

    They can be restored until they are purged; see [retention] fetched.
    """,
)


async def _run(where: Where, wanted: _Wanted, *, yes: bool, as_json: bool) -> None:
    if not isinstance(where, Config):
        await _act(_ServerActor(where, wanted), wanted, yes=yes, as_json=as_json)
        return
    place = place_of(where)
    async with place.store(store_limits(where)) as store:
        if wanted.one and wanted.action is BulkAction.RESTORE:
            await _restore_one(store, wanted.ids[0], as_json=as_json)
            return
        actor = _StoreActor(where, place, store, wanted)
        await _act(actor, wanted, yes=yes, as_json=as_json)


async def _restore_one(store: "Store", job_id: int, *, as_json: bool) -> None:
    await store.results.restore(job_id)
    if as_json:
        write_json({"restored": job_id})
    else:
        click.echo(f"The result of job {job_id} can be fetched again.")


async def _act(actor: _Actor, wanted: _Wanted, *, yes: bool, as_json: bool) -> None:
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


async def _doubt(actor: _Actor, wanted: _Wanted) -> str | None:
    """Say what has to be confirmed for a single job; None if nothing has."""
    if wanted.action is not BulkAction.RETRY:
        return None
    job = await actor.job(wanted.ids[0])
    if not in_doubt(job):
        return None
    return (
        f"Job {job.id} was interrupted, and its {job.method} may have taken effect. "
        "Run it again, although it may then take effect twice?"
    )


def _question(wanted: _Wanted, count: int, forgotten: int) -> str:
    question = _WORDS[wanted.action].question.format(_jobs(count))
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


def _tell_result(said: dict[str, Any], wanted: _Wanted, *, as_json: bool) -> None:
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
        done = said["done"]
        tell(f"{_jobs(done)} {'was' if done == 1 else 'were'} {_WORDS[wanted.action].done}.")
    reasons = [f"{_jobs(number)} skipped: {why}" for why, number in said["reasons"].items()]
    if reasons and not said["done"]:
        raise Complaint("\n".join(reasons) if not as_json else "nothing was done")
    for line in reasons if not as_json else ():
        tell(line)
    if said["done"] + said["skipped"] < said["count"]:
        raise Complaint(f"operation {said['id']} was stopped before it was complete")


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"


# --- in a store ---------------------------------------------------------------------------------


class _StoreActor:
    """Act on a store, beside its server or without one; see `_Actor`."""

    def __init__(self, config: Config, place: Place, store: "Store", wanted: _Wanted) -> None:
        self._config = config
        self._place = place
        self._store = store
        self._wanted = wanted
        self._matched = bulk.named(wanted.ids)

    async def count(self) -> tuple[int, int]:
        """Return how many jobs match."""
        wanted = self._wanted
        if not wanted.ids:
            search = Search()
            if not wanted.everything:
                search = await filters.search_of(self._store.history, self._place, wanted.asked)
                if not bulk.selects(search):
                    raise Complaint("these filters match every job; say --all if you mean all jobs")
            self._matched = await self._store.operations.match(wanted.action, search)
        return self._matched.count, self._matched.secret

    async def job(self, job_id: int) -> Job:
        """Look at a job."""
        return await self._store.history.job(job_id)

    async def make(self, expect: int) -> int:
        """Make the operation."""
        return await self._store.operations.make(self._order(), self._matched, expect)

    def _order(self) -> BulkOrder:
        wanted = self._wanted
        return BulkOrder(
            action=wanted.action,
            filter=None if wanted.ids else _as_json(wanted),
            owner=operator(),
            without_secrets=wanted.without_secrets,
        )

    async def look(self, operation: int) -> dict[str, Any]:
        """Return its progress; do all of it if no server runs."""
        operations = self._store.operations
        found = await operations.get(operation)
        if found.state is BulkState.RUNNING and not await self._served():
            await operations.finish(operation, self._target_of)
            found = await operations.get(operation)
            if found.state is BulkState.RUNNING:
                raise Complaint(
                    f"operation {operation} waits: {found.waits}; {_jobs(_left(found))} are left,"
                    " which the next server will do"
                )
        return described(found)

    async def _served(self) -> bool:
        """Return whether a server runs that does it."""
        starts = await self._place.starts(_NODES)
        return any(start.state is StartState.ALIVE for start in starts)

    def _target_of(self, _: str, path: str) -> str:
        target = longest((target.prefix for target in self._config.targets), path)
        if target is None:
            raise NoTarget
        return target


def _left(operation: BulkOperation) -> int:
    return operation.total - operation.done - operation.skipped


def _as_json(wanted: _Wanted) -> str:
    return json.dumps({"all": True} if wanted.everything else filters.as_written(wanted.asked))


# --- at a server somewhere else -----------------------------------------------------------------


class _ServerActor:
    """Act through the API of a server; see `_Actor`."""

    def __init__(self, remote: "Remote", wanted: _Wanted) -> None:
        self._remote = remote
        which: dict[str, Any] = (
            {"ids": [*wanted.ids]}
            if wanted.ids
            else {"filter": {"all": True} if wanted.everything else filters.query_of(wanted.asked)}
        )
        self._document = {"action": wanted.action, **which}
        if wanted.without_secrets:
            self._document["without_secrets"] = True

    async def count(self) -> tuple[int, int]:
        """Return how many jobs match."""
        said = self._remote.ask("POST", "/_jobs/operations", {**self._document, "dry_run": True})
        return said["count"], said["forgotten"]

    async def job(self, job_id: int) -> Job:
        """Look at a job."""
        return RemoteJobs(self._remote).one(job_id)

    async def make(self, expect: int) -> int:
        """Make the operation."""
        said = self._remote.ask("POST", "/_jobs/operations", {**self._document, "expect": expect})
        return int(said["id"])

    async def look(self, operation: int) -> dict[str, Any]:
        """Return its progress."""
        said: dict[str, Any] = self._remote.ask("GET", f"/_jobs/operations/{operation}")
        return said
