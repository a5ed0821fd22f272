"""What a job's time went into, drawn: each span where it belongs, whatever its length."""

import itertools
import re
from dataclasses import replace
from typing import Final

import pytest

from jobstore.dashboard.assets import assets
from jobstore.dashboard.draw.spans import spans
from jobstore.dashboard.draw.svg import LETTER
from jobstore.dashboard.draw.waterfall import NARROW, waterfall
from jobstore.model.clock import SECOND
from jobstore.model.job import Attempt, Dialect, Failure, Job, Moment
from jobstore.model.lifecycle import Result, State
from tests.stores import START

QUEUED: Final = Job(
    id=1,
    state=State.QUEUED,
    result=Result.NONE,
    dialect=Dialect.ARANGO,
    owner="",
    target="/",
    method="GET",
    path="/",
    priority=0,
    attempt=0,
    submitted_at=START,
    started_at=None,
    finished_at=None,
    fetched_at=None,
    cancel_asked_at=None,
    status=None,
    failure=None,
    detail=None,
    progress=None,
    counters={},
    warnings=0,
    tag=None,
    once=False,
    definition=None,
    trigger=None,
    follows=None,
    retried=0,
    not_before=None,
    account=0,
)


def at(seconds: float) -> int:
    """Give the time so many seconds after the submission."""
    return START + int(seconds * SECOND)


def tried(number: int, start: float, end: float | None, status: int | None = None) -> Attempt:
    """Make an attempt; without a status, one that was interrupted or still runs."""
    failure = Failure.INTERRUPTED if status is None and end is not None else None
    return Attempt(number, at(start), None if end is None else at(end), status, failure, None)


def ended(attempt: int, seconds: float, status: int = 200) -> Job:
    """Make a job that was answered at its so many-th attempt."""
    return replace(
        QUEUED,
        state=State.DONE,
        result=Result.HELD,
        attempt=attempt,
        started_at=at(0),
        finished_at=at(seconds),
        status=status,
    )


def bars(drawn: str) -> list[tuple[str, float, float]]:
    """Read the bars of a drawing: their kinds, where they begin, and how long they are."""
    found = re.findall(r'<rect class="b-(\w+)" x="([\d.]+)" y="\d+" width="([\d.]+)"', drawn)
    return [(kind, float(x), float(width)) for kind, x, width in found]


def test_spans_follow_one_another_from_the_submission_to_the_end() -> None:
    attempts = [tried(1, 1, 2, 503), tried(2, 4, 5), tried(3, 6, 8, 200)]
    happened = [
        Moment(job_id=1, at=at(2), event="retried", detail=None),
        Moment(job_id=1, at=at(5.5), event="recovered", detail=None),
    ]
    found = spans(ended(3, 8), attempts, happened, at(9))
    assert [(each.name, each.kind, each.label) for each in found] == [
        ("waiting", "wait", "1.0 s"),
        ("attempt 1", "fail", "503 after 1.0 s"),
        ("backoff", "wait", "2.0 s"),
        ("attempt 2", "fail", "interrupted after 1.0 s"),
        ("restart", "wait", "1.0 s, the server was started again"),
        ("attempt 3", "done", "200 after 2.0 s"),
    ]
    drawn = waterfall(ended(3, 8), attempts, happened, at(9))
    placed = bars(drawn)
    assert [kind for kind, _, _ in placed] == ["wait", "fail", "wait", "fail", "wait", "done"]
    for (_, x, width), (_, following, _) in itertools.pairwise(placed):
        assert abs(x + width - following) < 0.2
    assert placed[5][2] == 2 * placed[3][2]
    assert drawn.count('class="death"') == 1
    assert "held since" in drawn
    assert "attempt 2: interrupted after 1.0 s" in drawn  # in its label, for who cannot see it


def test_on_a_narrow_screen_the_words_stand_above_the_bars() -> None:
    attempts = [tried(1, 1, 2, 503), tried(2, 900, 960, 200)]
    happened = [Moment(job_id=1, at=at(5), event="held", detail="refused")]
    drawn = waterfall(ended(2, 960), attempts, happened, at(1000), NARROW)
    assert [kind for kind, _, _ in bars(drawn)] == ["wait", "fail", "wait", "done"]
    assert max(x + width for _, x, width in bars(drawn)) <= NARROW.right
    longest = "14 min 58 s, its target could not be reached"
    (x,) = re.findall(rf'<text x="([\d.]+)" y="\d+.0" text-anchor="start">{longest}<', drawn)
    assert float(x) + len(longest) * LETTER < NARROW.width + 5  # which is a letter less
    assert len(re.findall(r'text-anchor="middle">', drawn)) <= NARROW.most_ticks + 1
    assert "held since" in drawn


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("status 503; retrying in 2 s (Retry-After: 2 s)", "2.0 s (Retry-After: 2 s)"),
        ("status 503; retrying in 2 s", "2.0 s"),
        ("no (Retry-After: 9 s); retrying in 2 s", "2.0 s"),  # which the target said
        ("retrying in 9 s (Retry-After: 9 s): no; retrying in 2 s", "2.0 s"),
    ],
)
def test_only_what_is_said_of_a_pause_is_said_beside_it(said: str, label: str) -> None:
    first = replace(tried(1, 0, 1, 503), detail=said)
    found = spans(ended(2, 4), [first, tried(2, 3, 4, 200)], [], at(4))
    assert [each.label for each in found if each.name == "backoff"] == [label]


def test_a_wait_that_is_far_longer_than_all_else_is_cut() -> None:
    drawn = waterfall(ended(1, 3601), [tried(1, 3600, 3601, 200)], [], at(3601))
    (_, _, wait), (_, _, run) = bars(drawn)
    assert run > wait > 100
    assert drawn.count('class="cut"') == 1
    assert ">1 h 00 min<" in drawn


def test_what_waits_for_its_time_shows_when_that_is() -> None:
    drawn = waterfall(replace(QUEUED, not_before=at(60)), [], [], at(15))
    ((kind, x, width),) = bars(drawn)
    (now,) = re.findall(r'<line class="now" x1="([\d.]+)"', drawn)
    assert kind == "wait"
    assert abs(float(now) - (x + width / 4)) < 1


def test_of_many_attempts_the_first_and_the_last_are_drawn() -> None:
    attempts = [tried(n, 2 * n, 2 * n + 1, 503) for n in range(1, 41)]
    names = [each.name for each in spans(ended(40, 81, 503), attempts, [], at(81))]
    assert names[:3] == ["waiting", "attempt 1", "…"]
    assert names[-1] == "attempt 40"
    assert len(names) <= 15


def test_a_job_that_took_no_time_at_all_is_drawn() -> None:
    drawn = waterfall(ended(1, 0), [tried(1, 0, 0, 200)], [], at(0))
    assert [width for _, _, width in bars(drawn)] == [2.0, 2.0]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["wait", "fail", "done", "run", "warn"])
def test_what_stands_on_a_bar_can_be_read(kind: str, theme: int) -> None:
    style = assets().contents["jobs.css"].decode()
    pairs = re.findall(r"--([a-z-]+): (?:light-dark\()?(#\w{6})(?:, (#\w{6})\))?;", style)
    light = {name: _light(colours[theme] or colours[0]) for name, *colours in pairs}
    letters = light["text" if kind == "wait" else "on-fill"]
    darker, lighter = sorted((letters, light[f"{kind}-fill"]))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_the_letters_on_a_bar_that_fills_the_drawing_are_of_a_colour_that_suits_it() -> None:
    waits = waterfall(
        QUEUED, [], [Moment(job_id=1, at=at(0), event="held", detail="refused")], at(600)
    )
    assert '<text class="lab strong" x="128.0"' in waits
    failed = waterfall(ended(1, 600), [tried(1, 0, 600)], [], at(600))
    assert re.search(r'<text class="inside"[^>]*>interrupted after 10 min 00 s<', failed)


def _light(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG 2.2 defines it."""
    parts = [int(part, 16) / 255 for part in re.findall("[0-9a-f]{2}", colour)]
    red, green, blue = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
