"""Cancel, retry, delete and restore jobs: one, several, or all that match filters."""

import asyncio
from collections.abc import Callable
from typing import Any

import click

from jobstore.cli import filters
from jobstore.cli.acting import WantedAction
from jobstore.cli.options import Where, json_option, reaching
from jobstore.config import Config
from jobstore.model.bulk import BulkAction
from jobstore.model.errors import JobNotFound
from jobstore.store.jobs import LARGEST_ID


def _verb(name: BulkAction, text: str) -> Callable[..., None]:
    """Make the command of an action."""

    def command(
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
        ways = sum([bool(ids), bool(named), everything])
        if ways > 1:
            raise click.UsageError("ids, filters and --all cannot be used together")
        if not ways:
            raise click.UsageError("expected ids of jobs, or filters, or --all for all jobs")
        for job_id in ids:
            if not 0 < job_id <= LARGEST_ID:
                raise JobNotFound(job_id)
        wanted = WantedAction(
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


async def _run(where: Where, wanted: WantedAction, *, yes: bool, as_json: bool) -> None:
    """Act where the jobs are; each of the two ways needs packages that the other does not."""
    if isinstance(where, Config):
        from jobstore.cli.acting_here import act_here

        await act_here(where, wanted, yes=yes, as_json=as_json)
    else:
        from jobstore.cli.acting_afar import act_afar

        await act_afar(where, wanted, yes=yes, as_json=as_json)
