"""Which jobs: the filters of `history`, for the commands that look at jobs or act on them."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from jobstore.cli.options import range_options, status, text, time, within
from jobstore.cli.places import Place
from jobstore.cli.plain import Complaint
from jobstore.model.clock import iso
from jobstore.model.lifecycle import State
from jobstore.store import questions
from jobstore.store.history import History
from jobstore.store.search import Search

F = TypeVar("F", bound=Callable[..., object])

NAMES: Final = (
    "states",
    "owner",
    "path",
    "definition",
    "tag",
    "status",
    "span",
    "since",
    "until",
    "running_at",
    "interrupted",
    "errors",
    "cancelled_by",
)
# What only a store itself can be asked.
_LOCAL: Final = {
    "running_at": "--running-at",
    "interrupted": "--interrupted",
    "cancelled_by": "--cancelled-by",
}
_PLAIN: Final = ("owner", "path", "tag")


def filter_options(command: F) -> F:
    """Give a command the options that say which jobs are meant."""
    for option in reversed(
        (
            click.option(
                "--state",
                "states",
                type=click.Choice([state.value for state in State]),
                multiple=True,
                help="Jobs in this state (done: answered, with any status); may be repeated.",
            ),
            click.option("--owner", type=text, metavar="NAME", help="Jobs of this owner."),
            click.option(
                "--path", type=text, metavar="PREFIX", help="Jobs whose path starts with this."
            ),
            click.option(
                "--definition",
                type=text,
                metavar="NAME",
                help="Runs of a definition: its name, path, uuid or id.",
            ),
            click.option("--tag", type=text, metavar="TAG", help="Jobs with this tag."),
            click.option(
                "--status", type=status, help="The answer's status: 404, or a class such as 5xx."
            ),
            range_options,
            click.option(
                "--running-at",
                type=time,
                metavar="TIME",
                help="Jobs that were running at TIME.",
            ),
            click.option(
                "--interrupted",
                is_flag=True,
                help="Jobs that were running when the last server died.",
            ),
            click.option(
                "--errors",
                is_flag=True,
                help="Jobs that failed, or were answered with status 400 or above.",
            ),
            click.option(
                "--cancelled-by", type=text, metavar="NAME", help="Jobs cancelled by NAME."
            ),
        )
    ):
        command = option(command)
    return command


def given(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a command's options that say which jobs are meant."""
    found = {name: asked[name] for name in NAMES}
    return {name: value for name, value in found.items() if value not in (None, (), False)}


async def search_of(history: History, place: Place, asked: Mapping[str, Any]) -> Search:
    """Return what the options look for in a store."""
    lowest, highest = asked["status"] or (None, None)
    named = asked["definition"]
    since, until = within(asked["span"], asked["since"], asked["until"])
    return Search(
        states=tuple(State(state) for state in asked["states"]) or None,
        owner=asked["owner"],
        path=asked["path"],
        tag=asked["tag"],
        definitions=named and await questions.definitions_named(history, named),
        lowest_status=lowest,
        highest_status=highest,
        running_at=asked["running_at"],
        cancelled_by=asked["cancelled_by"],
        errors=asked["errors"] or None,
        died=await place.death(history) if asked["interrupted"] else None,
        since=since,
        until=until,
    )


def query_of(asked: Mapping[str, Any]) -> dict[str, str]:
    """Return what the options look for at a server on another machine, by the names of its filters.

    Raises:
        Complaint: it cannot be asked for that.
    """
    for name, flag in _LOCAL.items():
        if asked[name]:
            raise Complaint(f"{flag}: this works on a store only, not with --url")
    named = asked["definition"]
    if named is not None and not named.isdigit():
        raise Complaint("--definition: expected an id; with --url, names are not looked up")
    return as_written(asked)


def as_written(asked: Mapping[str, Any]) -> dict[str, str]:
    """Write what the options say as filters have it."""
    words = {name: asked[name] for name in _PLAIN if asked[name] is not None}
    if asked["states"]:
        words["state"] = ",".join(asked["states"])
    if asked["definition"] is not None:
        words["definition"] = asked["definition"]
    if asked["status"] is not None:
        lowest, highest = asked["status"]
        words["status"] = str(lowest) if lowest == highest else f"{lowest // 100}xx"
    since, until = within(asked["span"], asked["since"], asked["until"])
    for name, at in (("since", since), ("until", until), ("running_at", asked["running_at"])):
        if at is not None:
            words[name] = iso(at)
    if asked["cancelled_by"] is not None:
        words["cancelled_by"] = asked["cancelled_by"]
    if asked["errors"]:
        words["error"] = "yes"
    return words | ({"interrupted": "true"} if asked["interrupted"] else {})
