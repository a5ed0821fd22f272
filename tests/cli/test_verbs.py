"""Every verb on the command line: for one job and for many, on a store and at a server."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from jobstore.model.clock import SECOND, now
from jobstore.model.job import Failure
from jobstore.model.message import REDACTED
from jobstore.model.passwords import digest, new_token
from tests import warm
from tests.commands import be_beside, jobstore, refused, said, start, written
from tests.conftest import Start
from tests.engines import ENGINES
from tests.peers import Services, stranger
from tests.stock import Stock, stocked
from tests.stores import check_sound, fail, states
from trials.sockets import read_head

Begin = Callable[..., "subprocess.Popen[bytes]"]

START = 1_700_000_000 * SECOND
WHEN_FULL = (
    "submit again later, or raise [executor] queue_limit;"
    " `jobstore targets` shows what jobs wait for"
)
ON_BOTH = pytest.mark.parametrize("store_path", ENGINES, indirect=True)


@pytest.fixture
def store(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a store with six jobs that were submitted long ago."""
    stocked(store_path, six_jobs, START)
    be_beside(store_path, monkeypatch)
    return store_path


@pytest.fixture
def fresh(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a store with six jobs of which a server lets none go so far."""
    stocked(store_path, six_jobs, now())
    be_beside(store_path, monkeypatch)
    return store_path


async def six_jobs(stock: Stock) -> None:
    """Let 1 and 2 be answered, 3 fail, 4 be fetched, and 5 and 6 wait."""
    await stock.done("/reports/a", status=500)
    await stock.done("/reports/b", status=200)
    await stock.failed("/down")
    await stock.fetch(await stock.done("/fetched"))
    await stock.queued("/later/a")
    await stock.queued("/later/b")


def asked_on_a_terminal(answer: str, *arguments: object) -> tuple[int, str]:
    """Call the real command on a terminal; return its exit code and what it writes."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "jobstore", *map(written, arguments)]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        os.write(controller, answer.encode())
        shown = b""
        try:
            while piece := os.read(controller, 4096):
                shown += piece
        except OSError:  # the other end is closed
            pass
        os.close(controller)
        return process.wait(), shown.decode()


# --- on a store, without a server ---------------------------------------------------------------


@ON_BOTH
def test_what_waits_is_cancelled(store: Path) -> None:
    assert said("cancel", "--path", "/later", "--yes") == "2 jobs were cancelled.\n"
    assert [states(store)[job_id] for job_id in (5, 6)] == [("cancelled", "held")] * 2
    assert said("cancel", "--path", "/later", "--yes") == "No matching jobs.\n"
    check_sound(store)


@ON_BOTH
def test_what_has_ended_is_tried_again_once(store: Path) -> None:
    assert said("retry", "--status", "5xx", "--yes") == "2 jobs were run again.\n"
    assert [states(store)[job_id] for job_id in (7, 8)] == [("queued", "none")] * 2
    assert said("retry", "--status", "5xx", "--yes") == "No matching jobs.\n"
    assert refused("retry", 1) == "jobstore: 1 job skipped: was already run again\n"
    check_sound(store)


@pytest.mark.parametrize(("method", "asked"), [("POST", True), ("PUT", False)])
def test_what_may_take_effect_twice_is_confirmed(store: Path, method: str, asked: bool) -> None:
    async def interrupted(stock: Stock) -> None:
        claim = await stock.running("/pay", method=method)
        await fail(stock.store, claim, Failure.INTERRUPTED, "the server stopped")

    stocked(store, interrupted, now())
    if asked:
        assert (
            "Job 7 was interrupted, and its POST may have taken effect; sent again, it may take "
            "effect twice. Run it again?" in refused("retry", 7)
        )
        assert 8 not in states(store)
    assert said("retry", 7, *(["--yes"] if asked else [])) == "1 job was run again.\n"
    assert states(store)[8] == ("queued", "none")


@ON_BOTH
def test_what_is_deleted_comes_back(store: Path) -> None:
    assert said("delete", "--all", "--yes") == "6 jobs were deleted.\n"
    assert {result for _, result in states(store).values()} == {"deleted"}
    done = said("restore", "--all", "--yes", "--json")
    assert json.loads(done) == {
        "operation": 2, "action": "restore", "count": 4, "done": 4, "skipped": 0, "reasons": {},
    }  # fmt: skip
    assert {states(store)[job_id][1] for job_id in (1, 2, 3, 4)} == {"held"}
    check_sound(store)


@pytest.mark.usefixtures("store")
def test_several_ids_are_counted_and_asked_for_and_a_single_one_is_not() -> None:
    assert said("delete", 1) == "1 job was deleted.\n"
    assert "Delete the results of 2 jobs?" in refused("delete", 2, 3)
    assert said("delete", 1, 2, 99, "--yes").splitlines() == [
        "1 job was deleted.",
        "2 jobs skipped: there is no such job",
    ]


@pytest.mark.usefixtures("store")
def test_nothing_is_done_unless_the_question_is_answered() -> None:
    complaint = refused("cancel", "--path", "/later")
    assert complaint == (
        "jobstore: Cancel 2 jobs? Running ones are stopped. There is no terminal to ask on; --yes "
        "confirms.\n"
    )
    code, shown = asked_on_a_terminal("n\n", "cancel", "--path", "/later")
    assert code == 1
    assert "Cancel 2 jobs? Running ones are stopped. [y/N]" in shown
    code, shown = asked_on_a_terminal("y\n", "cancel", "--path", "/later")
    assert code == 0
    assert "2 jobs were cancelled." in shown


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("verb", ["cancel", "retry", "delete", "restore"])
def test_which_jobs_are_meant_has_to_be_said_once(verb: str) -> None:
    assert "expected ids of jobs, or filters, or --all for all jobs" in refused(verb, code=2)
    for arguments in ((1, "--tag", "x"), (1, "--all"), ("--all", "--tag", "x")):
        complaint = refused(verb, *arguments, code=2)
        assert "ids, filters and --all cannot be used together" in complaint
    assert "say --all if you mean all jobs" in refused(verb, "--path", "/", "--yes")
    assert refused(verb, 0) == "jobstore: no job 0\n"
    assert refused(verb, 10**30) == f"jobstore: no job {10**30}\n"


@pytest.mark.usefixtures("store")
def test_filters_mean_what_they_mean_to_history() -> None:
    for filters, ids in (
        (("--state", "failed"), [3]),
        (("--since", "2000-01-01", "--path", "/rep"), [2, 1]),
        (("--range", "2023-11-14..2023-11-14", "--status", "404"), []),
        (("--running-at", "2000-01-01"), []),
    ):
        found = said("history", "--json", *filters).splitlines()
        assert [json.loads(line)["id"] for line in found] == ids
        if not ids:
            assert said("delete", *filters, "--yes") == "No matching jobs.\n"
        else:
            done = json.loads(said("delete", *filters, "--yes", "--json"))
            assert (done["count"], done["done"]) == (len(ids), len(ids))


@pytest.mark.usefixtures("store")
def test_what_finds_no_room_in_the_queue_is_left_to_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOBSTORE_EXECUTOR__QUEUE_LIMIT", "3")
    result = jobstore("retry", "--all", "--yes")
    assert result.exit_code == 1
    assert "operation 1 waits: " in result.stderr
    assert "3 jobs are left, which the next server will do" in result.stderr


def test_the_path_of_a_job_is_called_so() -> None:
    assert "submit [OPTIONS] METHOD PATH\n" in said("submit", "--help")


def test_a_job_is_submitted_as_it_is_written(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "body.bin"
    file.write_bytes(b"\x00\xff")
    assert said("submit", "post", "/x?a=1", "-H", "X-A: 1", "--data", "héllo") == (
        "Job 1 is queued: POST /x?a=1\n"
    )
    assert json.loads(said("submit", "PUT", "/y", "--data", f"@{file}", "--json")) == {"id": 2}
    shown = json.loads(said("show", 1, "--json"))
    assert ["X-A", "1"] in shown["request"]["headers"]
    assert shown["request"]["body"] == "héllo"
    del store_path
    for arguments, complaint in (
        (("GET", "nowhere"), "target: expected the path"),
        (("G T", "/"), "method: expected a method"),
        (("GET", "/", "-H", "nothing"), "is not a header: expected 'Name: value'"),
        (("GET", "/", "--data", "@nofile"), "nofile: No such file"),
        (("GET", "/", "--delay", "soon"), "delay: expected a duration"),
        (("GET", "/", "--wait"), "no server is running to start it"),
    ):
        result = jobstore("submit", *arguments)
        assert result.exit_code in {1, 2}
        assert complaint in result.stderr


# --- beside a server ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(nursery: Path | None) -> Iterator[Begin]:
    """Give a function that starts the command, as fast as a fork."""
    del nursery  # which only has to be there
    with warm.command() as folder:
        yield partial(start, program=[folder / "jobstore"])


@ON_BOTH
async def test_a_running_server_does_what_a_command_asks_for(
    fresh: Path, server_process: Start, begun: Begin
) -> None:
    url = (await server_process("--app", "tests.gates:create_app")).url
    process = begun("cancel", "--path", "/later", "--yes", "--json", "--store", fresh)
    output, complaint = await _ended(process)
    assert complaint == b""
    told = json.loads(output)
    assert told["done"] + told["skipped"] == told["count"]
    process = begun("submit", "GET", "/let/nobody", "--wait", "--store", fresh)
    assert await _ended(process) == (b"", b"")
    for where in (("--store", fresh), ("--url", url)):
        process = begun("submit", "GET", "/nowhere", "--wait", *where)
        output, complaint = await _ended(process)
        assert (output, b"was answered with 404" in complaint) == (b"404: Not Found", True)


async def _ended(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    return await asyncio.to_thread(process.communicate)


@ON_BOTH
async def test_a_full_queue_refuses_a_command_as_it_refuses_a_client(
    store_path: Path, server_process: Start, tmp_path: Path, http: ClientSession
) -> None:
    config = tmp_path / "jobs.toml"
    config.write_text("[executor]\nqueue_limit = 2\nconcurrency = 1\n")
    app = ("--app", "tests.gates:create_app", "--config", config)
    url = (await server_process(*app)).url
    here = ("--store", store_path, "--config", config)

    def submit(*where: object) -> tuple[int, str]:
        result = jobstore("submit", "GET", "/wait/x", *where)
        return result.exit_code, result.stderr

    async def ask() -> tuple[int, str]:
        async with http.get(f"{url}/wait/x", headers={"Prefer": "respond-async"}) as answer:
            return answer.status, await answer.text()

    assert [(await ask())[0] for _ in range(3)] == [202] * 3, "one runs, and two wait"
    status, problem = await ask()
    detail = json.loads(problem)["detail"]
    assert (status, detail) == (503, "the queue is full: 2 jobs are waiting")
    told = await asyncio.to_thread(submit, *here)
    assert told == (1, f"jobstore: {detail}; {WHEN_FULL}\n")
    assert await asyncio.to_thread(submit, "--url", url) == (1, f"jobstore: {detail}\n")


# --- at a server somewhere else -----------------------------------------------------------------


@pytest.mark.usefixtures("fresh")
async def test_a_job_is_shown_alike_here_and_at_a_url(server_process: Start) -> None:
    url = (await server_process("--app", "tests.webapp:create_app")).url

    def ask() -> None:
        headers = ("-H", "Authorization: Basic aTp5", "-H", "X-A: 1")
        assert said(
            "submit", "POST", "/echo", "-d", "twelve bytes", *headers, "--wait", "--url", url
        )
        for job_id in (1, 3, 4, 7):
            for much in ((), ("--max-body", "5B"), ("--max-body", "0B")):
                look = ("show", job_id, "--json", *much)
                assert json.loads(said(*look, "--url", url)) == json.loads(said(*look))
        shown = json.loads(said("show", 7, "--json", "--max-body", "5B", "--url", url))
        assert ["X-A", "1"] in shown["request"]["headers"]
        assert ["Authorization", REDACTED] in shown["request"]["headers"]
        assert (shown["response"]["body"], shown["response"]["body_size"]) == ("twelv", 12)

    await asyncio.to_thread(ask)


async def test_all_verbs_work_at_a_url(
    fresh: Path,
    server_process: Start,
    begun: Begin,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    url = (await server_process("--app", "tests.webapp:create_app")).url
    monkeypatch.chdir(tmp_path)

    async def local(*arguments: object) -> str:
        output, complaint = await _ended(begun(*arguments))
        assert complaint == b"", arguments
        return output.decode()

    async def remote(*arguments: object) -> str:
        return await local(*arguments, "--url", url)

    assert await remote("submit", "POST", "/upload", "-d", "hi", "--wait")
    ids = [json.loads(line)["id"] for line in (await remote("list", "--json")).splitlines()]
    assert ids == sorted(ids, reverse=True)
    assert (await remote("retry", "--status", "5xx", "--yes")).startswith("2 jobs were")
    assert (await remote("delete", 2)) == "1 job was deleted.\n"
    assert (await remote("restore", 2)) == "1 job was restored.\n"
    shown = json.loads(await remote("show", 2, "--json"))
    assert (shown["id"], shown["path"], shown["result"]) == (2, "/reports/b", "held")
    assert [each["event"] for each in shown["timeline"]][-2:] == ["deleted", "restored"]
    assert "restored: by operation" in await remote("tail", 2)
    rows = [json.loads(line) for line in (await remote("history", "--json")).splitlines()]
    same = [json.loads(line) for line in (await local("history", "--json")).splitlines()]
    names = rows[0].keys() - {"once"}
    assert [{name: row[name] for name in names} for row in rows] == [
        {name: row[name] for name in names} for row in same
    ]
    assert "/reports/b" in await remote("history", "--path", "/reports/b")
    for arguments, complaint in (
        (
            ("history", "--stats"),
            "there are only lists of jobs",
        ),
        (("history", "--interrupted"), "--interrupted: this works on a store only"),
        (("history", "--definition", "x"), "expected an id"),
        (("show", 999), "jobstore: no job 999\n"),
        (("cancel", "--path", "/"), "this matches every job"),
        (("delete", "--path", "/reports"), "There is no terminal to ask on; --yes confirms."),
        (("submit", "GET", "nowhere"), "target: expected the path"),
    ):
        assert complaint in (await _ended(begun(*arguments, "--url", url)))[1].decode()
    check_sound(fresh)


async def test_a_token_is_asked_for_and_taken_from_the_environment_or_a_file(
    store_path: Path, serve: Any, begun: Begin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del store_path
    server, token = await serve(), new_token()
    await server.store.accounts.add("root", Role.ADMIN, "")
    await server.store.accounts.add_token("root", "", digest(token))
    _, complaint = await _ended(begun("list", "--url", server.url))
    assert b"not authorized: expected a token, in JOBSTORE_TOKEN or by --token-file" in complaint
    file = tmp_path / "token"
    file.write_text("wrong\n")
    _, complaint = await _ended(begun("list", "--url", server.url, "--token-file", file))
    assert b"is not valid there" in complaint
    file.write_text(f"{token}\n")
    assert (await _ended(begun("list", "--url", server.url, "--token-file", file)))[1] == b""
    monkeypatch.setenv("JOBSTORE_TOKEN", token)
    assert (await _ended(begun("list", "--url", server.url)))[1] == b""
    moved = await _ended(begun("migrate", "--store", tmp_path / "other.db"))
    assert moved[1] == b""  # it is no key of the configuration


@pytest.mark.parametrize(
    ("status", "headers", "complaint"),
    [
        (200, (), "this is not a jobstore server: it answers with 200"),
        (404, (), "this is not a jobstore server: it answers with 404"),
        (302, (("Location", "http://elsewhere/"),), "to http://elsewhere/; use that URL"),
        (401, (), "not authorized: expected a token"),
    ],
)
def test_what_is_no_jobstore_is_told_so(
    status: int, headers: tuple[tuple[str, str], ...], complaint: str
) -> None:
    with stranger(status, *headers) as url:
        assert complaint in refused("list", "--url", url)


@pytest.mark.parametrize(
    ("command", "body", "complaint"),
    [
        (("list",), b"[]", "this is not a jobstore server: it answers with 200"),
        (("list",), b'{"items": []}', "not a jobstore server: its answer has no 'jobs'"),
        (("targets",), b"{}", "not a jobstore server: its answer has no 'targets'"),
        (("show", 1), b"{}", "not a jobstore server, or a newer one: None is not a valid State"),
        (("list",), b'{"jobs": [{"state": "mended"}]}', "or a newer one: 'mended' is not a valid"),
    ],
)
def test_what_answers_in_json_but_is_no_jobstore_is_told_so(
    command: tuple[object, ...], body: bytes, complaint: str
) -> None:
    with stranger(200, ("Content-Type", "application/json"), body=body) as url:
        assert complaint in refused(*command, "--url", url)


def test_what_speaks_no_tls_is_told_so() -> None:
    with stranger(200) as url:
        complaint = refused("list", "--url", url.replace("http:", "https:"))
    assert complaint.endswith("TLS failed: what answers there speaks no TLS; try http://\n")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "it closed the connection without an answer; if it speaks TLS, use https://"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "its answer broke off"),
        (b"SSH-2.0-OpenSSH\r\n", "what answers there speaks no HTTP"),
    ],
)
async def test_an_answer_that_is_none_is_told_so(
    services: Services, answer: bytes, complaint: str
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)
        writer.close()

    url = await services.listen(talk)
    said = await asyncio.to_thread(refused, "list", "--url", url)
    assert said == f"jobstore: {url}: cannot be reached: {complaint}\n"


def test_a_url_that_leads_nowhere_is_told_so(tmp_path: Path) -> None:
    for url, complaint in (
        ("http://127.0.0.1:1", "http://127.0.0.1:1: cannot be reached: Connection refused"),
        ("ftp://x", "expected the URL of a server such as"),
        ("http://", "expected the URL of a server such as"),
        ("http://x:99999", "expected the URL of a server such as"),
        ("http://two..dots", "expected the URL of a server such as"),
        ("http://me:secret@x", "expected a URL without a user"),
        ("nonsense", "expected the URL of a server such as"),
    ):
        assert complaint in refused("list", "--url", url)
    both = ("list", "--url", "http://x", "--store", "jobs.db")
    assert "--url cannot be used with --store" in refused(*both, code=2)
    assert "--token-file needs --url" in refused("list", "--token-file", "x", code=2)
    missing = ("list", "--url", "http://x", "--token-file", tmp_path / "none")
    assert "No such file" in refused(*missing)


# --- operations ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("store")
def test_operations_are_listed_looked_at_and_stopped(tmp_path: Path) -> None:
    assert said("operations", "list") == said("operations") == "There are no operations.\n"
    said("delete", 1, 99, "--yes")
    config = tmp_path / "small.toml"
    config.write_text("[executor]\nqueue_limit = 2\n")
    waits = refused(
        "retry", "--path", "/reports", "--yes", "--config", config, "--store", "jobs.db"
    )
    assert "operation 2 waits: the queue is full: 2 jobs are waiting" in waits
    head, second, first = said("operations", "list").splitlines()
    assert head.split()[:3] == ["ID", "ACTION", "JOBS"]
    assert "waits: the queue is full" in second
    assert first.split()[:6] == ["1", "delete", "2", "1", "1", "done"]
    assert said("operations", "show", 1).splitlines() == [
        "Operation 1: delete, done",
        "1 done and 1 skipped of 2 jobs",
        "1 skipped: there is no such job",
    ]
    stopped = said("operations", "stop", 2).splitlines()
    assert stopped[0].startswith('Operation 2: retry {"path": "/reports"}, stopped by ')
    assert json.loads(said("operations", "show", 2, "--json"))["state"] == "stopped"
    assert said("operations", "stop", 1).startswith("Operation 1: delete, done\n"), "it was over"
    assert said("operations", "--limit", 1).splitlines()[1].startswith(" 2")
    for unknown in (3, 0, 2**70):
        words = f"jobstore: there is no operation {unknown}\n"
        assert refused("operations", "show", unknown) == words
    assert refused("operations", "stop", 3) == "jobstore: there is no operation 3\n"


async def test_operations_and_targets_are_asked_of_a_server_as_well(
    server_process: Start, fresh: Path
) -> None:
    url = (await server_process()).url

    def ask() -> None:
        at, here = ("--url", url), ("--store", fresh)
        said("delete", 1, "--yes", *at)
        said("delete", 2, "--yes", *at)
        assert said("operations", "list", "--json", *at) == said(
            "operations", "list", "--json", *here
        )
        assert said("operations", "show", 1, *at) == said("operations", "show", 1, *here)
        assert said("operations", "stop", 1, *at).startswith("Operation 1: delete, done")
        assert refused("operations", "show", 9, *at) == "jobstore: there is no operation 9\n"
        said("pause", "/", "--reason", "by url", *at)
        assert "by url" in said("targets", "/", *at)
        assert "* (configured: 32)" in said("targets", "/", "--concurrency", 3, *at)
        assert said("targets", "--json", *at) == said("targets", "--json", *here)
        said("resume", "/", *at)
        assert "there is no target /no" in refused("targets", "/no", "--concurrency", 3, *at)
        trail = said("audit", *at).splitlines()
        assert trail == said("audit", *here).splitlines()
        assert [line.split()[-1] for line in trail[1:]] == ["/", "once", "url"]

    await asyncio.to_thread(ask)


# --- tail ---------------------------------------------------------------------------------------


def test_jobs_are_shown_as_they_come(store: Path) -> None:
    with start("tail", "--json", "--limit", 2, "--store", store) as process:
        try:
            assert process.stdout is not None
            shown = [json.loads(process.stdout.readline())["id"] for _ in range(2)]
            assert shown == [5, 6]
            assert jobstore("submit", "GET", "/new").exit_code == 0
            assert json.loads(process.stdout.readline())["path"] == "/new"
        finally:
            process.kill()


@contextmanager
def tailing(*arguments: object) -> Iterator[Iterator[dict[str, Any]]]:
    """Give the jobs that the command shows, one by one."""
    with start("tail", "--json", "--limit", 1, *arguments) as process:
        assert process.stdout is not None
        try:
            yield map(json.loads, process.stdout)
        finally:
            process.kill()


@ON_BOTH
def test_jobs_are_shown_again_when_they_have_ended(store: Path) -> None:
    with tailing("--store", store) as shown:
        first = next(shown)
        said("cancel", 5)
        said("cancel", 6)
        ended = [next(shown) for _ in range(2)]
    assert (first["id"], first["state"]) == (6, "queued")
    assert [(job["id"], job["state"]) for job in ended] == [(5, "cancelled"), (6, "cancelled")]


@pytest.mark.parametrize("wanted", [(), ("--errors",), ("--status", 404), ("--state", "done")])
@pytest.mark.parametrize("at", ["--store", "--url"])
async def test_filters_for_the_outcome_show_jobs_when_they_have_it(
    store_path: Path, server_process: Start, wanted: tuple[object, ...], at: str
) -> None:
    server = ("--url", (await server_process()).url)
    where = server if at == "--url" else (at, store_path)

    def follow() -> list[str]:
        jobstore("submit", "GET", "/nowhere/1", "--wait", *server)
        with tailing(*where, *wanted) as shown:
            assert next(shown)["path"] == "/nowhere/1"
            said("submit", "GET", "/nowhere/2", *server)
            until = iter(lambda: next(shown)["state"], "done")
            return [*until, "done"]

    states = await asyncio.to_thread(follow)
    assert states == ["done"] if wanted else states[-1] == "done"


@pytest.mark.usefixtures("store")
def test_what_happens_to_a_job_is_shown_until_its_end() -> None:
    events = [line.split()[2].rstrip(":") for line in said("tail", 4).splitlines()]
    assert events[0] == "submitted"
    assert "fetched" in events
    assert "cannot be used together" in refused("tail", 1, "--tag", "x", code=2)
    assert refused("tail", 99) == "jobstore: no job 99\n"
