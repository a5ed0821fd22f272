import asyncio
import fcntl
import json
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from jobstore.model.clock import SECOND
from jobstore.store.sqlite.backup import back_up
from jobstore.store.sqlite.checkup import check
from jobstore.store.sqlite.engine import SCHEMA_VERSION
from tests.commands import jobstore, overwrite, refused, said
from tests.stock import Stock, stocked, stocking

START = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z
LARGE = bytes(range(256)) * 4096  # one MiB, in several chunks


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def some_jobs(stock: Stock) -> None:
    """Make jobs 1 to 4, with large bodies among them."""
    await stock.done("/a", body=LARGE, answer={"body": LARGE})
    await stock.fetch(await stock.done("/b", answer={"body": b"an answer"}))
    await stock.failed("/c")
    await stock.queued("/d")


@pytest.fixture
def store(store_path: Path) -> Path:
    return stocked(store_path, some_jobs, START)


def change(path: Path, statement: str) -> None:
    """Change a store behind its back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(statement)


# restore


@pytest.mark.usefixtures("store")
def test_restore_holds_a_fetched_result_again() -> None:
    assert said("restore", 2) == "The result of job 2 can be fetched again.\n"
    assert [row.split()[0] for row in said("list").splitlines()] == ["ID", "4", "3", "2", "1"]
    assert said("show", 2).splitlines()[-1].split()[-1] == "restored"


@pytest.mark.usefixtures("store")
def test_restore_tells_scripts_what_it_did() -> None:
    assert json.loads(said("restore", 2, "--json")) == {"restored": 2}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("job_id", "complaint"),
    [
        (1, "the result of job 1 cannot be restored: it is held already"),
        (4, "the result of job 4 cannot be restored: the job has not ended yet"),
        (5, "no job 5"),
        (0, "no job 0"),
        (10**30, f"no job {10**30}"),
    ],
)
def test_restore_refuses(job_id: int, complaint: str) -> None:
    assert refused("restore", job_id) == f"jobstore: {complaint}\n"


def test_restore_refuses_what_was_purged(store_path: Path) -> None:
    async def purged(stock: Stock) -> None:
        await stock.fetch(await stock.done())
        await stock.store.upkeep.purge(START + SECOND)

    stocked(store_path, purged, START)
    assert refused("restore", 1).endswith("cannot be restored: its payload has been purged\n")


# expire


def test_expire_lets_go_of_what_nobody_fetched_in_time(store_path: Path) -> None:
    async def two(stock: Stock) -> None:
        await stock.done()
        stock.clock.now += SECOND
        await stock.done()

    stocked(store_path, two, START)
    assert said("expire", "--before", "2023-11-14T22:13:21") == (
        "1 result of jobs that ended before 2023-11-14T22:13:21.000Z expired.\n"
    )
    assert json.loads(said("expire", "--older-than", "1h", "--json"))["expired"] == 1
    assert said("expire").startswith("0 results of jobs that ended before ")


@pytest.mark.usefixtures("store")
def test_expire_does_what_the_configuration_says_unless_told_otherwise() -> None:
    Path("never.toml").write_text('[retention]\nunfetched = "never"')
    assert "unfetched is never" in refused("expire", "--config", "never.toml", code=2)
    assert said("expire").startswith("2 results of jobs")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--older-than soon", "'soon' is not a duration such as 90s, 15m, 24h or 7d."),
        ("--older-than 7", "'7' is not a duration"),
        ("--older-than 2023-11-14", "'2023-11-14' is not a duration"),
        ("--before never", "'never' is neither a time"),
        ("--before 1d --older-than 1d", "--before and --older-than cannot be used together"),
    ],
)
def test_expire_refuses(options: str, complaint: str) -> None:
    assert complaint in refused("expire", *options.split(), code=2)


# check


def test_a_backup_that_is_missing_is_told_so() -> None:
    complaint = refused("restore-backup", "none.db")
    assert complaint == "jobstore: none.db: No such file or directory\n"


def test_the_database_of_another_product_is_no_file() -> None:
    complaint = refused("list", "--store", "mysql://localhost/jobs", code=2)
    assert "expected a file, or a URL such as postgresql://localhost/jobs" in complaint


@pytest.mark.usefixtures("store")
def test_check_finds_nothing_wrong_with_a_sound_store() -> None:
    assert said("check").startswith(f"jobs.db: ok; schema version {SCHEMA_VERSION}, ")
    assert said("check").endswith("4 jobs (2 done, 1 failed, 1 queued)\n")
    report = json.loads(said("check", "--json"))
    assert (report["ok"], report["problems"], report["schema_version"]) == (
        True,
        [],
        SCHEMA_VERSION,
    )
    assert report["jobs"] == {"queued": 1, "running": 0, "done": 2, "failed": 1, "cancelled": 0}


def problems(path: Path) -> list[str]:
    result = jobstore("check", "--store", path, "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    found: list[str] = report["problems"]
    return found


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("DELETE FROM request WHERE job_id = 4", "job 4 is queued, but its request is missing"),
        ("DELETE FROM response WHERE job_id = 1", "job 1 is done, but its answer is missing"),
        ("DELETE FROM body WHERE id = 1", "the body of the request of job 1 is missing"),
        (
            "DELETE FROM chunk WHERE body_id = 2 AND seq = 1",
            "the body of the response of job 1 has 786432 bytes in its chunks, expected 1048576",
        ),
        (
            "UPDATE chunk SET seq = 9 WHERE body_id = 2 AND seq = 1",
            "the body of the response of job 1 has 1048576 bytes in its chunks, expected 1048576",
        ),
        (
            "UPDATE counter SET count = 7 WHERE state = 'held'",
            "the counter of the state held of the results is 7, but there are 2",
        ),
        (
            "UPDATE account_usage SET queued = 7",
            (
                "the counters of account 0 say 7 queued jobs and 2097161 bytes, "
                "but there are 1 and 2097161"
            ),
        ),
        (  # as a foreign program may, which does not count
            "UPDATE job SET account = 7 WHERE id = 4",
            "the counters of account 7 say 0 queued jobs and 0 bytes, but there are 1 and 0",
        ),
        (
            "UPDATE job SET state = 'cancelled', finished_at = 1, result = 'deleted' WHERE id = 4",
            "the counter of the state cancelled of the jobs is 0, but there are 1",
        ),
        (
            "PRAGMA ignore_check_constraints = ON; UPDATE job SET finished_at = NULL",
            "CHECK constraint failed in job",
        ),
        ("DELETE FROM job WHERE id = 3", "row 3 of request refers to nothing in job"),
    ],
)
def test_check_finds(store: Path, damage: str, problem: str) -> None:
    change(store, damage)
    found = problems(store)
    assert problem in found
    told = jobstore("check", "--store", store)
    assert told.exit_code == 1
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    assert told.stdout.startswith(f"{store}: {count}\n")
    assert f"  {problem}\n" in told.stdout


def test_check_tells_ten_problems_of_a_kind_and_that_there_are_more(store_path: Path) -> None:
    async def many(stock: Stock) -> None:
        await stock.many(11)

    change(stocked(store_path, many), "DELETE FROM request")
    found = problems(store_path)
    assert (len(found), found[-1]) == (11, "and more such requests")


def test_check_goes_on_where_the_file_is_damaged(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name IN ('job', 'request')"
        pages = [page for (page,) in connection.execute(query)]
    for page in pages:
        overwrite(store, (page - 1) * 4096, b"\xff" * 4096)
    found = "\n".join(problems(store))
    assert "cannot check the integrity: database disk image is malformed" in found
    assert "cannot check the requests: database disk image is malformed" in found


def test_check_does_not_mind_a_body_that_is_just_being_received(store: Path) -> None:
    change(store, "INSERT INTO body (side, size) VALUES ('request', 0)")
    assert "1 body being received or to be swept away" in said("check")


async def test_check_can_be_given_up(store_path: Path) -> None:
    async with stocking(store_path) as stock:
        await some_jobs(stock)

    def give_up(_: str, done: int, __: int) -> None:
        if done == 1:
            task.cancel()

    task = asyncio.create_task(check(store_path, give_up))
    with pytest.raises(asyncio.CancelledError):
        await task


# backup


def test_a_backup_is_a_sound_store_with_the_same_jobs(store: Path) -> None:
    told = said("backup", "copy.db")
    assert told.startswith("copy.db: ")
    assert told.endswith(" a complete copy of jobs.db\n")
    assert said("check", "--store", "copy.db").startswith("copy.db: ok")
    assert said("history", "--store", "copy.db", "--json") == said("history", "--json")
    body = jobstore("show", 1, "--body", "response", "--store", "copy.db").stdout_bytes
    assert body == LARGE
    assert not list(store.parent.glob("copy.db?*"))


@pytest.mark.usefixtures("store")
def test_backup_tells_scripts_what_it_did() -> None:
    told = json.loads(said("backup", "copy.db", "--json"))
    size = Path("copy.db").stat().st_size
    assert told == {"store": "jobs.db", "backup": "copy.db", "size": size}


async def test_a_backup_beside_a_busy_server_shows_one_moment(store_path: Path) -> None:
    async with stocking(store_path) as stock:
        await some_jobs(stock)
        await asyncio.gather(
            stock.many(500), back_up(store_path, Path("copy.db"), lambda *_: None), stock.many(500)
        )
    assert (await check(Path("copy.db"), lambda *_: None)).problems == ()


@pytest.mark.usefixtures("store")
def test_backup_replaces_a_file_only_when_told_to() -> None:
    Path("copy.db").write_text("precious")
    told = refused("backup", "copy.db")
    assert told == "jobstore: copy.db: the file exists; --force replaces it\n"
    assert Path("copy.db").read_text() == "precious"
    said("backup", "copy.db", "--force")
    said("check", "--store", "copy.db")


@pytest.mark.usefixtures("store")
def test_backup_refuses_the_store_itself_by_any_name() -> None:
    Path("link.db").symlink_to("jobs.db")
    for name in ("jobs.db", "link.db"):
        assert "this is the store itself" in refused("backup", name, "--force")
    said("check")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("no/copy.db", "no/copy.db: its folder does not exist"),
        (".", ".: this is not a file"),
        ("/proc/copy.db", "/proc/copy.db: cannot write it (No such file or directory)"),
        ("x" * 250, "cannot write it (File name too long)"),
    ],
)
def test_backup_refuses_where_no_file_can_be(file: str, complaint: str) -> None:
    assert complaint in refused("backup", file, "--force")


@pytest.mark.usefixtures("store")
def test_backup_leaves_a_file_alone_that_is_in_use() -> None:
    Path("copy.db-wal").write_text("not applied yet")
    assert "copy.db-wal lies beside it: the file is in use" in refused("backup", "copy.db")


@pytest.mark.usefixtures("store")
def test_backup_goes_over_what_a_broken_off_one_has_left() -> None:
    Path("copy.db.partial").write_bytes(b"half a copy" * 100_000)
    said("backup", "copy.db")
    said("check", "--store", "copy.db")
    assert not Path("copy.db.partial").exists()


@pytest.mark.usefixtures("store")
def test_two_backups_do_not_write_the_same_file_at_once() -> None:
    with Path("copy.db.partial").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another backup is writing copy.db.partial" in refused("backup", "copy.db")
    assert Path("copy.db.partial").exists()


def test_a_backup_can_be_read_by_no_more_people_than_the_store(store: Path) -> None:
    store.chmod(0o600)
    said("backup", "copy.db")
    assert stat.S_IMODE(Path("copy.db").stat().st_mode) == 0o600


async def test_a_backup_that_is_given_up_leaves_nothing_behind(store_path: Path) -> None:
    async with stocking(store_path) as stock:
        for _ in range(9):  # more than one step of the copying takes
            await stock.done(answer={"body": LARGE})
    loop = asyncio.get_running_loop()

    def give_up(done: int, pages: int) -> None:
        if done < pages:
            loop.call_soon_threadsafe(task.cancel)

    task = asyncio.create_task(back_up(store_path, Path("copy.db"), give_up))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [file.name for file in store_path.parent.glob("copy.db*")] == []


def test_a_backup_for_which_there_is_no_room_says_so_and_leaves_nothing_behind(
    store: Path,
) -> None:
    command = f"ulimit -f 1000; exec {sys.executable} -m jobstore backup copy.db"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr == b"jobstore: copy.db: there is no space left to write\n"
    assert list(store.parent.glob("copy.db*")) == []


@pytest.mark.usefixtures("store")
def test_a_backup_follows_no_link_that_lies_in_its_way() -> None:
    Path("precious").write_text("precious")
    Path("copy.db.partial").symlink_to("precious")
    assert "cannot write it (Too many levels of symbolic links)" in refused("backup", "copy.db")
    assert Path("precious").read_text() == "precious"
