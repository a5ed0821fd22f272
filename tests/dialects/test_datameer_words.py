"""Datameer's words for a job: what its documentation prints, and what it leaves open."""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobstore.dialects.datameer import words
from jobstore.model.clock import SECOND
from jobstore.model.definition import Definition, Draft
from jobstore.model.job import Dialect, Job, Trigger
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Request

UTC = ZoneInfo("UTC")


def at(text: str) -> int:
    """Read a time as the documentation prints it, in microseconds since 1970."""
    return int(datetime.strptime(f"{text} +0000", "%b %d, %Y %I:%M:%S %p %z").timestamp() * SECOND)


def a_definition(file_id: int) -> Definition:
    request = Request(method="GET", path="/")
    draft = Draft(name="a", path="/a", request=request)
    uuid = "0b8f0a52-7e8c-4f0e-8d5e-3f6f6d4c1a11"
    return Definition(
        id=1, file_id=file_id, uuid=uuid, owner="", created_at=0, changed_at=0, draft=draft
    )


def a_job(job_id: int, state: State, **differing: Any) -> Job:
    """Make a job that is an ordinary run but for what is given."""
    ordinary = {
        "id": job_id,
        "state": state,
        "result": Result.NONE,
        "dialect": Dialect.DATAMEER,
        "definition": 1,
        "trigger": Trigger.RESTAPI,
        "counters": {},
        "once": False,
        "status": 200 if state is State.DONE else None,
    }
    numbers = dict.fromkeys(
        ("priority", "attempt", "submitted_at", "warnings", "retried", "account"), 0
    )
    texts = dict.fromkeys(("owner", "target", "method", "path"), "")
    times = dict.fromkeys(("started_at", "finished_at", "fetched_at", "cancel_asked_at"))
    rest = dict.fromkeys(("failure", "detail", "progress", "tag", "follows", "not_before"))
    return Job(**{**ordinary, **numbers, **texts, **times, **rest, **differing})


@pytest.mark.parametrize(
    ("job", "printed"),
    [
        (a_job(49, State.RUNNING), '{"id": 49, "jobStatus": "RUNNING"}'),
        (a_job(30, State.DONE), '{"id": 30, "jobStatus": "COMPLETED"}'),
        (
            a_job(32, State.DONE, warnings=1),
            '{"id": 32, "jobStatus": "COMPLETED_WITH_Warnings"}',
        ),
        (a_job(36, State.FAILED), '{"id": 36, "jobStatus": "ERROR"}'),
        (a_job(39, State.CANCELLED), '{"id": 39, "jobStatus": "CANCELED"}'),
    ],
)
def test_the_status_of_a_job_is_what_the_documentation_prints(job: Job, printed: str) -> None:
    assert words.short(job) == json.loads(printed)


EVENING = {"started_at": at("Sep 28, 2018 6:44:56 PM")}
MORNING = {"started_at": at("Sep 28, 2018 10:09:47 AM")}


@pytest.mark.parametrize(
    ("file_id", "job", "printed"),
    [
        (
            48,
            a_job(3, State.RUNNING, **EVENING),
            """{"status": "success", "file-id": 48, "job-execution-id": 3, "job-status": "RUNNING",
            "start-time": "Sep 28, 2018 6:44:56 PM", "estimate-time":"11s", "job-progress":"0"}""",
        ),
        (
            48,
            a_job(3, State.DONE, **EVENING, finished_at=at("Sep 28, 2018 6:44:58 PM")),
            """{"status": "success", "file-id": 48, "job-execution-id": 3, "job-status":
            "COMPLETED", "start-time": "Sep 28, 2018 6:44:56 PM",
            "stop-time": "Sep 28, 2018 6:44:58 PM"}""",
        ),
        (
            46,
            a_job(4, State.DONE, warnings=2, **MORNING, finished_at=at("Sep 28, 2018 10:09:52 AM")),
            """{"status": "success", "file-id": 46, "job-execution-id": 4,
            "job-status": "COMPLETED_WITH_WARNINGS", "start-time": "Sep 28, 2018 10:09:47 AM",
            "stop-time": "Sep 28, 2018 10:09:52 AM"}""",
        ),
        (
            48,
            a_job(4, State.QUEUED),
            """{"status": "success", "file-id": 48, "job-execution-id": 4, "job-status": "QUEUED",
            "start-time": null}""",
        ),
        (
            48,
            a_job(4, State.CANCELLED, finished_at=at("Sep 28, 2018 6:58:41 PM")),
            """{"status": "success", "file-id": 48, "job-execution-id": 4, "job-status": "CANCELED",
            "start-time": null, "stop-time": "Sep 28, 2018 6:58:41 PM"}""",
        ),
    ],
)
def test_the_status_of_a_file_is_what_the_documentation_prints(
    file_id: int, job: Job, printed: str
) -> None:
    assert words.status_of(a_definition(file_id), job, 11.2, UTC) == json.loads(printed)


def test_the_answers_to_never_run_and_just_triggered_are_what_the_documentation_prints() -> None:
    assert words.never_run() == json.loads('{"status": "success", "job-status": "_NONE"}')
    assert words.triggered(3, "analyst") == json.loads(
        """{"status": "success", "job-execution-id": 3, "job-execution-user": "analyst",
        "job-execution-trigger": "RESTAPI"}"""
    )


@pytest.mark.parametrize(
    ("job", "word"),
    [
        (a_job(1, State.QUEUED), "QUEUED"),
        (a_job(1, State.QUEUED, follows=7), "WAITING_FOR_OTHER_JOB"),
        (a_job(1, State.RUNNING), "RUNNING"),
        (a_job(1, State.RUNNING, warnings=1, cancel_asked_at=1), "RUNNING"),
        (a_job(1, State.DONE), "COMPLETED"),
        (a_job(1, State.DONE, status=399), "COMPLETED"),
        (a_job(1, State.DONE, status=400), "ERROR"),
        (a_job(1, State.DONE, status=500, warnings=1), "ERROR"),
        (a_job(1, State.FAILED, status=504), "ERROR"),
        (a_job(1, State.CANCELLED, status=410, warnings=1, follows=7), "CANCELED"),
    ],
)
def test_each_state_has_its_word_in_both_generations(job: Job, word: str) -> None:
    assert (words.status(job), words.status_v2(job)) == (word, word)


@pytest.mark.parametrize(
    ("moment", "zone", "date", "timestamp"),
    [
        ("2018-09-28T16:44:56+00:00", "Europe/Berlin", "Sep 28, 2018 6:44:56 PM", "18:44:56.0"),
        ("2012-07-06T18:19:09+00:00", "UTC", "Jul 6, 2012 6:19:09 PM", "18:19:09.0"),
        ("2024-01-01T00:00:00.95+00:00", "UTC", "Jan 1, 2024 12:00:00 AM", "00:00:00.9"),
        ("2024-12-31T12:05:07.3+00:00", "UTC", "Dec 31, 2024 12:05:07 PM", "12:05:07.3"),
        ("2024-05-31T23:59:59.999999+00:00", "UTC", "May 31, 2024 11:59:59 PM", "23:59:59.9"),
        ("2024-03-31T01:00:00+00:00", "Europe/Berlin", "Mar 31, 2024 3:00:00 AM", "03:00:00.0"),
    ],
)
def test_times_are_written_in_english_without_leading_zeros_and_in_the_servers_zone(
    moment: str, zone: str, date: str, timestamp: str
) -> None:
    microseconds = round(datetime.fromisoformat(moment).timestamp() * SECOND)
    assert words.date(microseconds, ZoneInfo(zone)) == date
    assert str(words.timestamp(microseconds, ZoneInfo(zone))).endswith(f" {timestamp}")
    assert (words.date(None, UTC), words.timestamp(None, UTC)) == (None, None)


@pytest.mark.parametrize(
    ("elapsed", "usual", "progress", "left"),
    [
        (10, 25, 90, 15),
        (10, 25, None, 15),
        (30, 25, 10, 0),
        (10, None, 25, 30),
        (10, None, 100, 0),
        (10, None, 0, 0),
        (10, None, None, 0),
        (10, None, 5e-324, words.CENTURY),
    ],
)
def test_how_long_a_job_may_still_take_is_told_by_earlier_ones_or_else_by_its_progress(
    elapsed: float, usual: float | None, progress: float | None, left: float
) -> None:
    assert words.seconds_left(elapsed, usual, progress) == left
