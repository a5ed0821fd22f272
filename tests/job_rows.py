"""Rows of jobs, put into a store without any of its code."""

import sqlite3
from typing import Any

from jobstore.model.lifecycle import ENDED, Result
from tests.stores import START


def a_job(state: str, result: str, **differing: Any) -> dict[str, Any]:
    """Make the row of a job, whose times are those that its state and its result need."""
    return {
        "state": state,
        "result": result,
        "dialect": "arango",
        "owner": "",
        "target": "/",
        "method": "GET",
        "path": "/",
        "priority": 0,
        "attempt": 1,
        "boot": 1,
        "submitted_at": START,
        "started_at": START,
        "finished_at": START if state in set(ENDED) else None,
        "fetched_at": START if result == Result.TAKEN else None,
        "warnings": 0,
    } | differing


def insert(file: sqlite3.Connection, job: dict[str, Any]) -> int:
    """Put a row in, and return its id."""
    names, places = ", ".join(job), ", ".join(f":{name}" for name in job)
    job_id = file.execute(f"INSERT INTO job ({names}) VALUES ({places})", job).lastrowid
    assert job_id is not None
    return job_id
