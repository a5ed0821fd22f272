"""A store with a long past, as the dashboard shows it: many routes, owners and definitions.

``python -m trials.bench.full FILE JOBS`` makes one, with all of it counted, which takes a while.
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from jobstore.model import clock
from trials import serving
from trials.bench.questions import await_true
from trials.bench.stock import copying
from trials.screenshots import past, present
from trials.serving import Server

# How many jobs are made one by one; the others are copies that were submitted right after them.
_ORIGINALS: Final = 50_000
# How many there are of the past that the pictures show.
_USUAL: Final = 8_400
_PACE: Final = 1000  # microseconds between two copies
_TEAMS: Final = 20
_DEFINITIONS: Final = 50
# How long counting may take, in seconds.
_PATIENCE: Final = 3600.0
_KEPT: Final = "".join(f'{what} = "never"\n' for what in ("unfetched", "fetched", "history"))
_CONFIG: Final = f'[log]\nlevel = "error"\n\n[retention]\n{_KEPT}\n' + "".join(
    f'[[target]]\nprefix = "{prefix}"\napp = "jobstore.demo:create_app"\n\n'
    for prefix in ("/", "/v1", "/exports", "/reports")
)
_OF_COPY: Final = {
    "id": "(id - 1) * :each + n + 1",
    "path": f"iif(definition IS NULL, '/team-' || (n % {_TEAMS}), '') || path",
    "owner": f"owner || '-' || (n % {_TEAMS})",
    "result": "CASE n WHEN 0 THEN result ELSE 'expired' END",
    "purgeable_at": "CASE n WHEN 0 THEN purgeable_at END",
    "fetched_at": "CASE n WHEN 0 THEN fetched_at END",
}
# Everything that is derived from jobs is made anew.
_COUNTERS: Final = """
    UPDATE revision SET number = 0 WHERE of = 'counted';
    DELETE FROM period;
    DELETE FROM uncounted;
    UPDATE counter SET count = (SELECT count(*) FROM job WHERE job.state = counter.state)
    WHERE machine = 'job';
    UPDATE counter SET count = (SELECT count(*) FROM job WHERE job.result = counter.state)
    WHERE machine = 'result';
    ANALYZE;
"""
_COUNTED: Final = """
    SELECT number >= (SELECT max(id) FROM job) AND EXISTS (
        SELECT 1 FROM period WHERE seconds = 86400 AND kind = 'all'
        AND start > (SELECT max(submitted_at) FROM job) - 2 * 86400000000
    ) FROM revision WHERE of = 'counted'
"""


def build(path: Path, jobs: int) -> None:
    """Make a file with so many jobs of the last 30 days."""
    with server(path) as running:
        definitions = [_define(running, place) for place in range(_DEFINITIONS)]
        running.stop()
    each = max(1, round(jobs / _ORIGINALS))
    lines = past.lines(definitions, clock.now(), jobs / each / _USUAL)
    exported = path.with_suffix(".jsonl")
    exported.write_text("\n".join(lines) + "\n")
    _run(path, "import", str(exported))
    exported.unlink()
    with copying(path) as connection:
        _copy(connection, each)
    with server(path):
        await_true(path, _COUNTED, _PATIENCE)


@contextmanager
def server(path: Path) -> Iterator[Server]:
    """Serve it, and leave what lies in it as it is."""
    config = path.with_suffix(".toml")
    config.write_text(_CONFIG)
    arguments = serving.jobstore(path, "--config", str(config))
    with serving.serving(*arguments, folder=path.parent) as running:
        yield running


def _run(path: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "jobstore", *arguments, "--store", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _define(running: Server, place: int) -> Mapping[str, Any]:
    usual = present.DEFINITIONS[place % 3]
    own = {"name": f"{usual['name']} {place}", "path": f"{usual['path']}-{place}"}
    client = HTTPConnection("127.0.0.1", running.port)
    client.request("POST", "/_jobs/definitions", json.dumps({**usual, **own}))
    answer = client.getresponse()
    made: Mapping[str, Any] = json.load(answer)
    client.close()
    assert answer.status == 201, made
    return made


def _copy(connection: sqlite3.Connection, each: int) -> None:
    """Have so many of each job; all but the first of them have lost their payload."""
    columns = [row[1] for row in connection.execute("PRAGMA table_info(job)")]
    names = ", ".join(f'"{column}"' for column in columns)
    connection.execute("CREATE TEMP TABLE original AS SELECT * FROM job ORDER BY id DESC")
    for table in ("request", "response", "attempt", "event"):
        # From the last on, so that none meets one that is still to be changed.
        connection.execute(f"CREATE TEMP TABLE moved AS SELECT * FROM {table}")
        connection.execute(f"DELETE FROM {table}")
        connection.execute("UPDATE moved SET job_id = (job_id - 1) * ? + 1", [each])
        connection.execute(f"INSERT INTO {table} SELECT * FROM moved")
        connection.execute("DROP TABLE moved")
    connection.execute("DELETE FROM job")
    connection.execute(
        "WITH RECURSIVE number (n) AS"
        " (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :each)"
        f" INSERT INTO job ({names}) SELECT {', '.join(map(_copied, columns))}"
        " FROM original CROSS JOIN number ORDER BY original.id, n",
        {"each": each},
    )
    for statement in _COUNTERS.split(";"):
        connection.execute(statement)


def _copied(column: str) -> str:
    """Write what a copy has in a column."""
    if column.endswith("_at"):
        return _OF_COPY.get(column, f"{column} + n * {_PACE}")
    return _OF_COPY.get(column, f'"{column}"')


if __name__ == "__main__":
    build(Path(sys.argv[1]).absolute(), int(sys.argv[2]))
