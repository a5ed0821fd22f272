"""The Store page: where the store is, its size, what will be deleted when, and its servers."""

from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web

from jobstore import __version__
from jobstore.dashboard.pages import render
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.live.census import about
from jobstore.live.health import Health
from jobstore.live.janitor import Retention
from jobstore.live.store_facts import COUNTED_TO, StoreFacts, store_facts
from jobstore.model import clock, words
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import Result, State
from jobstore.store.starts import Start, StartState

# A log beside the file that is longer than this in bytes is not being cut.
_LONG_LOG: Final = 256 * 2**20


@frozen(kw_only=True)
class Warned:
    """A warning for operators.

    Args:
        bad: whether submissions are refused meanwhile.
    """

    words: str
    bad: bool = False


async def show(visit: Visit) -> web.Response:
    """Show the facts about the store."""
    visit.visitor.seeing_all()
    store = visit.store
    facts = await store_facts(store, visit.retention, clock.now)
    checks = await Health(store).checks()
    wrong = [Warned(words=clause, bad=True) for clause in checks.values() if clause]
    return render(
        visit.request,
        "store.html",
        facts=facts,
        schema=about()["schema"],
        running=__version__,
        warnings=[*wrong, *warnings(facts)],
        jobs=[(state, facts.counters.get(("job", state), 0)) for state in State],
        results=[
            (result, facts.counters.get(("result", result), 0))
            for result in Result
            if result is not Result.NONE
        ],
        retention=retention_words(visit.retention, facts),
        shared=any(start.name for start in facts.starts),
    )


def warnings(facts: StoreFacts) -> Iterator[Warned]:
    """Return what operators should look at, even if everything works."""
    log = facts.sizes.wal
    if log is not None and log > _LONG_LOG:
        yield Warned(
            words=f"the log beside the file has {words.size(log)}: a program that reads the file "
            "for a long time keeps it from being truncated, or no program checkpoints it"
        )
    for start in facts.starts:
        if start.state is StartState.SILENT:
            yield Warned(words=f"node {start.name} was not seen for a while: its jobs wait for it")
    versions = sorted({each.version for each in _alive(facts.starts)})
    if len(versions) > 1:
        yield Warned(words=f"nodes of several versions work on the store: {', '.join(versions)}")


def _alive(starts: Sequence[Start]) -> Iterator[Start]:
    return (start for start in starts if start.state is StartState.ALIVE)


def retention_words(retention: Retention, facts: StoreFacts) -> list[str]:
    """Describe the retention times, and what will be deleted within a day."""
    expiring, purging = _many(facts.expiring, "result"), _many(facts.purging, "job")
    return [
        "A result that nobody fetches is kept for ever."
        if retention.unfetched is None
        else f"A result that nobody fetches expires {_after(retention.unfetched)} its job has "
        f"ended: {expiring} within a day.",
        "The headers and bodies of a job are kept as long as the job."
        if retention.fetched is None
        else f"The headers and bodies of a job go {_after(retention.fetched)} its result was "
        f"fetched, deleted or has expired: those of {purging} within a day.",
        "What happened to jobs is kept for ever."
        if retention.history is None
        else f"A job is forgotten {_after(retention.history)} its end, unless its result can be "
        "fetched; the figures of Activity and Statistics are kept.",
    ]


def _after(seconds: float) -> str:
    return f"{words.roughly(int(seconds * SECOND))} after" if seconds else "as soon as"


def _many(count: int | None, word: str) -> str:
    if count is None:
        return f"more {word}s than can be counted in a moment"
    if count >= COUNTED_TO:
        return f"{count:,} or more {word}s"
    return words.plural(count, word)


ROUTES: Final[Routes] = (PageRoute("GET", "store", show),)
