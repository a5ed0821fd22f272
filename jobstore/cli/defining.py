"""Definitions: save, show, run and delete them."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from jobstore.cli.beside import beside, target_of
from jobstore.cli.definition_sheet import next_run, request_line, show, when
from jobstore.cli.drafts import in_file, in_flags
from jobstore.cli.options import FILE, configured, json_option, text
from jobstore.cli.plain import Complaint, tell, write_json
from jobstore.cli.table import Listed
from jobstore.config import Config
from jobstore.config.limits import store_limits
from jobstore.live import Store
from jobstore.model import clock
from jobstore.model.definition import Definition, Draft, described, key_of, normal_path
from jobstore.model.definition_reader import parse
from jobstore.model.errors import DefinitionExists, DefinitionNotFound
from jobstore.model.job import Dialect, Replay, Trigger

F = TypeVar("F", bound=Callable[..., object])


# --- define -------------------------------------------------------------------------------------


def _one(flag: str, help_: str, **options: Any) -> Callable[[F], F]:
    """Declare a flag that gives one member of a definition."""
    return click.option(flag, type=options.pop("type", text), help=help_, **options)


@click.command("define")
@configured
@click.argument("file", type=FILE, required=False)
@_one("--name", "Its name, for people.")
@_one("--path", "Where it is listed, such as /Imports/daily.")
@_one("--method", "The method of its request; GET if not given.")
@click.option(
    "--request-path",
    "--target",
    "target",
    type=text,
    metavar="PATH",
    help="The path and query to request, percent-encoded; `target` in a FILE.",
)
@click.option(
    "--header",
    "-H",
    multiple=True,
    type=text,
    metavar="NAME:VALUE",
    help="A header of its request; repeatable.",
)
@_one("--body", "The body of its request.")
@_one("--body-file", "A file with the body of its request.", type=FILE, metavar="FILE")
@click.option("--data", "-d", type=text, metavar="TEXT|@FILE", help="The body; @- is stdin.")
@_one("--timeout", "How long a run may take, such as 30s; default: its target's.")
@_one(
    "--replay",
    "What runs again after an interruption; default: its target's.",
    type=click.Choice([replay.value for replay in Replay]),
)
@_one("--retries", "How often to retry a run that failed for a temporary reason.", type=int)
@_one("--cron", "A schedule, such as '0 3 * * *'; a FILE can give more details.")
@_one("--time-zone", "The IANA time zone of --cron; UTC if not given.")
@click.option("--owner", type=text, metavar="NAME", help="The owner of the definition.")
@click.option("--replace", is_flag=True, help="Change the definition at this path.")
@json_option
def define_command(
    config: Config,
    /,
    file: Path | None,
    owner: str | None,
    *,
    replace: bool,
    as_json: bool,
    **members: Any,
) -> None:
    """Save a definition: a request with a name, to run on demand or on a schedule.

    Describe it with flags or in FILE: TOML with keys of the same names and a table of headers, or
    several [[definition]] tables. The store is created if there is none.

    A changed definition keeps its id, its uuid and its owner.
    """
    given = {name: value for name, value in members.items() if value not in (None, ())}
    if file and given:
        raise click.UsageError("FILE and the flags of a definition cannot be used together")
    if not file and not given:
        raise click.UsageError("expected FILE, or at least --name, --path and --request-path")
    drafts = in_file(file) if file else [parse(in_flags(**given))]
    kept = asyncio.run(_define(config, drafts, owner, replace=replace))
    for verb, definition in kept:
        if as_json:
            write_json(described(definition, store_limits(config).secret))
        else:
            tell(f"Definition {definition.id}, {definition.draft.path}, is {verb}.")


async def _define(
    config: Config, drafts: Sequence[Draft], owner: str | None, *, replace: bool
) -> list[tuple[str, Definition]]:
    async with beside(config, create=True) as store:
        earlier = [await _earlier(store, draft, owner, replace=replace) for draft in drafts]
        kept: list[tuple[str, Definition]] = []
        for draft, found in zip(drafts, earlier, strict=True):
            if found:
                kept.append(("changed", await store.definitions.change(found, draft)))
            else:
                kept.append(("created", await _create(store, draft, owner or "")))
        _warn_of_stranger(store, owner)
    return kept


async def _create(store: Store, draft: Draft, owner: str) -> Definition:
    return await store.definitions.create(draft, owner, store.accounts.id_of(owner))


async def _earlier(
    store: Store, draft: Draft, owner: str | None, *, replace: bool
) -> Definition | None:
    """Find the definition that a draft is to change, if there is one.

    Raises:
        DefinitionExists: it is not to be changed.
        Complaint: it is not the owner's who was given.
    """
    own = store.accounts.id_of(owner or "")
    scope = None if owner is None and replace else own
    try:
        found = await store.definitions.at(draft.path, scope, own)
    except DefinitionNotFound:
        return None
    if not replace:
        raise DefinitionExists(draft.path)
    if owner not in (None, found.owner):
        raise Complaint(f"{draft.path} is {found.owner or 'nobody'}'s; --replace keeps its owner")
    return found


# --- definitions, undefine, run -----------------------------------------------------------------


@click.command("definitions")
@configured
@click.argument("reference", type=text, required=False)
@json_option
def definitions_command(config: Config, reference: str | None, *, as_json: bool) -> None:
    """List all definitions, or show one: REFERENCE is its id, its uuid or its path.

    WHEN says when its schedule fires, NEXT its next time, in UTC. Secret headers are never shown.
    """
    if reference is not None:
        show(asyncio.run(_found(config, reference)), config, as_json=as_json)
        return
    now = clock.now()
    listed: Listed[Definition] = Listed(
        heads=("ID", "PATH", "NAME", "OWNER", "REQUEST", "WHEN", "NEXT"),
        row=lambda each: (
            each.id,
            each.draft.path,
            each.draft.name,
            each.owner,
            request_line(each),
            when(each),
            next_run(each, now),
        ),
        fields=partial(described, secret=store_limits(config).secret),
        none="There are no definitions.",
    )
    listed.write(asyncio.run(_all(config)), as_json=as_json)


async def _all(config: Config) -> list[Definition]:
    async with beside(config) as store:
        return [definition async for definition in store.definitions.all()]


async def _found(config: Config, reference: str) -> Definition:
    async with beside(config) as store:
        return await _find(store, reference)


@click.command("undefine")
@configured
@click.argument("reference", type=text)
@json_option
def undefine_command(config: Config, reference: str, *, as_json: bool) -> None:
    """Delete a definition: REFERENCE is its id, its uuid or its path.

    Its runs go on and stay in the history.
    """
    definition = asyncio.run(_undefine(config, reference))
    if as_json:
        write_json({"deleted": definition.id})
    else:
        tell(f"Definition {definition.id}, {definition.draft.path}, is deleted.")


async def _undefine(config: Config, reference: str) -> Definition:
    async with beside(config) as store:
        definition = await _find(store, reference)
        await store.definitions.delete(definition.id)
    return definition


@click.command("run")
@configured
@click.argument("reference", type=text)
@click.option(
    "--owner",
    type=text,
    metavar="NAME",
    help="The job's owner; default: the definition's.",
)
@json_option
def run_command(config: Config, reference: str, owner: str | None, *, as_json: bool) -> None:
    """Run a definition: REFERENCE is its id, its uuid or its path.

    A running server starts the job at once; otherwise it waits for the next start.
    """
    definition, job_id = asyncio.run(_run(config, reference, owner))
    if as_json:
        write_json({"id": job_id, "definition": definition.id})
    else:
        tell(f"Job {job_id} is queued: {request_line(definition)}")


async def _run(config: Config, reference: str, owner: str | None) -> tuple[Definition, int]:
    async with beside(config) as store:
        found = await _find(store, reference)
        target = target_of(config, found.draft.request.path)
        whose, account = found.owner, found.account
        if owner is not None:
            whose, account = owner, store.accounts.id_of(owner)
        run = found.run(target, Dialect.NATIVE, whose, Trigger.CLI, account)
        job_id = await store.submit(run)
        _warn_of_stranger(store, owner)
    return found, job_id


async def _find(store: Store, reference: str) -> Definition:
    """Find a definition by its id, its uuid or its path.

    Raises:
        DefinitionNotFound: it does not exist.
        DefinitionAmbiguous: several owners have one at this path.
    """
    if reference.startswith("/"):
        try:
            return await store.definitions.at(normal_path(reference))
        except ValueError:
            raise DefinitionNotFound(reference) from None
    return await store.definitions.find(*key_of(reference))


def _warn_of_stranger(store: Store, owner: str | None) -> None:
    """Warn if an owner has no account: after a typo, nobody would see the definition."""
    accounts = store.accounts.snapshot().accounts
    if owner and accounts and owner not in accounts:
        tell(f"jobstore: there is no account {owner}: only admins and readers can see it", err=True)
