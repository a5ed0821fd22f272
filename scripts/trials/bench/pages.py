"""How long the dashboard takes for its pages, with a full store behind them.

``python -m trials.bench.pages FILE`` measures a file that `trials.bench.full` has made.
"""

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from trials.bench import full, words
from trials.bench.figures import Case, Row, Sample, row
from trials.bench.plan import Plan
from trials.bench.questions import ask
from trials.serving import Server

KEYS: Final = ("pages",)
_JOBS: Final = 5_000_000
# How often each page is asked for, at least.
_TIMES: Final = 100
_MOUNT: Final = "/_jobs/ui/"
# What is asked for, by what it is called; names in braces are jobs, see `_WHICH`.
_PAGES: Final = {
    "jobs": "",
    "jobs, failed": "?state=failed",
    "jobs, errors of a day": "?since=24h&error=yes",
    "jobs of a path": "?path=/team-7/exports",
    "jobs, none found": "?owner=nobody",
    "jobs, none found in a week": "?since=7d&tag=none",
    "job": "{whole}",
    "job that went wrong": "{wrong}",
    "activity": "activity",
    "activity, 7 days": "activity?since=7d",
    "activity, 7 days by hour": "activity?since=7d&by=hour",
    "activity, 30 days": "activity?since=30d",
    "definitions": "definitions",
    "definition": "definitions/1",
    "targets": "targets",
    "statistics": "statistics",
    "statistics, 7 days by hour": "statistics?since=7d",
    "statistics, 30 days": "statistics?since=30d",
    "statistics by owner, 30 days": "statistics?by=owner&since=30d",
    "statistics by target, 30 days": "statistics?by=target&since=30d",
    "statistics by definition, 30 days": "statistics?by=definition&since=30d",
    "store": "store",
    "operations": "operations",
    "access": "access",
}
_JOB: Final = "SELECT max(job.id) FROM job JOIN response ON job_id = job.id WHERE {}"
# A part of a file is read at its first use, and a template compiled.
_WARM: Final = 5


def rows(plan: Plan) -> Iterator[Row]:
    """Measure all pages."""
    if plan.wants(*KEYS):
        with plan.yard() as yard:
            full.build(yard.file("full"), plan.many(_JOBS))
            yield from measured(yard.file("full"), plan.many(_TIMES))


def measured(path: Path, times: int) -> Iterator[Row]:
    """Measure all pages of the store in a file, one client that asks for one after the other."""
    jobs = {name: int(ask(path, _JOB.format(which))) for name, which in _WHICH.items()}
    with full.server(path) as server:
        for name, query in _PAGES.items():
            page = f"{_MOUNT}{query.format(**jobs)}"
            case = Case("pages", f"page: {name}", "ms", partial(_asked, server, page, times))
            yield row(case, [case.measure()])


_WHICH: Final = {"whole": "state = 'done'", "wrong": "state = 'failed'"}


def _asked(server: Server, page: str, times: int) -> Sample:
    """Ask for a page again and again; the figure is the processor time that 95 in 100 stay below.

    Its own janitor works in the server meanwhile, as it always does.
    """
    cpu, wall, size = list[float](), list[float](), 0
    with closing(HTTPConnection("127.0.0.1", server.port)) as client:
        for number in range(_WARM + times):
            before, began = _used(server.pid), time.perf_counter()
            client.request("GET", page, headers={"Accept": "text/html"})
            answer = client.getresponse()
            size = len(answer.read())
            assert answer.status == 200, (page, answer.status)
            if number >= _WARM:
                wall.append((time.perf_counter() - began) * 1e3)
                cpu.append((_used(server.pid) - before) * 1e3)
    return Sample(
        _percent(cpu, 95),
        cpu=statistics.median(cpu) * 1e3,
        p50=statistics.median(wall),
        p99=_percent(wall, 99),
        more={"wall_p95_ms": _percent(wall, 95), "kib": size / 1024},
    )


def _used(pid: int) -> float:
    """Tell how many seconds of processor time a process has used: clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


def _percent(values: Sequence[float], percent: int) -> float:
    return sorted(values)[(len(values) * percent - 1) // 100]


if __name__ == "__main__":
    for each in measured(Path(sys.argv[1]).absolute(), _TIMES):
        print(words.line(each), flush=True)
