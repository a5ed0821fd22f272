"""The templates; loaded by `pages` when the first page is requested.

All of them are read and compiled at once: later, the server may have no file descriptor left.
"""

from collections.abc import Mapping
from importlib import resources
from typing import Final

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markupsafe import Markup

from jobstore import __version__
from jobstore.dashboard import query
from jobstore.dashboard.assets import assets
from jobstore.model import clock, waiting_words, words
from jobstore.model.target_state import ClosedTarget

_TIME: Final = Markup('<time datetime="{machine}" title="{absolute}">{shown}</time>')


def ago(at: int) -> Markup:
    """Return a relative time, with the absolute time as a tooltip."""
    return _time(at, words.relative(at, clock.now()))


def when(at: int) -> Markup:
    """Write a time with its day."""
    return _time(at, words.absolute(at))


def at_time(at: int) -> Markup:
    """Write the time of day, where the day is known."""
    return _time(at, words.time_of_day(at))


def why_closed(target: ClosedTarget) -> str:
    """Say why the jobs of a target wait."""
    return waiting_words.why_closed(target, clock.now())


def when_jobs_fail(until: int) -> str:
    """Say when the jobs fail that wait for a target."""
    return waiting_words.when_jobs_fail(until, clock.now())


def _time(at: int, shown: str) -> Markup:
    return _TIME.format(machine=words.machine(at), absolute=words.absolute(at), shown=shown)


def _environment() -> Environment:
    folder = resources.files("jobstore.dashboard") / "templates"
    files = {each.name: each.read_text("utf-8") for each in folder.iterdir()}
    made = Environment(
        loader=DictLoader({name: text for name, text in files.items() if name.endswith(".html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        ago=ago,
        when=when,
        at_time=at_time,
        day=words.day,
        hour=words.hour,
        duration=words.duration,
        roughly=words.roughly,
        size=words.size,
        count=words.count,
        plural=words.plural,
        share=words.share,
        typical=words.typical,
        shown=words.shown,
        why_closed=why_closed,
        when_jobs_fail=when_jobs_fail,
        link=query.written,
    )
    made.globals.update(version=__version__, assets=assets().version)
    return made


def _templates() -> Mapping[str, Template]:
    environment = _environment()
    return {name: environment.get_template(name) for name in environment.list_templates()}


TEMPLATES: Final = _templates()
