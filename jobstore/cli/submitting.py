"""Submit a job from the command line, and wait for its result."""

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from jobstore.cli import content
from jobstore.cli.beside import beside, is_served, target_of
from jobstore.cli.drafts import body_of, headers_of, read_data
from jobstore.cli.options import Where, examples, json_option, reaching, text
from jobstore.cli.places import place_of
from jobstore.cli.plain import Complaint, tell, write_json
from jobstore.cli.wording import as_fields
from jobstore.config import Config
from jobstore.model import clock
from jobstore.model.errors import SubmissionInvalid
from jobstore.model.job import Dialect, Job, Submission
from jobstore.model.lifecycle import ENDED
from jobstore.model.words import status_line

if TYPE_CHECKING:
    from jobstore.cli.remote import Remote

# How often it is looked whether a job has ended, in seconds.
_LOOK_SECONDS: Final = 0.1


@click.command(
    "submit",
    epilog=examples(
        "jobstore submit POST /reports -d @body.json --wait",
        "jobstore submit GET '/export?year=2026' --delay 15m --tag export",
        "jobstore submit POST /echo -H 'X-Source: me' -d hello --config jobs.toml",
    ),
)
@reaching
@click.argument("method", type=text)
@click.argument("target", metavar="PATH", type=text)
@click.option(
    "--header", "-H", multiple=True, type=text, metavar="NAME:VALUE", help="A header; repeatable."
)
@click.option("--data", "-d", type=text, metavar="TEXT|@FILE", help="The body; @- is stdin.")
@click.option("--tag", type=text, metavar="TAG", help="A name to find the job by.")
@click.option("--priority", type=int, metavar="N", help="Lower numbers run first; 0 if not given.")
@click.option("--delay", type=text, metavar="DURATION", help="How long to wait: 30s, 15m.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the answer and print it.")
@json_option
def submit_command(where: Where, /, *, waits: bool, as_json: bool, **members: Any) -> None:
    """Submit a job: METHOD and PATH, with its query, such as POST /reports?year=2026.

    A running server starts it at once; otherwise it waits for the next start. With --wait, the body
    of the answer is written to the standard output, and the exit code is 1 if the answer is an
    error. The result can still be fetched afterwards.

    If the queue is full, the job is refused; see [executor] queue_limit. Limits are those of
    --config and the environment, not those of a running server: give the server's configuration
    file, or use --url.
    """
    written = _written(**members)
    if isinstance(where, Config):
        asyncio.run(_submit(where, written, waits=waits, as_json=as_json))
    else:
        _submit_afar(where, written, waits=waits, as_json=as_json)


def _written(
    *, method: str, target: str, header: tuple[str, ...], data: str | None, **rest: Any
) -> dict[str, Any]:
    """Return the job as it is written in JSON."""
    given = {name: value for name, value in rest.items() if value is not None}
    document = {"method": method.upper(), "target": target, "headers": headers_of(header), **given}
    return document if data is None else {**document, **body_of(read_data(data))}


# --- in a store ---------------------------------------------------------------------------------


async def _submit(config: Config, written: dict[str, Any], *, waits: bool, as_json: bool) -> None:
    async with beside(config, create=True) as store:
        job_id = await store.submit(_submission(config, written))
    if not waits:
        _tell(job_id, written, as_json=as_json)
        return
    place = place_of(config)
    async with place.history() as history:
        while (job := await history.job(job_id)).state not in ENDED:
            if not await is_served(place):
                raise Complaint(f"job {job_id} is queued, but no server is running to start it")
            await asyncio.sleep(_LOOK_SECONDS)
        if as_json:
            write_json(as_fields(job))
        elif (response := await history.response(job)) is not None:
            await content.write_raw(response.body)
    _judge(job)


def _submission(config: Config, written: dict[str, Any]) -> Submission:
    """Read a job, as the API does.

    Raises:
        SubmissionInvalid: it is invalid.
    """
    # Loading what reads it takes a while.
    from jobstore.dialects.native.forms import WrittenJob
    from jobstore.model.written_request import read

    try:
        job = read(WrittenJob, written, "a target")
        not_before, delay = job.waits(clock.now())
    except ValueError as invalid:
        raise SubmissionInvalid(str(invalid)) from None
    return Submission(
        request=job.request,
        target=target_of(config, job.target.partition("?")[0]),
        dialect=Dialect.NATIVE,
        priority=job.priority,
        tag=job.tag,
        policy=job.policy,
        not_before=not_before,
        delay=delay,
    )


# --- at a server somewhere else -----------------------------------------------------------------


def _submit_afar(remote: "Remote", written: dict[str, Any], *, waits: bool, as_json: bool) -> None:
    from jobstore.cli.remote import LONGEST_WAIT
    from jobstore.cli.remote_jobs import RemoteJobs

    job_id = int(remote.ask("POST", "/_jobs", written)["id"])
    if not waits:
        _tell(job_id, written, as_json=as_json)
        return
    jobs = RemoteJobs(remote)
    while (job := jobs.one(job_id, wait=LONGEST_WAIT)).state not in ENDED:
        pass
    if as_json:
        write_json(as_fields(job))
    elif job.failure is None and job.status is not None:
        sys.stdout.buffer.write(remote.body(f"/_jobs/{job_id}/response"))
        sys.stdout.buffer.flush()
    _judge(job)


# --- words --------------------------------------------------------------------------------------


def _tell(job_id: int, written: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json({"id": job_id})
    else:
        tell(f"Job {job_id} is queued: {written['method']} {written['target']}")


def _judge(job: Job) -> None:
    """Complain of a job that has not succeeded."""
    if job.succeeded:
        return
    if job.detail:
        raise Complaint(f"job {job.id} is {job.state}: {job.detail}")
    raise Complaint(f"job {job.id} was answered with {status_line(job.status or 0)}")
