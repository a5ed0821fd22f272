"""Commands on a store in a database: they say what they say of a file, or what to use instead."""

import asyncio
import json
import re
import shlex
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.clock import SECOND
from jobstore.model.errors import StoreUnsupported
from jobstore.store.postgresql.migrate import SCHEMA_VERSION
from jobstore.store.postgresql.supported import refuse_others
from tests import engines, stores
from tests.accounts import PASSWORD
from tests.client import Client
from tests.commands import jobstore, refused, said, start
from tests.conftest import started
from tests.engines import Place
from tests.stock import Stock, stocked
from trials.nursery import ForkedServer
from trials.postgres import programs

START = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z
LARGE = bytes(range(256)) * 4096  # one MiB, in several chunks
DAILY = ("--name", "daily", "--path", "/daily", "--target", "/import?records=10")
ABSENT = {"JOBSTORE_STORE__SCHEMA": "absent"}

READING = (
    "list",
    "list --limit 2",
    "list --json",
    "show 1",
    "show 1 --json",
    "show 1 --body response",
    "show 2 --body request",
    "show 5",
    "history",
    "history --json",
    "history --csv",
    "history --stats",
    "history --stats --json",
    "history --stats=definition",
    "history --activity --since 2023-11-14 --until 2023-11-16",
    "history --longest",
    "history --interrupted",
    "history --running-at 2023-11-14T22:13:21",
    "history --cancelled-by alice",
    "history --state done --path /re --status 2xx --owner alice",
    "history --definition daily",
    "history --limit 2",
    "definitions",
    "definitions --json",
    "definitions /daily",
    "user list",
    "user list --json",
    "user tokens",
    "expire --before 2023-11-01",
)
# What each of the stores has by itself, or what passes between two commands.
OWN = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|20[^13]\d-\S+Z|\d+d\d+h ago|20[^2]\S+Z"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def some_jobs(stock: Stock) -> None:
    """Make jobs 1 to 6, each of them different."""
    await stock.done("/report?year=2025", status=201, owner="alice", answer={"body": LARGE})
    stock.clock.now += SECOND
    await stock.fetch(await stock.done("/fetched", status=404, body=LARGE))
    await stock.failed("/down", method="POST")
    job_id = await stock.queued("/stop")
    await stock.store.cancel(job_id, by="alice")
    claim = await stock.running("/import")
    stock.clock.now += SECOND
    await stock.finish(claim, body=b"imported")
    await stock.queued("/later")


def both(path: Path, database: Place) -> tuple[Path, Place]:
    """Fill a file and a database alike."""
    for store in (path, database):
        stocked(store, some_jobs, START)
        said("define", *DAILY, "--cron", "0 3 * * *", "--store", store)
        command = ("user", "add", "alice", "--role", "admin", "--password-stdin")
        jobstore(*command, "--store", store, input=f"{PASSWORD}\n")
        said("run", "/daily", "--store", store, "--json")
    return path, database


def of_all_time(output: str) -> str:
    """Leave out what is another thing each time."""
    return OWN.sub("...", output)


def test_reading_commands_say_of_a_database_what_they_say_of_a_file(
    store_path: Path, database: Place
) -> None:
    path, shared = both(store_path, database)
    for command in READING:
        one, other = (jobstore(*command.split(), "--store", store) for store in (path, shared))
        assert of_all_time(one.output) == of_all_time(other.output), command
        assert (one.exit_code, other.exit_code) == (0, 0), command


def test_the_nearest_word_for_where_the_store_is_counts(store_path: Path, database: Place) -> None:
    stocked(store_path, some_jobs, START)
    in_file = said("list", "--store", store_path)
    of_database = "No unfinished jobs, and no results to fetch.\n"
    Path("url.toml").write_text(f'[store]\nurl = "{database.url}"\n')
    Path("path.toml").write_text(f'[store]\npath = "{store_path}"\n')
    Path("both.toml").write_text(f'[store]\npath = "a.db"\nurl = "{database.url}"\n')
    url = {"JOBSTORE_STORE__URL": database.url}
    assert said("list", "--config", "url.toml") == of_database
    assert said("list", env=url) == of_database
    assert said("list", "--config", "path.toml", env=url) == of_database
    assert said("list", "--config", "path.toml", "--store", database) == of_database
    assert said("list", "--config", "url.toml", "--store", store_path) == in_file
    assert said("list", "--store", store_path, env=url) == in_file
    assert said("list", "--config", "both.toml", "--store", store_path) == in_file
    told = refused("list", "--config", "both.toml")
    assert told == "jobstore: both.toml: [store]: expected a path or a url, and not both\n"


def test_an_export_of_a_database_is_that_of_a_file(store_path: Path, database: Place) -> None:
    path, shared = both(store_path, database)
    of_file, of_database = (said("export", "-", "--store", store) for store in (path, shared))
    times = re.compile(r'("(?:created|changed)_at":|"uuid":)("[^"]+"|\d+)')
    lines = [times.sub(r"\1 0", output).splitlines() for output in (of_file, of_database)]
    assert lines[0][1:-1][2:] == lines[1][1:-1][2:]  # but for the run that was submitted just now
    last_ids = [json.loads(line[0])["last_ids"] for line in lines]
    assert last_ids == [{"job": 7, "definition": 1}] * 2


def test_an_export_of_a_database_can_be_taken_in_by_a_file(database: Place) -> None:
    stocked(database, some_jobs, START)
    said("export", "all.jsonl", "--store", database)
    said("migrate", "--store", "new.db")
    told = said("import", "all.jsonl", "--store", "new.db")
    assert told == "new.db: imported 5 jobs; left out 1 job that had not ended\n"
    for command in ("show 1 --body response", "show 2 --body request", "show 4"):
        one, other = (said(*command.split(), "--store", each) for each in ("new.db", database))
        assert one == other


def test_a_database_takes_an_export_of_a_file_in(store_path: Path, database: Place) -> None:
    stocked(store_path, some_jobs, START)
    said("export", "all.jsonl", "--store", store_path)
    Path("cut.jsonl").write_bytes(Path("all.jsonl").read_bytes()[:-30])
    where = ("--store", database)
    assert "line 15 is damaged" in refused("import", "cut.jsonl", *where)
    assert said("history", *where) == "No jobs in the store.\n"
    told = said("import", "all.jsonl", *where)
    assert told.endswith(": imported 5 jobs; left out 1 job that had not ended\n")
    assert json.loads(said("check", "--json", *where))["ok"]
    assert said("show", 1, *where) == said("show", 1, "--store", store_path)
    assert "job 5 already exists" in refused("import", "all.jsonl", *where)
    said("define", *DAILY, *where)
    assert json.loads(said("run", "/daily", "--json", *where))["id"] == 7


def test_commands_change_a_database_as_they_change_a_file(
    store_path: Path, database: Place
) -> None:
    for store in both(store_path, database):
        where = ("--store", store)
        assert said("restore", 2, *where) == "The result of job 2 can be fetched again.\n"
        assert "cannot be restored" in refused("restore", 2, *where)
        assert said("undefine", "/daily", *where) == "Definition 1, /daily, is deleted.\n"
        assert "no definition" in refused("run", "/daily", *where)
        assert jobstore("user", "role", "alice", "reader", *where).exit_code == 0
        token = said("user", "token", "alice", "--json", *where)
        assert json.loads(token)["id"] == 1
        assert said("user", "revoke", 1, *where) == "Token 1 was revoked.\n"
        assert jobstore("user", "remove", "alice", *where).exit_code == 0
        assert said("expire", "--older-than", "1s", *where).startswith("5 results of jobs")
        assert json.loads(said("purge", "--older-than", "0s", "--json", *where))["purged"] >= 0
        assert [row.split()[0] for row in said("list", *where).splitlines()] == ["ID", "7", "6"]


async def test_what_a_command_changes_is_noticed_by_the_nodes(
    database: Place, http: ClientSession
) -> None:
    async def command(*arguments: object, **options: Any) -> str:
        return (
            await asyncio.to_thread(jobstore, *arguments, "--store", database, **options)
        ).stdout

    async with started(engines.process(ForkedServer, database)) as begin:
        client = Client(http, (await begin("--open")).url)
        await command("define", *DAILY[:4], "--target", "/_api/version")
        run = json.loads(await command("run", "/daily", "--json"))
        await client.ended(run["id"])
        account = ("user", "add", "a", "--role", "admin", "--password-stdin")
        assert await command(*account, input=f"{PASSWORD}\n")
        while (await client("GET", "/_api/job/done")).status != 401:
            pass


# check


def test_check_finds_nothing_wrong_with_a_sound_database(database: Place) -> None:
    stocked(database, some_jobs, START)
    told = said("check", "--store", database)
    assert re.search(r": ok; schema version \d+, \S+ [kM]B, 6 jobs \(", told)
    report = json.loads(said("check", "--store", database, "--json"))
    assert (report["ok"], report["problems"], report["free"]) == (True, [], 0)
    assert report["jobs"] == {"queued": 1, "running": 0, "done": 3, "failed": 1, "cancelled": 1}


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("DELETE FROM request WHERE job_id = 6", "job 6 is queued, but its request is missing"),
        ("DELETE FROM response WHERE job_id = 5", "job 5 is done, but its answer is missing"),
        ("DELETE FROM body WHERE job_id = 1", "the body of the response of job 1 is missing"),
        (
            "DELETE FROM chunk USING body WHERE seq = 1 AND body_id = id AND side = 'request'",
            "the body of the request of job 2 has 786432 bytes in its chunks, expected 1048576",
        ),
        (
            "UPDATE counter_slot SET count = count + 1 WHERE state = 'failed'",
            "the counter of the state failed of the jobs is 2, but there are 1",
        ),
        (
            "DELETE FROM counter_slot WHERE state = 'failed'",
            "there is no counter of the state failed of the jobs, but there are 1",
        ),
        (
            "UPDATE account_usage_slot SET queued = queued + 1",
            "the counters of account 0 say 2 queued jobs and",
        ),
        (
            "SELECT setval('job_id_seq', 3)",
            "the last row of job is 6, but its sequence stands at 3: ids would be given again",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'job_ready'::regclass",
            "the index job_ready is not valid; REINDEX mends it",
        ),
    ],
)
def test_check_finds(database: Place, damage: str, problem: str) -> None:
    stocked(database, some_jobs, START)
    with closing(engines.connected(database)) as link:
        link.execute(damage)
        result = jobstore("check", "--store", database)
        link.execute("UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid")
    assert result.exit_code == 1
    assert problem in result.output


# What PostgreSQL has programs for


def test_a_database_is_not_backed_up_but_told_how(database: Place, tmp_path: Path) -> None:
    told = refused("backup", "copy file", "--store", database)
    command = told.rpartition("program: ")[2].strip()
    assert command.endswith("--schema=jobstore --format=custom --file='copy file'")
    if not (dump := programs() / "pg_dump").exists():
        pytest.skip("this server comes without pg_dump")
    subprocess.run([dump, *shlex.split(command)[1:]], check=True, cwd=tmp_path)
    assert (tmp_path / "copy file").read_bytes().startswith(b"PGDMP")
    told = refused("restore-backup", "copy file", "--store", database)
    assert "pg_restore --dbname=" in told


def test_a_database_is_purged_but_not_rebuilt(database: Place) -> None:
    stocked(database, some_jobs, START)
    assert "VACUUM (FULL, ANALYZE)" in refused("purge", "--rebuild", "--store", database)
    told = said("purge", "--older-than", "1s", "--store", database)
    assert re.match(r"1 payload from before \S+ purged; autovacuum", told)
    assert stores.rows(database, "SELECT count(*) FROM body") == [(1,)]


# A schema that is not there, or not ours


@pytest.mark.parametrize(
    "command",
    [
        *(
            "list",
            "show 1",
            "history",
            "history --stats",
            "definitions",
            "user list",
            "user tokens",
        ),
        *("export -", "check", "nodes", "purge --older-than 1h", "purge --rebuild", "expire"),
        *("restore 1", "run 1", "undefine 1", "user remove a", "user token a"),
    ],
)
def test_a_store_that_is_not_there_is_not_made_by_looking_at_it(
    database: Place, command: str
) -> None:
    told = refused(*command.split(), "--store", database, env=ABSENT)
    assert told.endswith(
        ", schema absent: no such store; `jobstore serve` or `jobstore migrate` creates one\n"
    )
    assert stores.rows(database, "SELECT 1 FROM pg_namespace WHERE nspname = 'absent'") == []


def test_migrate_creates_a_schema_and_says_when_there_is_nothing_to_do(database: Place) -> None:
    new = {"JOBSTORE_STORE__SCHEMA": "jobs_of_mine"}
    with closing(engines.connected(database)) as link:
        try:
            assert said("migrate", "--store", database, env=new).endswith(
                f": created with schema version {SCHEMA_VERSION}\n"
            )
            assert said("migrate", "--store", database, env=new).endswith(", nothing to do\n")
            told = json.loads(said("migrate", "--store", database, "--json", env=new))
            assert (told["before"], told["after"]) == (SCHEMA_VERSION, SCHEMA_VERSION)
            said("define", *DAILY, "--store", database, env=new)
            assert "/daily" in said("definitions", "--store", database, env=new)
            assert said("definitions", "--store", database) == "There are no definitions.\n"
        finally:
            link.execute("DROP SCHEMA jobs_of_mine CASCADE")


def test_three_processes_that_migrate_at_once_make_one_schema(
    database: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSTORE_STORE__SCHEMA", "at_once")
    with closing(engines.connected(database)) as link:
        try:
            processes = [start("migrate", "--store", database) for _ in range(3)]
            told = [process.communicate() for process in processes]
            assert [process.returncode for process in processes] == [0, 0, 0], told
            words = sorted(out.decode().rpartition(": ")[2].strip() for out, _ in told)
            nothing = f"schema version {SCHEMA_VERSION}, nothing to do"
            assert words == [f"created with schema version {SCHEMA_VERSION}", nothing, nothing]
        finally:
            link.execute("DROP SCHEMA at_once CASCADE")


META = "CREATE TABLE odd.meta AS SELECT 1 AS one, {0} AS schema_version, {0} AS compatible_from"


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        (["job"], "schema odd: this is not a jobstore schema; nothing was changed"),
        (
            ["job", "boot", 99],
            f"its schema version is 99, this jobstore knows versions up to {SCHEMA_VERSION}",
        ),
        (["job", "boot", 5], f"its schema version is 5, this jobstore needs {SCHEMA_VERSION}"),
    ],
)
@pytest.mark.parametrize("command", ["list", "user list", "check", "nodes", "run 1", "move a.db"])
def test_a_schema_that_is_foreign_or_of_another_version_is_left_alone(
    database: Place, command: str, tables: list[str | int], sentence: str
) -> None:
    odd = {"JOBSTORE_STORE__SCHEMA": "odd"}
    said("migrate", "--store", "a.db")
    with closing(engines.connected(database)) as link:
        link.execute("CREATE SCHEMA odd")
        try:
            for table in tables:
                is_name = isinstance(table, str)
                made = f"CREATE TABLE odd.{table} (id bigint)" if is_name else META.format(table)
                link.execute(made.encode())
            place = [] if command.startswith("move") else ["--store"]
            assert sentence in refused(*command.split(), *place, database, env=odd)
        finally:
            link.execute("DROP SCHEMA odd CASCADE")


# Servers that are not PostgreSQL, or too old


@pytest.mark.parametrize(
    ("said_of_itself", "sentence"),
    [
        (
            "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27)",
            "this is CockroachDB, and not PostgreSQL",
        ),
        (
            "PostgreSQL 11.2-YB-2.18.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang",
            "this is YugabyteDB, and not PostgreSQL",
        ),
        ("PostgreSQL 13.12 (Debian 13.12-1) on x86_64-pc-linux-gnu", "this is PostgreSQL 13"),
        ("PostgreSQL 9.6.24 on x86_64-pc-linux-gnu", "this is PostgreSQL 9"),
        ("PostgreSQL 8.0.2 on i686, Redshift 1.0.54052", "this is Redshift"),
        ("DuckDB v1.0", "this is 'DuckDB v1.0', and not PostgreSQL"),
    ],
)
def test_who_only_speaks_the_protocol_is_refused(said_of_itself: str, sentence: str) -> None:
    with pytest.raises(StoreUnsupported, match=re.escape(sentence)) as refusal:
        refuse_others("postgresql://db/jobs", said_of_itself)
    assert "a store needs PostgreSQL 14 or newer" in str(refusal.value)


@pytest.mark.parametrize(
    "said_of_itself",
    [
        "PostgreSQL 14.0 on x86_64-pc-linux-gnu, compiled by gcc",
        "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu",
        "PostgreSQL 18beta1 on aarch64-unknown-linux-gnu",
        "PostgreSQL 16.1 (EnterpriseDB Advanced Server 16.1.0) on x86_64-pc-linux-gnu",
    ],
)
def test_postgresql_is_taken_from_the_fourteenth_on(said_of_itself: str) -> None:
    refuse_others("postgresql://db/jobs", said_of_itself)


@pytest.mark.parametrize(
    "command", ["serve --port 0", "migrate", "list", "user list", "run 1", "purge", "nodes"]
)
def test_the_server_itself_is_asked_what_it_is(database: Place, command: str) -> None:
    with closing(engines.connected(database)) as link:
        link.execute("CREATE SCHEMA played")
        try:
            link.execute(
                "CREATE FUNCTION played.version() RETURNS text LANGUAGE sql"
                " AS $$ SELECT 'CockroachDB CCL v23.1.11' $$"
            )
            joint = "&" if "?" in database.url else "?"
            url = f"{database.url}{joint}options=-csearch_path%3Dplayed,pg_catalog"
            told = refused(*command.split(), "--store", url)
        finally:
            link.execute("DROP SCHEMA played CASCADE")
    assert "this is CockroachDB, and not PostgreSQL; a store needs PostgreSQL 14" in told
