"""How a definition is shown: all of it, or in a line of a list."""

from collections.abc import Iterator
from typing import Final

from rich.text import Text

from jobstore.cli import content
from jobstore.cli.content import Excerpt
from jobstore.cli.plain import printable, write_json
from jobstore.cli.table import write_facts
from jobstore.cli.terminal import stdout, write
from jobstore.cli.wording import to_the_second
from jobstore.config import Config
from jobstore.config.limits import store_limits
from jobstore.model import clock
from jobstore.model.definition import Definition, described
from jobstore.model.schedule import Schedule, next_fires
from jobstore.model.schedule_words import in_words

_MOST_OF_BODY: Final = 4096
_INDENT: Final = 2
_NEXT_RUNS: Final = 5  # how many of the times at which it will run are shown


def show(definition: Definition, config: Config, *, as_json: bool) -> None:
    """Write everything about a definition, without its secrets."""
    fields = described(definition, store_limits(config).secret)
    if as_json:
        write_json(fields, pretty=True)
        return
    console, request = stdout(), definition.draft.request
    write(console, Text(printable(f"Definition {definition.id}  {definition.draft.path}"), "bold"))
    facts = {name.capitalize(): fact for name, fact in _facts(definition).items() if fact}
    write_facts(console, [(name, Text(printable(fact))) for name, fact in facts.items()])
    write(console, Text("\nRequest", "bold"))
    write(console, Text(printable(request_line(definition)), "bold"), _INDENT)
    for name, value in _shown(fields["headers"]):
        line = Text.assemble((f"{printable(name)}: ", "cyan"), printable(value))
        write(console, line, _INDENT)
    assert isinstance(request.body, bytes)
    if request.body:
        console.print()
        part = Excerpt(request.body[:_MOST_OF_BODY], len(request.body))
        write(console, content.as_text(part), _INDENT)


def when(definition: Definition) -> str:
    """Say in words when its schedule fires, as the dashboard does; "" if it has none."""
    schedule = definition.draft.schedule
    return "" if schedule is None else in_words(schedule)


def next_run(definition: Definition, now: int) -> str:
    """Say when it runs next by its schedule; "" if it has none."""
    schedule, fires_at = definition.draft.schedule, definition.fires_at
    if schedule is None:
        return ""
    if schedule.paused:
        return "paused"
    if fires_at is None:
        return "never"
    return "due now" if fires_at <= now else to_the_second(fires_at)


def _facts(definition: Definition) -> dict[str, str | None]:
    draft, policy = definition.draft, definition.draft.policy
    return {
        "name": draft.name,
        "uuid": definition.uuid,
        "file id": str(definition.file_id),
        "owner": definition.owner,
        "timeout": f"{policy.timeout:g}s" if policy.timeout else None,
        "replay": policy.replay,
        "retries": None if policy.retries is None else str(policy.retries),
        "schedule": _schedule(draft.schedule),
        "next runs": ", ".join(_next_runs(draft.schedule)),
        "created": to_the_second(definition.created_at),
        "changed": to_the_second(definition.changed_at),
    }


def _schedule(schedule: Schedule | None) -> str | None:
    if schedule is None:
        return None
    policy = f"catch up {schedule.catch_up}, overlap {schedule.overlap}"
    paused = ", paused" if schedule.paused else ""
    return f"{schedule.cron} in {schedule.time_zone}, {policy}{paused}"


def _next_runs(schedule: Schedule | None) -> list[str]:
    return [to_the_second(at) for at in next_fires(schedule, clock.now(), _NEXT_RUNS)]


def _shown(headers: dict[str, str | list[str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        yield from ((name, each) for each in ([value] if isinstance(value, str) else value))


def request_line(definition: Definition) -> str:
    """Return the method and the path of its request."""
    request = definition.draft.request
    return f"{request.method} {request.path}"
