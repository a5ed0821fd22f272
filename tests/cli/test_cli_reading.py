import asyncio
import csv
import io
import json
import logging
import os
import pty
import re
import sqlite3
import subprocess
import sys
import termios
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobstore.cli.logs import Lines
from jobstore.cli.wording import lasting
from jobstore.model.clock import SECOND, now
from jobstore.model.job import Failure
from tests.commands import jobstore, refused, said
from tests.conftest import Start
from tests.stock import Stock, stocked
from tests.stores import fail, stopped

START = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z
JSON = (("Content-Type", "application/json"),)
HOSTILE = "\x1b]0;pwned\x07\x1b[2J\u202e"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _stock(store_path: Path) -> None:
    """Make a store with jobs 1 to 6, each of them different."""
    stocked(store_path, six_jobs, START)


async def six_jobs(stock: Stock) -> None:
    await stock.done("/report?year=2025", status=201, owner="alice")
    stock.clock.now += SECOND
    await stock.fetch(await stock.done("/fetched", status=404))
    await stock.failed("/down", method="POST")
    await stock.cancelled("/stop")
    claim = await stock.running("/import")
    handle = stock.handle(claim)
    handle.report(40)
    handle.count("IMPORT_RECORDS", 1200)
    await stock.queued("/later")


def rows(table: str) -> list[list[str]]:
    """Split a table into its cells; there are at least two spaces between two of them."""
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]


@pytest.mark.usefixtures("_stock")
def test_a_filter_of_the_history_is_refused_by_the_list_with_the_command_that_has_it() -> None:
    words = refused("list", "--path", "/a b", "--state=done", code=2)
    assert "no such option: --path; type: jobstore history --path '/a b' --state=done" in words
    assert "type:" not in refused("list", "--frob", code=2)


async def waiting(stock: Stock) -> None:
    """Let 1 wait for a slot, 2 for its time, and 3 for another job."""
    await stock.queued("/a", target="/")
    await stock.queued("/b", target="/", not_before=now() + 7300 * SECOND)
    await stock.queued("/c", target="/", follows=2)


async def test_a_queued_job_says_why_it_waits(store_path: Path, server_process: Start) -> None:
    await asyncio.to_thread(stocked, store_path, waiting, now())
    server = await server_process("--app", "tests.webapp:create_app")

    def ask() -> None:
        assert said("pause", "/", "--reason", "deploy.", "--url", server.url)
        assert said("submit", "GET", "/d", "--url", server.url)
        for at in (("--store", store_path), ("--url", server.url)):
            paused = said("show", 4, *at).splitlines()[1]
            assert re.fullmatch(
                r"  It waits because its target / was paused by .+ \d+ s ago: deploy\.", paused
            )
            assert said("show", 2, *at).splitlines()[1] == "  It will run in 2 h."
            assert said("show", 3, *at).splitlines()[1] == "  It waits until job 2 has succeeded."

    await asyncio.to_thread(ask)


def test_a_job_behind_others_says_how_many_wait(store_path: Path) -> None:
    async def behind(stock: Stock) -> None:
        stock.store.targets.serve({"nowhere": 2})
        for _ in range(4):
            await stock.queued("/b", target="nowhere")

    stocked(store_path, behind, now())
    why = said("show", 4).splitlines()[1]
    assert why == "  It waits for a slot of nowhere: 0 of 2 are taken, with 3 other jobs waiting."


def listed(*arguments: object) -> list[int]:
    return [json.loads(line)["id"] for line in said("history", "--json", *arguments).splitlines()]


# list


@pytest.mark.usefixtures("_stock")
def test_list_shows_what_can_be_asked_for_the_newest_first() -> None:
    heads, *jobs = rows(said("list"))
    assert heads == ["ID", "STATE", "STATUS", "RESULT", "SUBMITTED", "TOOK", "OWNER", "REQUEST"]
    assert jobs[-1] == [
        "1",
        "done",
        "201",
        "held",
        "2023-11-14T22:13:20Z",
        "0s",
        "alice",
        "GET /report?year=2025",
    ]
    assert [(row[0], row[1], row[-1]) for row in jobs[:-1]] == [
        ("6", "queued", "GET /later"),
        ("5", "running 40%", "GET /import"),
        ("4", "cancelled", "GET /stop"),
        ("3", "failed", "POST /down"),
    ]


@pytest.mark.usefixtures("_stock")
def test_list_says_that_there_are_more_than_it_lists() -> None:
    *jobs, last = said("list", "--limit", 2).splitlines()
    assert [line.split()[0] for line in jobs] == ["ID", "6", "5"]
    assert last == "The newest 2 of 5 jobs; --limit lists more."


@pytest.mark.usefixtures("_stock")
def test_list_gives_scripts_a_line_of_json_for_each_job() -> None:
    jobs = [json.loads(line) for line in said("list", "--json").splitlines()]
    assert [job["id"] for job in jobs] == [6, 5, 4, 3, 1]
    assert jobs[1] == {
        "id": 5, "state": "running", "result": "none", "dialect": "arango", "owner": "",
        "target": "/", "method": "GET", "path": "/import", "priority": 0, "attempt": 1,
        "submitted_at": "2023-11-14T22:13:21.000Z", "started_at": "2023-11-14T22:13:21.000Z",
        "finished_at": None, "fetched_at": None, "cancel_asked_at": None, "status": None,
        "failure": None, "detail": None, "progress": 40.0, "counters": {"IMPORT_RECORDS": 1200},
        "warnings": 0, "tag": None, "once": False, "definition": None, "trigger": None,
        "follows": None, "retried": 0, "not_before": None, "waits_for": None,
    }  # fmt: skip


# history


@pytest.mark.usefixtures("_stock")
def test_history_shows_all_jobs_newest_first() -> None:
    assert [row[0] for row in rows(said("history"))] == ["ID", "6", "5", "4", "3", "2", "1"]


@pytest.mark.usefixtures("_stock")
@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ("--state done", [2, 1]),
        ("--state failed --state cancelled", [4, 3]),
        ("--owner alice", [1]),
        ("--owner bob", []),
        ("--path /re", [1]),
        ("--path /report?year=", [1]),
        ("--status 404", [2]),
        ("--status 5xx", [3]),
        ("--status 4XX", [4, 2]),
        ("--since 2023-11-14T22:13:21", [6, 5, 4, 3, 2]),
        ("--until 2023-11-14T23:13:21+01:00", [1]),
        ("--since 2023-11-14T22:13:21Z --status 2xx", []),
        ("--since 2023-11-15", []),
        ("--until 24h", [6, 5, 4, 3, 2, 1]),
        ("--since 24h", []),
        ("--limit 2", [6, 5]),
        ("--limit 99999999999999999999", [6, 5, 4, 3, 2, 1]),
        ("--state done --owner alice --path /report --status 201 --until 1d", [1]),
    ],
)
def test_history_finds(filters: str, ids: list[int]) -> None:
    assert listed(*filters.split()) == ids


def test_history_counts_back_from_now(store_path: Path) -> None:
    async def old_and_new(stock: Stock) -> None:
        await stock.queued("/old")
        stock.clock.now = now() - 3600 * SECOND
        await stock.queued("/new")

    stocked(store_path, old_and_new, START)
    assert listed("--since", "2h") == [2]
    assert listed("--until", "30m") == [2, 1]
    assert listed("--until", "90m") == [1]


@pytest.mark.usefixtures("_stock")
@pytest.mark.parametrize(
    ("filters", "complaint"),
    [
        ("--state gone", "'gone' is not one of 'queued', 'running'"),
        ("--status 99", "'99' is not a status such as 404, nor a class such as 5xx."),
        ("--status 6xx", "'6xx' is not a status"),
        ("--status x", "'x' is not a status"),
        ("--since whenever", "'whenever' is neither a time such as 2025-01-31,"),
        ("--since 2025-02-30", "'2025-02-30' is neither"),
        ("--until 24", "'24' is neither"),
        ("--until -1h", "'-1h' is neither"),
        ("--limit 0", "0 is not in the range x>=1."),
        ("--limit many", "'many' is not a valid integer"),
        ("--json --csv", "--json, --csv and --parquet cannot be used together"),
        ("5", "Got unexpected extra argument (5)"),
    ],
)
def test_history_refuses(filters: str, complaint: str) -> None:
    assert complaint in refused("history", *filters.split(), code=2)


@pytest.mark.usefixtures("_stock")
def test_an_owner_who_is_no_text_is_refused() -> None:
    told = refused("history", "--owner", b"\xff".decode(errors="surrogateescape"), code=2)
    assert "Invalid value for '--owner': this is not UTF-8." in told


@pytest.mark.usefixtures("_stock")
def test_history_gives_spreadsheets_csv() -> None:
    jobs = list(csv.DictReader(io.StringIO(said("history", "--csv"))))
    assert [job["id"] for job in jobs] == ["6", "5", "4", "3", "2", "1"]
    assert jobs[1]["counters"] == '{"IMPORT_RECORDS": 1200}'
    assert jobs[3]["detail"] == "connection refused"
    assert jobs[5]["submitted_at"] == "2023-11-14T22:13:20.000Z"


FORMULAS = [
    ("=cmd|'/C calc'!A0", "'=cmd|'/C calc'!A0"),
    ("+1", "'+1"),
    ("-2", "'-2"),
    ("@SUM(A1)", "'@SUM(A1)"),
    (" =1", "' =1"),
    ("\uff1d1", "'\uff1d1"),
    ("\t=1", r"\t=1"),
    ("\r=1", r"\r=1"),
    ("\n=1", r"\n=1"),
    (HOSTILE, r"\x1b]0;pwned\x07\x1b[2J\u202e"),
    ("alice=1", "alice=1"),
    ("M\u00fcller", "M\u00fcller"),
]


@pytest.mark.parametrize("member", ["owner", "tag", "path", "detail"])
def test_csv_has_nothing_that_a_spreadsheet_computes_or_a_terminal_obeys(
    store_path: Path, member: str
) -> None:
    async def of_strangers(stock: Stock) -> None:
        for _ in FORMULAS:
            await stock.failed()

    stocked(store_path, of_strangers)
    with closing(sqlite3.connect(store_path)) as file, file:
        for job_id, (named, _) in enumerate(FORMULAS, 1):
            file.execute(f"UPDATE job SET {member} = ? WHERE id = ?", [named, job_id])
    text = said("history", "--csv")
    assert text.replace("\n", "").isprintable()
    jobs = list(csv.DictReader(io.StringIO(text)))
    assert [job[member] for job in reversed(jobs)] == [shown for _, shown in FORMULAS]
    # What programs read is left as it is.
    lines = [json.loads(line) for line in said("history", "--json").splitlines()]
    assert [line[member] for line in reversed(lines)] == [named for named, _ in FORMULAS]


def test_numbers_in_csv_are_numbers(store_path: Path) -> None:
    async def urgent(stock: Stock) -> None:
        await stock.queued(priority=-5)

    stocked(store_path, urgent)
    (job,) = csv.DictReader(io.StringIO(said("history", "--csv")))
    assert job["priority"] == "-5"


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        [f"--{HOSTILE}"],
        ["show", HOSTILE],
        ["show", f"--{HOSTILE}"],
        ["show", "1", HOSTILE],
        ["history", "--since", HOSTILE],
        ["history", "--store", f"{HOSTILE}.db"],
        ["undefine", HOSTILE],
        ["run", f"/{HOSTILE}"],
        ["user", "remove", HOSTILE],
        ["user", HOSTILE],
        ["import", HOSTILE],
    ],
)
def test_a_complaint_shows_what_was_given_and_does_not_obey_it(
    store_path: Path, arguments: list[str]
) -> None:
    stocked(store_path, six_jobs)
    result = jobstore(*arguments)
    assert result.exit_code in {1, 2}
    assert result.output.replace("\n", "").isprintable()


def test_a_line_of_the_log_stays_one_line_and_is_not_obeyed() -> None:
    said = {"msg": "no job: %s", "args": (f"{HOSTILE}\nforged",)}
    line = Lines().format(logging.makeLogRecord(said))
    assert line.endswith(r"no job: \x1b]0;pwned\x07\x1b[2J\u202e\nforged")


def test_what_an_error_says_in_the_log_is_not_obeyed() -> None:
    error = ValueError(HOSTILE)
    told = (type(error), error, None)
    record = logging.makeLogRecord({"msg": "cannot answer", "exc_info": told})
    lines = Lines().format(record).splitlines()
    assert lines[1:] == [r"ValueError: \x1b]0;pwned\x07\x1b[2J\u202e"]


def test_history_says_when_there_is_nothing(store_path: Path) -> None:
    async def none(stock: Stock) -> None:
        del stock

    stocked(store_path, none)
    assert said("history") == "No jobs in the store.\n"
    assert said("history", "--state", "done") == "No matching jobs.\n"
    assert said("history", "--json") == ""


def test_a_table_shows_fifty_jobs_and_says_that_there_are_more(store_path: Path) -> None:
    async def many(stock: Stock) -> None:
        await stock.many(51)

    stocked(store_path, many)
    *_, last_job, last = said("history").splitlines()
    assert last_job.split()[0] == "2"
    assert last == "There are more than 50; --limit lists more."
    assert len(said("history", "--limit", 51).splitlines()) == 1 + 51
    assert len(said("history", "--json").splitlines()) == 51


# show


@pytest.mark.parametrize(
    "detail", ["interrupted by a crash at attempt 1; its POST", "attempt 1 was interrupted: killed"]
)
def test_show_says_once_that_a_job_was_interrupted(store_path: Path, detail: str) -> None:
    async def interrupted(stock: Stock) -> None:
        await fail(stock.store, await stock.running(), Failure.INTERRUPTED, detail)

    stocked(store_path, interrupted)
    assert f"Because    {detail}\n" in said("show", 1)


@pytest.mark.usefixtures("_stock")
def test_show_tells_the_whole_story_of_a_job() -> None:
    told = said("show", 3)
    assert "Job 3  failed  POST /down" in told
    assert "Because    unreachable: connection refused" in told
    assert "Response  the target gave none; a reader gets 502 Bad Gateway" in told
    assert rows(told)[-3:] == [
        ["2023-11-14T22:13:21.000Z", "+0s", "submitted"],
        ["2023-11-14T22:13:21.000Z", "+0s", "started", "attempt 1"],
        ["2023-11-14T22:13:21.000Z", "+0s", "failed", "connection refused"],
    ]


@pytest.mark.usefixtures("_stock")
def test_show_tells_what_a_running_job_has_reported() -> None:
    told = rows(said("show", 5))
    assert told[0] == ["Job 5", "running 40%", "GET /import"]
    assert ["Progress", "40 %"] in told
    assert ["IMPORT_RECORDS", "1,200"] in told
    assert ["Response", "none yet"] in told


def test_show_tells_what_is_out_of_the_ordinary(store_path: Path) -> None:
    async def odd(stock: Stock) -> None:
        claim = await stock.running("/odd", priority=7, owner="alice")
        stock.handle(claim).warn("row 17 is odd")
        await stock.store.cancel(claim.job_id)
        stock.clock.now += 65 * SECOND
        await stopped(stock.store, claim, "stopped in time")
        await stock.fetch(claim.job_id)

    stocked(store_path, odd, START)
    told = rows(said("show", 1))
    for fact in (
        ["Owner", "alice"],
        ["Priority", "7"],
        ["Status", "410 Gone"],
        ["Because", "stopped in time"],
        ["Cancel asked", "2023-11-14T22:13:20.000Z"],
        ["Finished", "2023-11-14T22:14:25.000Z", "(took 1m05s)"],
        ["Warnings", "1"],
        ["Response", "the target gave none; a reader would have got 410 Gone"],
        ["2023-11-14T22:14:25.000Z", "+1m05s", "fetched"],
    ):
        assert fact in told


@pytest.mark.parametrize(
    ("microseconds", "words"),
    [
        (0, "0s"),
        (833, "0.8ms"),
        (1_000, "1ms"),
        (999_999, "999ms"),
        (2_040_000, "2.04s"),
        (59_000_000, "59s"),
        (60_000_000, "1m00s"),
        (3_599_999_999, "59m59s"),
        (3_600_000_000, "1h00m"),
        (86_400_000_000, "1d00h"),
        (200_000_000_000, "2d07h"),
    ],
)
def test_a_duration_is_written_with_two_units_at_most(microseconds: int, words: str) -> None:
    assert lasting(microseconds) == words


def shown(store_path: Path, *arguments: object, **values: Any) -> str:
    """Make a job that is done, and show it."""

    async def done(stock: Stock) -> None:
        await stock.done(**values)

    stocked(store_path, done, START)
    return said("show", 1, *arguments)


def test_show_writes_json_indented(store_path: Path) -> None:
    told = shown(store_path, body=b'{"a":[1,"\xc3\xa9"]}', answer={"headers": JSON, "body": b"{}"})
    assert '  {\n    "a": [\n      1,\n      "é"\n    ]\n  }\n' in told
    assert "  Content-Type: application/json\n\n  {}\n" in told


@pytest.mark.parametrize("body", [b"[" * 4000, b'{"a": 1', b"NaN", b'"'])
def test_show_writes_what_is_no_json_as_it_is(store_path: Path, body: bytes) -> None:
    assert f"\n  {body.decode()}\n" in shown(store_path, answer={"headers": JSON, "body": body})


def test_show_writes_the_first_bytes_of_what_is_binary(store_path: Path) -> None:
    told = shown(store_path, answer={"body": b"\xffPNG\n" * 20})
    lines = told[told.index("  100 bytes") :].splitlines()
    assert (
        lines[1] == "  00000000  ff 50 4e 47 0a ff 50 4e 47 0a ff 50 4e 47 0a ff  .PNG..PNG..PNG.."
    )
    assert lines[4:6] == ["  00000030" + lines[4][10:], "  …"]


def test_show_cuts_a_large_body_and_says_so(store_path: Path) -> None:
    told = shown(store_path, "--max-body", 5, answer={"body": "aé€".encode() * 100_000})
    assert "\n  aé\n  … 599,995 more bytes\n" in told


def test_show_never_shows_a_secret(store_path: Path) -> None:
    secret = (("Authorization", "geheim"), ("COOKIE", "geheim"), ("X-Api-Key", "geheim"))
    Path("jobs.toml").write_text('[privacy]\nredact = ["x-api-key"]')
    told = shown(store_path, "--config", "jobs.toml", headers=secret)
    told += said("show", 1, "--json", "--config", "jobs.toml")
    assert "geheim" not in told
    assert told.count("[redacted]") == 6


def test_show_tells_a_terminal_nothing_that_strangers_made_up(store_path: Path) -> None:
    told = shown(
        store_path, path="/" + HOSTILE, owner=HOSTILE, headers=(("X", "\udcff" + HOSTILE),),
        answer={"body": HOSTILE.encode(), "headers": (("Y", HOSTILE),), "reason": HOSTILE},
    )  # fmt: skip
    told += said("history") + said("list")
    assert not set("\x1b\x07\u202e\udcff") & set(told)
    assert "X: \\udcff\\x1b]0;pwned\\x07\\x1b[2J\\u202e" in told


def test_show_gives_scripts_everything(store_path: Path) -> None:
    told = json.loads(
        shown(store_path, "--json", body=b"ask", answer={"body": b"\xff\x00", "headers": JSON})
    )
    assert told["request"] == {
        "headers": [], "body": "ask", "body_encoding": "text", "body_size": 3,
        "body_truncated": False,
    }  # fmt: skip
    assert told["response"] == {
        "reason": None, "headers": [["Content-Type", "application/json"]], "body": "/wA=",
        "body_encoding": "base64", "body_size": 2, "body_truncated": False,
    }  # fmt: skip
    assert [moment["event"] for moment in told["timeline"]] == ["submitted", "started", "done"]


@pytest.mark.parametrize("size", [0, 3, 1_000_000])
def test_show_writes_a_body_as_it_is(store_path: Path, size: int) -> None:
    body = os.urandom(size)
    shown(store_path, body=body, answer={"body": body[::-1]})
    assert jobstore("show", 1, "--body", "request").stdout_bytes == body
    assert jobstore("show", 1, "--body", "response").stdout_bytes == body[::-1]


@pytest.mark.usefixtures("_stock")
def test_show_says_why_there_is_no_body_to_write() -> None:
    assert refused("show", 3, "--body", "response") == (
        "jobstore: the response of job 3: the target gave none; a reader gets 502 Bad Gateway\n"
    )
    assert refused("show", 6, "--body", "response").endswith("none yet\n")


def test_show_says_why_a_response_is_not_kept(store_path: Path) -> None:
    async def gone(stock: Stock) -> None:
        await stock.store.results.delete(await stock.done())
        await stock.done(wanted=False)
        await stock.done()
        await stock.store.results.expire(START + SECOND)
        await stock.fetch(await stock.done())
        await stock.store.upkeep.purge(START + SECOND)

    stocked(store_path, gone, START)
    for job_id, why in enumerate(("deleted", "without keeping", "in time", "then purged"), 1):
        assert re.search(f"Response  no.* kept: .*{why}", said("show", job_id))
    assert "Request  no longer kept" in said("show", 4)


@pytest.mark.usefixtures("_stock")
@pytest.mark.parametrize("job_id", ["0", "7", "123456789012345678901234567890"])
def test_show_finds_no_job_that_is_not_there(job_id: str) -> None:
    assert refused("show", job_id) == f"jobstore: no job {job_id}\n"


@pytest.mark.parametrize("job_id", ["", "x", "1.5", "0x1", "9" * 5000])
def test_show_refuses_what_is_no_id(job_id: str) -> None:
    assert "is not a valid integer" in refused("show", job_id, code=2)


# On a terminal


def on_terminal(columns: int, *arguments: str) -> str:
    """Run the real command on a terminal of that width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, columns))
    command = [sys.executable, "-m", "jobstore", *arguments]
    environ = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        written = b""
        try:
            while data := os.read(ours, 65_536):
                written += data
        except OSError:  # the way in which Linux says that nobody is at the other end any more
            pass
        os.close(ours)
    assert process.returncode == 0
    return written.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_lines_that_fit(store_path: Path) -> None:
    async def long(stock: Stock) -> None:
        await stock.done("/long" * 50, status=500, owner="o" * 50)
        await stock.failed("/short")

    stocked(store_path, long)
    written = on_terminal(80, "history")
    assert re.search(r"\x1b\[31mfailed *\x1b\[0m", written)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert [max(map(len, plain)), plain[2][-1]] == [80, "…"]
    assert "\x1b" not in said("history")


def test_a_terminal_sees_how_far_a_backup_is(store_path: Path) -> None:
    stocked(store_path, six_jobs)
    written = on_terminal(80, "backup", "copy.db")
    assert "copying" in written
    assert written.splitlines()[-1].endswith("a complete copy of jobs.db")
