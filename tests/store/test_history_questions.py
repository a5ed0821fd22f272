"""What people ask the history, with nothing but the file: what took long, who did it, and so on."""

import asyncio
import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from pyarrow import parquet

from jobstore.model.clock import SECOND
from jobstore.model.definition import Draft
from jobstore.model.job import Failure, Policy, Trigger
from jobstore.model.message import Request
from jobstore.model.retry import AttemptEnded
from jobstore.store.windows import WIDEST
from tests.client import Client
from tests.commands import be_beside, refused, said
from tests.conftest import Start
from tests.engines import engine
from tests.stock import Stock, stocked
from tests.stores import execute, rows, states, stopped

START = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z, a Tuesday
HOUR = 3600 * SECOND


@pytest.fixture(autouse=True)
def _elsewhere(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_beside(store_path, monkeypatch)


def listed(*arguments: object) -> list[int]:
    return [job["id"] for job in told("history", "--json", *arguments)]


def told(*arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said(*arguments).splitlines()]


def draft(name: str, path: str) -> Draft:
    return Draft(name=name, path=path, request=Request(method="GET", path="/a"))


async def took(stock: Stock, path: str, seconds: float, status: int = 200, **values: Any) -> int:
    """Run a job for so long."""
    claim = await stock.running(path, **values)
    stock.clock.move(seconds)
    await stock.finish(claim, status)
    return claim.job_id


# --- which jobs ---------------------------------------------------------------------------------


def test_the_runs_of_a_definition_are_found_by_its_name_path_uuid_or_id(store_path: Path) -> None:
    async def runs(stock: Stock) -> None:
        made = await stock.store.definitions.create(draft("nightly", "/d/nightly"), "root")
        await stock.done("/a", definition=made.id, trigger=Trigger.CLI)
        await stock.done("/b")

    stocked(store_path, runs, START)
    ((uuid,),) = rows(store_path, "SELECT uuid FROM definition")
    for reference in ("nightly", "/d/nightly", uuid, "1"):
        assert listed("--definition", reference) == [1]
    assert [job["definition_name"] for job in told("history", "--json")] == [None, "nightly"]
    assert refused("history", "--definition", "x") == "jobstore: no definition x\n"


def test_a_job_is_found_by_its_tag(store_path: Path) -> None:
    async def tagged(stock: Stock) -> None:
        await stock.done("/a", tag="mine")
        await stock.done("/b")

    stocked(store_path, tagged, START)
    assert listed("--tag", "mine") == [1]
    assert listed("--tag", "min") == []


def test_what_was_running_at_a_moment_is_found_whatever_became_of_it(store_path: Path) -> None:
    async def various(stock: Stock) -> None:
        await took(stock, "/before", 10)
        claim = await stock.running("/retried", policy=Policy(retries=1))
        stock.clock.move(10)
        ended = AttemptEnded(failure=Failure.TIMEOUT, detail="too slow")
        await stock.store.attempts.retry(claim, 3600, ended)
        long = await stock.running("/long")
        stock.clock.move(10)
        await stock.running("/still")
        await stock.queued("/never")
        stock.clock.move(10)
        await stock.finish(long)

    stocked(store_path, various, START)
    assert listed("--running-at", "2023-11-14T22:13:25") == [1]
    assert listed("--running-at", "2023-11-14T22:13:35") == [2]
    assert listed("--running-at", "2023-11-14T22:13:45") == [3]
    assert listed("--running-at", "2023-11-14T22:13:55") == [4, 3]
    assert listed("--running-at", "2023-11-15") == [4]
    assert listed("--running-at", "2023-11-14") == []


def test_a_range_says_when_jobs_were_submitted_in_any_zone(store_path: Path) -> None:
    async def hourly(stock: Stock) -> None:
        for _ in range(4):
            await stock.done()
            stock.clock.move(3600)

    stocked(store_path, hourly, START)  # at 22:13, 23:13, 00:13 and 01:13
    assert listed("--range", "2023-11-14") == [2, 1]
    assert listed("--range", "2023-11-14", "--zone", "Europe/Berlin") == [1]
    assert listed("--zone", "Asia/Kolkata", "--range", "2023-11-15..") == [4, 3, 2, 1]
    assert listed("--range", "2023-11-14 23:00..2023-11-15 00:30") == [3, 2]
    assert listed("--range", "last 7 days") == []
    table = said("history", "--zone", "Asia/Kolkata", "--limit", 1)
    assert "2023-11-15T06:43:20+05:30" in table


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--range", "2023-11-15..2023-11-14"], "the range ends before it begins."),
        (["--since", "2023-11-15", "--until", "2023-11-14"], "the range ends before it begins."),
        (["--range", "soon"], "'soon' is no range of times such as today, yesterday,"),
        (["--range", "today", "--since", "1h"], "--range cannot be used with --since or --until"),
        (["--zone", "Europe/Bärlin"], "there is no time zone 'Europe/Bärlin'; expected a name"),
        (["--zone", "Europe/Berlim"], "did you mean Europe/Berlin?"),
        (["--zone", ""], "there is no time zone ''"),
        (["--zone", "../../etc/passwd"], "there is no time zone"),
        (["--zone", "Europe"], "there is no time zone 'Europe'"),
        (["--running-at", "soon"], "'soon' is neither a time such as"),
        (["--longest", "--activity"], "--longest, --stats and --activity cannot be used together"),
        (["--stats=owner"], "'owner' is not one of 'path', 'route', 'definition'."),
        (["--csv", "--parquet", "x"], "--json, --csv and --parquet cannot be used together"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    store_path: Path, options: list[str], complaint: str
) -> None:
    async def one(stock: Stock) -> None:
        await stock.done()

    stocked(store_path, one, START)
    assert complaint in " ".join(refused("history", *options, code=2).split())


# --- who cancelled it ---------------------------------------------------------------------------


def test_who_asked_for_a_cancellation_is_known_whether_the_job_ran_or_not(
    store_path: Path,
) -> None:
    async def cancelled(stock: Stock) -> None:
        await stock.store.cancel(await stock.queued("/waiting"), by="alice")
        claim = await stock.running("/running")
        await stock.store.cancel(claim.job_id, by="alice")
        await stopped(stock.store, claim, "stopped in time")
        await stock.store.cancel(await stock.queued("/bobs"), by="bob")
        await stock.store.cancel(await stock.queued("/nobodys"))

    stocked(store_path, cancelled, START)
    assert listed("--cancelled-by", "alice") == [2, 1]
    assert listed("--cancelled-by", "ali") == []
    by = [job["cancelled_by"] for job in told("history", "--json", "--state", "cancelled")]
    assert by == [None, "bob", "alice", "alice"]
    heads, *jobs = said("history", "--state", "cancelled").splitlines()
    column = heads.index("CANCELLED BY")
    assert [line[column : column + 5].strip() for line in jobs] == ["", "bob", "alice", "alice"]
    assert "cancelled before it ran, by alice" in said("show", 1)
    assert "(by alice)" in said("show", 2)


# --- what was running when the server died ------------------------------------------------------


@pytest.mark.file  # a node that was killed may live, until its lease is over
async def test_what_was_running_when_the_server_was_killed_is_told_before_and_after_the_next_start(
    store_path: Path,
    http: ClientSession,
    server_process: Start,
) -> None:
    server = await server_process("--app", "tests.gates:create_app")
    client = Client(http, server.url)
    over = await client.submit("/started")
    await client.ended(over)
    repeatable = await client.submit("/wait/a")
    unrepeatable = await client.submit("/wait/b", "POST")
    for name in ("a", "b"):
        await client.when(name, "started")
    pid = server.process.pid
    await server.kill()
    interrupted = await asyncio.to_thread(listed, "--interrupted")
    assert interrupted == [unrepeatable, repeatable]
    again = await server_process("--app", "tests.gates:create_app")
    client = Client(http, again.url)
    await client.when("a", "started")
    await client.ended(unrepeatable)
    assert await asyncio.to_thread(listed, "--interrupted") == interrupted
    words = await asyncio.to_thread(said, "history", "--interrupted")
    assert f"The server with process id {pid}, started 2" in words
    assert "was killed or lost power; the next one started 2" in words
    assert states(store_path)[repeatable][0] == "running"


async def three_running(stock: Stock) -> None:
    await took(stock, "/over", 1)
    await stock.running("/get")
    await stock.running("/post", method="POST")
    cancelled = await stock.running("/cancelled")
    await stock.store.cancel(cancelled.job_id)
    await stock.queued("/queued")


def as_killed(path: Path) -> None:
    """Let the last start of the server look as if it had ended without a word."""
    ended = {"file": "ended_at = NULL", "postgresql": "ended_at = ended_at + 10000000, died = 1"}
    last = "id = (SELECT max(id) FROM boot)"
    execute(path, f"UPDATE boot SET {ended[engine(path)]}, pid = 4242 WHERE {last}")


def test_with_the_server_down_what_still_counts_as_running_was_interrupted(
    store_path: Path,
) -> None:
    as_killed(stocked(store_path, three_running, START))
    assert listed("--interrupted") == [4, 3, 2]
    first, heads, *_ = said("history", "--interrupted").splitlines()
    started = "with process id 4242, started 2023-11-14T22:13:20.000Z, was killed or lost power"
    assert (
        first
        == {
            "file": f"The server {started}.",
            "postgresql": f"Node 1 {started}, or was cut off; noticed 2023-11-14T22:13:31.000Z.",
        }[engine(store_path)]
    )
    assert heads.split()[0] == "ID"


def test_what_a_later_start_made_of_it_was_interrupted_all_the_same(store_path: Path) -> None:
    as_killed(stocked(store_path, three_running, START))

    async def next_start(stock: Stock) -> None:
        detail = "attempt 1 was interrupted: killed"
        await stock.store.upkeep.recover([2], detail)
        await stock.store.upkeep.fail_orphans([3], detail)
        await stock.store.upkeep.cancel_orphans([4], detail)
        assert await stock.next_done() == 2

    stocked(store_path, next_start, START + HOUR)
    assert listed("--interrupted") == [4, 3, 2]
    stocked(store_path, three_running, START + 2 * HOUR)
    as_killed(store_path)
    assert listed("--interrupted") == [9, 8, 7], "the last server that died counts"


def test_what_a_server_left_running_that_was_stopped_is_listed_as_well(store_path: Path) -> None:
    stocked(store_path, three_running, START)
    assert listed("--interrupted") == [4, 3, 2]
    assert said("history", "--interrupted").startswith("No server of this store has died.\n")


def test_where_nothing_was_running_that_is_said(store_path: Path) -> None:
    async def over(stock: Stock) -> None:
        await stock.done()

    as_killed(stocked(store_path, over, START))
    assert said("history", "--interrupted").endswith("No job was running then.\n")


# --- how often and how long ---------------------------------------------------------------------


async def reports(stock: Stock) -> None:
    made = await stock.store.definitions.create(draft("nightly", "/d/nightly"), "root")
    for seconds in range(1, 101):
        status = 500 if seconds > 90 else 200
        values = {"definition": made.id} if seconds <= 10 else {}
        await took(stock, f"/report?year={seconds}", seconds, status, **values)
    await took(stock, "/other", 0.25)
    await stock.failed("/other")
    claim = await stock.running("/other")
    await stock.store.cancel(claim.job_id)
    stock.clock.move(5000)
    await stopped(stock.store, claim, "stopped")
    await stock.queued("/waits")


def test_figures_by_path_leave_its_query_out(store_path: Path) -> None:
    stocked(store_path, reports, START)
    assert told("history", "--stats", "--json") == [
        {
            "path": "/report", "count": 100, "errors": 10,
            "p50_ms": 50_000.0, "p95_ms": 95_000.0, "max_ms": 100_000.0,
        },
        {
            "path": "/other", "count": 3, "errors": 1,
            "p50_ms": 0.0, "p95_ms": 250.0, "max_ms": 250.0,
        },
        {
            "path": "/waits", "count": 1, "errors": 0,
            "p50_ms": None, "p95_ms": None, "max_ms": None,
        },
    ]  # fmt: skip
    heads, *lines = said("history", "--stats").splitlines()
    assert heads.split() == ["COUNT", "ERRORS", "P50", "P95", "MAX", "PATH"]
    assert lines[0].split() == ["100", "10", "50s", "1m35s", "1m40s", "/report"]
    assert lines[2].split() == ["1", "0", "/waits"]


def test_figures_by_route_put_paths_together_that_differ_in_an_id(store_path: Path) -> None:
    async def thumbs(stock: Stock) -> None:
        for n in range(3):
            await stock.done(f"/thumbs/{n}?size={n}", status=200 if n else 500)
        await stock.done("/thumbs", status=200)

    stocked(store_path, thumbs, START)
    found = told("history", "--stats=route", "--json")
    assert [(each["route"], each["count"], each["errors"]) for each in found] == [
        ("/thumbs/{}", 3, 1),
        ("/thumbs", 1, 0),
    ]
    assert said("history", "--stats=route").splitlines()[0].split()[-1] == "ROUTE"


def test_figures_by_definition_name_it(store_path: Path) -> None:
    stocked(store_path, reports, START)
    found = told("history", "--stats=definition", "--json")
    assert [(each["definition"], each["count"]) for each in found] == [(None, 94), ("nightly", 10)]
    assert "(none)" in said("history", "--stats", "definition")


def test_figures_are_of_the_jobs_that_are_looked_for(store_path: Path) -> None:
    stocked(store_path, reports, START)
    asked = ("--stats", "--json", "--path", "/report", "--status", "5xx")
    assert [(each["count"], each["errors"]) for each in told("history", *asked)] == [(10, 10)]
    assert said("history", "--stats", "--owner", "nobody") == "No matching jobs.\n"
    assert said("history", "--stats", "--limit", 1).endswith("There are 3; --limit shows more.\n")


def test_what_ran_longest_comes_first_and_what_runs_counts_up_to_now(store_path: Path) -> None:
    async def various(stock: Stock) -> None:
        for seconds in (5, 300, 20):
            await took(stock, f"/{seconds}", seconds)
        await stock.queued("/waits")
        await stock.running("/runs")

    stocked(store_path, various, START)
    assert listed("--longest") == [5, 2, 3, 1]
    assert listed("--longest", "--limit", 2, "--state", "done") == [2, 3]
    table = said("history", "--longest", "--limit", 1, "--state", "done")
    assert [line.split()[0] for line in table.splitlines()] == ["ID", "2", "There"]


@pytest.mark.file  # a database refuses so many at once
def test_figures_go_through_all_parts_of_the_history(store_path: Path) -> None:
    async def many(stock: Stock) -> None:
        await took(stock, "/first", 7)
        await stock.many(WIDEST)
        await took(stock, "/last", 3)

    stocked(store_path, many, START)
    assert listed("--longest") == [WIDEST + 2, 1][::-1]
    counts = {each["path"]: each["count"] for each in told("history", "--stats", "--json")}
    assert counts == {"/": WIDEST, "/first": 1, "/last": 1}
    assert sum(each["count"] for each in told("history", "--activity", "--json")) == WIDEST + 2


# --- activity -----------------------------------------------------------------------------------


async def busy(stock: Stock) -> None:
    """Submit 4 jobs before midnight, UTC, and 2 an hour and a half later."""
    for _ in range(4):
        await stock.done()
    stock.clock.move(5400)
    for _ in range(2):
        await stock.done(status=500)


def test_activity_is_drawn_hour_by_hour(store_path: Path) -> None:
    stocked(store_path, busy, START)
    heads, *lines = said("history", "--activity").splitlines()
    assert heads.split() == ["FROM", "COUNT", "ERRORS"]
    assert [line.split() for line in lines] == [
        ["Tue", "2023-11-14", "22:00", "4", "0", "█" * 40],
        ["Tue", "2023-11-14", "23:00", "2", "2", "█" * 20],
    ]


def test_activity_over_more_than_three_days_is_told_day_by_day_idle_ones_included(
    store_path: Path,
) -> None:
    async def days(stock: Stock) -> None:
        await stock.done()
        stock.clock.move(4 * 86_400)
        await stock.done()

    stocked(store_path, days, START)
    found = told("history", "--activity", "--json")
    assert [(each["start"][:10], each["count"]) for each in found] == [
        (f"2023-11-{day}", count) for day, count in ((14, 1), (15, 0), (16, 0), (17, 0), (18, 1))
    ]


def test_the_hours_and_days_of_activity_are_those_of_the_zone(store_path: Path) -> None:
    stocked(store_path, busy, START)
    found = told("history", "--activity", "--json", "--zone", "Asia/Kolkata")
    assert [(each["start"], each["count"]) for each in found] == [
        ("2023-11-14T21:30:00.000Z", 4),
        ("2023-11-14T22:30:00.000Z", 0),
        ("2023-11-14T23:30:00.000Z", 2),
    ]
    assert "Wed 2023-11-15 03:00" in said("history", "--activity", "--zone", "Asia/Kolkata")


def test_activity_of_a_range_begins_where_that_does(store_path: Path) -> None:
    stocked(store_path, busy, START)
    asked = ("--activity", "--json", "--range", "2023-11-14T20:00..2023-11-14T23:00")
    assert [each["count"] for each in told("history", *asked)] == [0, 0, 4]
    assert said("history", "--activity", "--path", "/none") == "No matching jobs.\n"


def test_a_day_on_which_the_clocks_go_back_is_one_day(store_path: Path) -> None:
    async def days(stock: Stock) -> None:
        for _ in range(10):
            await stock.done()
            stock.clock.move(43_200)

    stocked(store_path, days, 1_792_706_400 * SECOND)  # 2026-10-23T00:00 in Berlin
    found = told("history", "--activity", "--json", "--zone", "Europe/Berlin")
    assert [each["start"] for each in found][1:4] == [
        "2026-10-23T22:00:00.000Z",
        "2026-10-24T22:00:00.000Z",
        "2026-10-25T23:00:00.000Z",
    ]


# --- for other tools ----------------------------------------------------------------------------


def test_figures_and_activity_are_given_to_spreadsheets(store_path: Path) -> None:
    stocked(store_path, busy, START)
    (found,) = csv.DictReader(io.StringIO(said("history", "--stats", "--csv")))
    assert (found["path"], found["count"], found["errors"]) == ("/", "6", "2")
    hours = list(csv.DictReader(io.StringIO(said("history", "--activity", "--csv"))))
    assert [hour["start"] for hour in hours] == [
        "2023-11-14T22:00:00.000Z",
        "2023-11-14T23:00:00.000Z",
    ]


def test_jobs_and_figures_are_given_as_parquet(store_path: Path) -> None:
    stocked(store_path, busy, START)
    assert said("history", "--parquet", "jobs.parquet") == ""
    found = parquet.read_table("jobs.parquet")
    assert found.column("id").to_pylist() == [6, 5, 4, 3, 2, 1]
    assert found.column("submitted_at")[5].as_py().isoformat() == "2023-11-14T22:13:20+00:00"
    assert found.column("counters").to_pylist() == ["{}"] * 6
    said("history", "--stats", "--parquet", "figures.parquet")
    assert parquet.read_table("figures.parquet").column("count").to_pylist() == [6]


@pytest.mark.file
def test_a_parquet_file_takes_no_other_files_place_unless_told_so(store_path: Path) -> None:
    stocked(store_path, busy, START)
    Path("taken").write_text("mine")
    told = refused("history", "--parquet", "taken")
    assert told == "jobstore: taken: the file exists; --force replaces it\n"
    assert "this is the store itself" in refused("history", "--parquet", store_path, "--force")
    assert "its folder does not exist" in refused("history", "--parquet", "no/file")
    assert Path("taken").read_text() == "mine"
    said("history", "--parquet", "taken", "--force")
    assert parquet.read_table("taken").num_rows == 6


def test_without_pyarrow_it_is_said_how_to_get_it(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked(store_path, busy, START)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = refused("history", "--parquet", "jobs.parquet")
    assert told == (
        "jobstore: --parquet needs the package pyarrow: pip install 'jobstore[parquet]'\n"
    )
    assert not Path("jobs.parquet").exists()


# --- one job ------------------------------------------------------------------------------------


def test_show_tells_every_attempt_and_what_a_job_has_to_do_with_others(store_path: Path) -> None:
    async def retried(stock: Stock) -> None:
        made = await stock.store.definitions.create(draft("nightly", "/d/nightly"), "root")
        claim = await stock.running("/a", definition=made.id, trigger=Trigger.CLI, tag="mine")
        stock.clock.move(2)
        ended = AttemptEnded(status=503, detail="status 503; retrying in 1 s")
        await stock.store.attempts.retry(claim, 1, ended)
        await stock.queued("/b", follows=await stock.queued("/c"), not_before=START + HOUR)

    stocked(store_path, retried, START)

    async def second(stock: Stock) -> None:
        coming_due = asyncio.create_task(stock.store.come_due())
        await stock.next_done()
        coming_due.cancel()

    stocked(store_path, second, START + 60 * SECOND)
    shown = [re.split(r"\s{2,}", line.strip()) for line in said("show", 1).splitlines()]
    assert ["Definition", "nightly (1), started by CLI"] in shown
    assert ["Tag", "mine"] in shown
    first = ["1", "2023-11-14T22:13:20.000Z", "2s", "status 503", "status 503; retrying in 1 s"]
    assert first in shown
    assert ["2", "2023-11-14T22:14:20.000Z", "0s", "status 200"] in shown
    found = json.loads(said("show", 1, "--json"))
    assert (found["definition_name"], found["cancelled_by"]) == ("nightly", None)
    assert [(each["number"], each["status"]) for each in found["attempts"]] == [(1, 503), (2, 200)]
    other = said("show", 3)
    assert re.search("Follows +job 2", other)
    assert re.search("Not before +2023-11-14T23:13:20.000Z", other)


def test_show_writes_a_body_in_hexadecimal_up_to_a_size(store_path: Path) -> None:
    async def done(stock: Stock) -> None:
        await stock.done(answer={"body": b'{"a": 1}' * 1000})

    stocked(store_path, done, START)
    shown = said("show", 1, "--hex", "--body-limit", "1KiB").splitlines()
    dumped = [line for line in shown if re.match(r"  [0-9a-f]{8}  ", line)]
    assert len(dumped) == 64
    assert dumped[0].endswith('  {"a": 1}{"a": 1}')
    found = json.loads(said("show", 1, "--hex", "--json", "--body-limit", 4))["response"]
    assert (found["body"], found["body_encoding"], found["body_truncated"]) == (
        b'{"a"'.hex(), "hex", True,
    )  # fmt: skip
    assert "'much' is not a size such as" in refused("show", 1, "--body-limit", "much", code=2)
    assert "--body cannot be used with" in refused("show", 1, "--body", "request", "--hex", code=2)
