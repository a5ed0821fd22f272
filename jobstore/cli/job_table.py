"""Jobs as the rows of a table, for people."""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Final

from rich.console import Console
from rich.text import Text

from jobstore.cli.plain import printable
from jobstore.cli.table import Column, Table
from jobstore.cli.wording import age, to_the_second, took
from jobstore.model import clock
from jobstore.model.job import Job
from jobstore.model.lifecycle import Result, State
from jobstore.model.target_state import WaitReason

# From this width on there is room for whole times beside the requests.
_WIDE: Final = 110
_LEAST_REQUEST: Final = 12
_MOST_OWNER: Final = 16

STATE_STYLES: Final = {
    State.QUEUED: "cyan",
    State.RUNNING: "bold blue",
    State.DONE: "green",
    State.FAILED: "red",
    State.CANCELLED: "yellow",
}
_STATUS_STYLES: Final = {1: "", 2: "green", 3: "cyan", 4: "yellow", 5: "red"}


class JobTable:
    """Write jobs, some at a time.

    Args:
        console: where to; if it is a terminal, the table is cut to its width.
        zone: in which times are written; None is UTC.
        askers: who asked for the cancellation of each job, by its id; None to leave that out. What
            is added to it is written, too.
        waits_for: tells what a job waits for that has not begun.
    """

    def __init__(
        self,
        console: Console,
        zone: tzinfo | None = None,
        askers: Mapping[int, str] | None = None,
        *,
        waits_for: Callable[[Job], WaitReason | None] = lambda _: None,
    ) -> None:
        self._zone = zone
        self._askers = {} if askers is None else askers
        self._now = clock.now()
        wide = not console.is_terminal or console.width >= _WIDE
        self._waits_for = waits_for
        columns: dict[Column, Callable[[Job], Text]] = {
            **_IDS,
            _STATE: self._state,
            **_STANDING,
            **({_SUBMITTED: self._submitted} if wide else {_AGE: self._age}),
            _TOOK: self._took,
            **({} if askers is None else {_CANCELLED_BY: self._asker}),
            **_ASKED,
        }
        self._cells = tuple(columns.values())
        self._table = Table(console, tuple(columns))

    def write(self, jobs: Sequence[Job]) -> None:
        """Write the next jobs."""
        self._table.write([[cell(job) for cell in self._cells] for job in jobs])

    def _state(self, job: Job) -> Text:
        return state_text(job, self._waits_for(job))

    def _age(self, job: Job) -> Text:
        return Text(age(job.submitted_at, self._now))

    def _submitted(self, job: Job) -> Text:
        return Text(to_the_second(job.submitted_at, self._zone))

    def _asker(self, job: Job) -> Text:
        return Text(printable(self._askers.get(job.id, "")))

    def _took(self, job: Job) -> Text:
        return Text(took(job, self._now))


def state_text(job: Job, waits_for: WaitReason | None = None) -> Text:
    """Write a job's state in its colour, and a word of what is unusual about it.

    Args:
        waits_for: what it waits for, if it has not begun.
    """
    if job.state is State.RUNNING and job.progress is not None:
        return Text(f"{job.state} {job.progress:.0f}%", STATE_STYLES[job.state])
    if waits_for in {WaitReason.PAUSED, WaitReason.HELD}:
        return Text(f"{job.state} ({waits_for})", "yellow")
    if job.state is State.DONE and not job.succeeded:
        return Text(f"{job.state} (error)", STATE_STYLES[State.FAILED])
    return Text(job.state, STATE_STYLES[job.state])


def status_style(status: int) -> str:
    """Choose the colour of a status code."""
    return _STATUS_STYLES.get(status // 100, "")


def _status(job: Job) -> Text:
    return Text("") if job.status is None else Text(str(job.status), status_style(job.status))


def _result(job: Job) -> Text:
    return Text(job.result, "bold" if job.result is Result.HELD else "dim")


_SUBMITTED: Final = Column("SUBMITTED")
_STATE: Final = Column("STATE")
_AGE: Final = Column("AGE", right=True)
_TOOK: Final = Column("TOOK", right=True)
_CANCELLED_BY: Final = Column("CANCELLED BY", most=_MOST_OWNER)
# What each column says of a job: first how it stands, and at last whose it is and what it asks.
_IDS: Final[Mapping[Column, Callable[[Job], Text]]] = {
    Column("ID", right=True): lambda job: Text(str(job.id)),
}
_STANDING: Final[Mapping[Column, Callable[[Job], Text]]] = {
    Column("STATUS", right=True): _status,
    Column("RESULT"): _result,
}
_ASKED: Final[Mapping[Column, Callable[[Job], Text]]] = {
    Column("OWNER", most=_MOST_OWNER, optional=True): lambda job: Text(printable(job.owner)),
    Column("REQUEST", least=_LEAST_REQUEST): lambda job: Text(
        printable(f"{job.method} {job.path}")
    ),
}
