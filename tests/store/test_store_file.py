"""The store's file: whose it is by whatever name, whose log lies beside it, who may read it."""

import asyncio
import fcntl
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.live import owned_store, shared_store
from jobstore.model.errors import StoreInUse
from jobstore.store.sqlite import mixture, pages
from jobstore.store.sqlite.backup import back_up
from jobstore.store.sqlite.lock import is_owned, owned, owner
from jobstore.store.sqlite.migrate import migrate
from jobstore.store.sqlite.opening import open_history
from tests.client import Client
from tests.commands import jobstore, refused, said, start
from tests.conftest import Start
from tests.stock import Stock, stocked
from tests.stores import check_sound, finished, on_disk, opened, prepare, rows, states, submission

pytestmark = pytest.mark.file

# What opens a store with SQLite.
COMMANDS = ["list", "history", "check", "purge", "import x", "backup copy.db", "migrate", "show 1"]
MIXED = "jobs.db-wal beside it belongs to another state of the store"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").write_text("")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


async def two_jobs(stock: Stock) -> None:
    await stock.done("/report")
    await stock.done("/report")


# --- one owner, by whatever name ----------------------------------------------------------------


def linked(store: Path, other: Path) -> Iterator[None]:
    other.symlink_to(store)
    yield


def chained(store: Path, other: Path) -> Iterator[None]:
    other.with_name("between").symlink_to(store.parent)
    other.symlink_to(Path("between") / store.name)
    yield


def hard_linked(store: Path, other: Path) -> Iterator[None]:
    other.hardlink_to(store)
    yield


def without_lock(store: Path, other: Path) -> Iterator[None]:
    beside(store, ".lock").unlink()
    other.symlink_to(store)
    yield


def mounted(store: Path, other: Path) -> Iterator[None]:
    other.touch()
    if subprocess.run(
        ["mount", "--bind", store, other], capture_output=True, check=False
    ).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", other], check=True)


NAMES = [linked, chained, hard_linked, without_lock, mounted]


@pytest.mark.parametrize("named", NAMES)
async def test_a_second_server_is_refused_with_the_pid_of_the_first_by_whatever_name(
    named: Callable[[Path, Path], Iterator[None]],
    server_process: Start,
    store_path: Path,
    http: ClientSession,
) -> None:
    first = await server_process()
    other = store_path.with_name("other.db")
    with contextmanager(named)(store_path, other):
        process = start("serve", "--store", other, "--port", 0)
        _, complaint = process.communicate()
        assert process.returncode == 1
        assert (
            f"the server with process id {first.process.pid} is using this store"
            in complaint.decode()
        )
    client = Client(http, first.url)
    assert (await client.fetched(await client.done("/_api/version"))).status == 200


@pytest.mark.parametrize("named", [hard_linked, mounted])
@pytest.mark.parametrize("command", COMMANDS)
async def test_no_command_opens_a_store_by_a_name_beside_which_its_log_is_not(
    named: Callable[[Path, Path], Iterator[None]], command: str, store_path: Path
) -> None:
    async with opened(store_path) as store:
        await finished(store)
        other = store_path.with_name("other.db")
        with contextmanager(named)(store_path, other):
            told = await asyncio.to_thread(refused, *command.split(), "--store", other)
            assert "SQLite keeps a log beside each name" in told
            assert not beside(other, "-shm").exists()
        other.unlink()
    assert states(store_path) == {1: ("done", "held")}


async def test_commands_reach_a_running_store_through_a_symlink(store_path: Path) -> None:
    other = store_path.with_name("other.db")
    async with opened(store_path) as store:
        await finished(store)
        other.symlink_to(store_path)
        assert "/work" in await asyncio.to_thread(said, "history", "--store", other)
        assert is_owned(other)


def test_the_pid_of_the_owner_needs_no_file_beside_the_store(store_path: Path) -> None:
    prepare(store_path)
    program = (
        "import sys, pathlib; from jobstore.store.sqlite.lock import owned\nwith owned(pathlib.Path"
    )
    program += "(sys.argv[1])): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(store_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        beside(store_path, ".lock").unlink()
        assert owner(store_path) == process.pid
        with pytest.raises(StoreInUse) as told, owned(store_path):
            pass
        assert told.value.pid == process.pid
        process.kill()
        process.wait()
    assert owner(store_path) is None


@pytest.mark.parametrize("content", ["precious", "4711\n and more"])
def test_somebody_elses_file_in_the_locks_place_stays_as_it_is(
    store_path: Path, content: str
) -> None:
    beside(store_path, ".lock").write_text(content)
    stocked(store_path, two_jobs)
    assert beside(store_path, ".lock").read_text() == content


def test_a_link_in_the_locks_place_is_not_followed(store_path: Path) -> None:
    Path("precious").write_text("1\n")
    beside(store_path, ".lock").symlink_to("precious")
    stocked(store_path, two_jobs)
    assert Path("precious").read_text() == "1\n"
    assert beside(store_path, ".lock").is_symlink()


def test_a_server_of_an_earlier_version_keeps_the_store(store_path: Path) -> None:
    prepare(store_path)
    with closing(sqlite3.connect(store_path)) as store:
        store.execute("PRAGMA user_version = 3")
    with beside(store_path, ".lock").open("w+") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreInUse) as told, owned(store_path):
            pass
        assert told.value.pid == 4711
        assert "process id 4711 is using this store" in refused("migrate")


async def test_what_is_opened_in_the_servers_process_leaves_sqlites_locks_alone(
    store_path: Path,
) -> None:
    # Without them, whoever closes the store last in another process removes the server's log.
    program = "import sqlite3, sys; file = sqlite3.connect(sys.argv[1], timeout=0)\n"
    program += "file.execute('PRAGMA journal_mode = DELETE')"
    async with opened(store_path) as store:
        await finished(store)
        async with shared_store(store_path), open_history(store_path):
            assert owner(store_path) == os.getpid()
        with pytest.raises(StoreInUse):
            async with owned_store(store_path):
                pass
        await asyncio.to_thread(said, "list")
        command = [sys.executable, "-c", program, str(store_path)]
        ran = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        assert b"database is locked" in (await ran.communicate())[1]
        await finished(store)
    assert states(store_path) == {1: ("done", "held"), 2: ("done", "held")}


# --- the log of another file --------------------------------------------------------------------


def crash(store: Path, name: str) -> Path:
    """Copy what would be on the disk if the power failed now."""
    copy = store.with_name(name)
    copy.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(beside(store, ending), copy / f"jobs.db{ending}")
    return copy / "jobs.db"


@pytest.fixture
def crashed(store_path: Path) -> Path:
    """Make a store that has crashed, and copies of earlier states of it, by all means."""
    return asyncio.run(crashed_with_copies(store_path))


async def crashed_with_copies(store_path: Path) -> Path:
    async with opened(store_path) as store:
        await finished(store)
    shutil.copy(store_path, "stopped.db")
    async with opened(store_path) as store:
        await finished(store)
        await back_up(store_path, Path("backup.db"), lambda *_: None)
        with closing(sqlite3.connect(store_path)) as file:
            with closing(sqlite3.connect("sqlite.db")) as copy:
                file.backup(copy)
            file.execute("VACUUM INTO 'vacuum.db'")
        await store.file.renew_mark()
        await store.file.checkpoint()
        await finished(store)
        return crash(store_path, "crashed")


@pytest.mark.parametrize("copy", ["stopped.db", "backup.db", "sqlite.db", "vacuum.db"])
def test_a_copy_beside_the_log_of_a_crashed_store_is_refused(crashed: Path, copy: str) -> None:
    shutil.copyfile(copy, crashed)
    before = on_disk(crashed)
    assert MIXED in refused("migrate", "--store", crashed)
    process = start("serve", "--store", crashed, "--port", 0)
    _, complaint = process.communicate()
    assert (process.returncode, MIXED in complaint.decode()) == (1, True)
    beside(crashed, ".lock").unlink()
    assert on_disk(crashed) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_opens_such_a_mixture(crashed: Path, command: str) -> None:
    shutil.copyfile("backup.db", crashed)
    assert MIXED in refused(*command.split(), "--store", crashed)


def test_a_store_beside_the_log_of_another_one_is_refused(crashed: Path) -> None:
    stocked(Path("another.db"), two_jobs)
    shutil.copyfile("another.db", crashed)
    assert MIXED in refused("list", "--store", crashed)


def test_a_log_whose_store_is_gone_is_not_thrown_away(crashed: Path) -> None:
    crashed.unlink()
    assert MIXED in refused("migrate", "--store", crashed)
    assert beside(crashed, "-wal").stat().st_size > 0


async def test_an_honest_crash_is_never_taken_for_a_mixture(store_path: Path) -> None:
    crashes: list[Path] = []

    def crashing() -> None:
        crashes.append(crash(store_path, f"crash-{len(crashes)}"))

    for _ in range(2):
        async with opened(store_path) as store:
            crashing()
            hostile = b"mark" + b"0123456789abcdef" * 4
            await store.submit(submission(target="/other", body=hostile))
            crashing()
            with closing(sqlite3.connect(store_path)) as file:
                pages.move(file)
            crashing()
            await finished(store)
            crashing()
            await store.file.renew_mark()
            crashing()
            with closing(sqlite3.connect(store_path)) as file:
                pages.move(file)
                crashing()
                mixture.renew(file)
                file.commit()
                crashing()
                pages.move(file)
            crashing()
            await finished(store)
            crashing()
            await store.file.checkpoint()
            crashing()
            await finished(store)
            crashing()
    for each in crashes:
        async with opened(each):
            pass


async def test_a_log_that_was_cut_by_a_power_failure_is_never_taken_for_that_of_another_file(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        await finished(store)
        await store.file.checkpoint()
        for _ in range(3):
            await finished(store)
            await store.file.renew_mark()
        crashed = crash(store_path, "crashed")
    log = beside(crashed, "-wal").read_bytes()
    file = crashed.read_bytes()
    for end in range(0, len(log), 1777):
        crashed.write_bytes(file)
        beside(crashed, "-wal").write_bytes(log[:end])
        mixture.check(crashed)
        beside(crashed, "-wal").write_bytes(log[:end] + b"\xa5" * 512 + log[end + 512 :])
        mixture.check(crashed)


async def test_pages_of_an_earlier_log_that_a_torn_frame_shows_do_not_count(
    store_path: Path,
) -> None:
    # The head of a frame was written over, its page was not: it shows an older token.
    async with opened(store_path) as store:
        await finished(store)
        old = rows(store_path, "SELECT state FROM counter WHERE machine = 'mark'")[0][0].encode()
        await store.file.renew_mark()
        await store.file.checkpoint()
        await finished(store)
        crashed = crash(store_path, "crashed")
        new = rows(store_path, "SELECT state FROM counter WHERE machine = 'mark'")[0][0].encode()
    log = beside(crashed, "-wal")
    assert new in log.read_bytes()
    log.write_bytes(log.read_bytes().replace(new, old))
    async with opened(crashed):
        pass


def test_a_log_of_no_length_beside_a_backup_does_no_harm(store_path: Path) -> None:
    stocked(store_path, two_jobs)
    said("backup", "backup.db")
    shutil.copyfile("backup.db", store_path)
    beside(store_path, "-wal").touch()
    assert "2 jobs" in said("check")
    stocked(store_path, two_jobs)
    assert len(states(store_path)) == 4


# --- a backup is put in place -------------------------------------------------------------------


def test_a_backup_takes_the_place_of_a_mixture_whose_parts_are_kept(
    crashed: Path,
) -> None:
    shutil.copyfile("backup.db", crashed)
    log = beside(crashed, "-wal").read_bytes()
    told = said("restore-backup", "backup.db", "--store", crashed)
    assert told.startswith(f"{crashed}: ")
    assert "Job ids given out since the backup are unknown" in told
    (aside,) = (each for each in crashed.parent.glob("*.replaced-*") if "-wal" not in each.name)
    assert f"kept as {aside.name}\n" in told
    assert beside(aside, "-wal").read_bytes() == log
    assert len(states(crashed)) == 2
    stocked(crashed, two_jobs)


def test_the_state_after_a_backup_is_kept_and_no_id_of_it_is_given_again(
    crashed: Path,
) -> None:
    shutil.copy("backup.db", "before.db")
    said("restore-backup", "backup.db", "--store", crashed)
    (aside,) = crashed.parent.glob("*.replaced-*")
    assert len(states(aside)) == 3
    assert len(states(crashed)) == 2
    stocked(crashed, two_jobs)
    assert sorted(states(crashed)) == [1, 2, 4, 5]
    assert Path("backup.db").read_bytes() == Path("before.db").read_bytes()


def test_what_was_there_is_discarded_when_told_so(store_path: Path) -> None:
    stocked(store_path, two_jobs)
    said("backup", "backup.db")
    said("restore-backup", "backup.db", "--discard")
    assert sorted(each.name for each in Path().glob("jobs.db*")) == ["jobs.db", "jobs.db.lock"]
    check_sound(store_path)


def test_a_backup_is_put_where_no_store_is_any_more(store_path: Path) -> None:
    stocked(store_path, two_jobs)
    store_path.rename("backup.db")
    said("restore-backup", "backup.db")
    assert len(states(store_path)) == 2
    assert not list(Path().glob("*replaced*"))


async def test_no_backup_takes_the_place_of_a_store_that_a_server_owns(
    server_process: Start, store_path: Path
) -> None:
    server = await server_process()
    await asyncio.to_thread(said, "backup", "backup.db")
    told = await asyncio.to_thread(refused, "restore-backup", "backup.db")
    assert f"the server with process id {server.process.pid} is using this store" in told
    force = ("backup", store_path, "--store", "backup.db", "--force")
    assert "a server is using this store; stop it first" in await asyncio.to_thread(refused, *force)


def test_no_backup_takes_the_place_of_a_store_that_somebody_reads(store_path: Path) -> None:
    stocked(store_path, two_jobs)
    said("backup", "backup.db")
    program = "import sqlite3, sys; file = sqlite3.connect(sys.argv[1])\n"
    program += "file.execute('SELECT * FROM job').fetchone(); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(store_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        told = refused("restore-backup", "backup.db")
        assert f"the process {process.pid} has it open" in told
        process.kill()
        process.wait()
    said("restore-backup", "backup.db")


@pytest.mark.parametrize("damage", ["text", "torn", "itself", "missing"])
def test_what_is_no_sound_backup_changes_nothing(store_path: Path, damage: str) -> None:
    stocked(store_path, two_jobs)
    said("backup", "backup.db")
    content = Path("backup.db").read_bytes()
    match damage:
        case "text":
            Path("backup.db").write_text("Dear diary\n" * 1000)
        case "torn":
            Path("backup.db").write_bytes(content[:8192] + bytes(4096) * 20 + content[90112:])
        case "itself":
            Path("backup.db").unlink()
            Path("backup.db").symlink_to(store_path)
        case "missing":
            Path("backup.db").unlink()
    before = store_path.read_bytes()
    assert "backup.db: " in refused("restore-backup", "backup.db")
    assert store_path.read_bytes() == before
    assert not list(Path().glob("jobs.db.[rp]*"))


def test_a_replacement_that_a_crash_broke_off_is_refused_and_done_again(
    crashed: Path,
) -> None:
    aside = crashed.with_name("jobs.db.replaced-1")
    aside.hardlink_to(crashed)
    beside(crashed, "-wal").rename(beside(aside, "-wal"))
    assert "2 names (hard links)" in refused("list", "--store", crashed)
    said("restore-backup", "backup.db", "--store", crashed)
    assert len(states(crashed)) == 2
    (second,) = crashed.parent.glob("*.replaced-2*")
    second.unlink()
    assert len(states(aside)) == 3


# --- who may read it ----------------------------------------------------------------------------


@pytest.fixture
def generous() -> Iterator[None]:
    """Let everybody read and write what is made, unless it says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous")
def test_only_their_owner_may_read_a_stores_files(store_path: Path) -> None:
    async def looking(stock: Stock) -> None:
        await two_jobs(stock)
        for ending in ("", "-wal", "-shm", ".lock"):
            assert mode(beside(store_path, ending)) == 0o600

    stocked(store_path, looking)
    said("backup", "backup.db")
    said("export", "export.jsonl")
    said("restore-backup", "backup.db")
    made = [*Path().glob("*.db*"), Path("export.jsonl")]
    assert {each.name: mode(each) for each in made} == {each.name: 0o600 for each in made}


@pytest.mark.usefixtures("generous")
def test_a_command_makes_a_store_that_only_its_owner_may_read(store_path: Path) -> None:
    migrate(store_path)
    assert mode(store_path) == 0o600


@pytest.mark.parametrize(("found", "then"), [(0o644, 0o600), (0o666, 0o600), (0o640, 0o640)])
async def test_a_store_that_everybody_could_read_is_made_private_by_its_server(
    store_path: Path, found: int, then: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(store_path):
        crashed = crash(store_path, "crashed")
    for ending in ("", "-wal"):
        beside(crashed, ending).chmod(found)
    with caplog.at_level(logging.WARNING):
        async with opened(crashed):
            assert [mode(beside(crashed, ending)) for ending in ("", "-wal", "-shm")] == [then] * 3
    assert ("everybody could read it" in caplog.text) == (then != found)


async def test_the_log_is_cut_to_nothing_when_nothing_is_written_any_more(
    store_path: Path,
) -> None:
    secret = (("Authorization", "geheim"),)
    async with opened(store_path) as store:
        job_id = await store.submit(submission(target="/other", headers=secret))
        await store.cancel(job_id)
        assert b"geheim" in beside(store_path, "-wal").read_bytes()
        seen = await store.file.cut_wal()
        await finished(store)
        assert b"geheim" in beside(store_path, "-wal").read_bytes()
        seen = await store.file.cut_wal(seen)  # it was written meanwhile
        assert seen is not None
        assert await store.file.cut_wal(seen) is None
        assert beside(store_path, "-wal").stat().st_size == 0
        assert b"geheim" not in on_disk(store_path)
        assert await store.file.cut_wal() is None


async def test_an_idle_server_writes_nothing_while_a_reader_holds_its_log(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        await finished(store)
        with closing(sqlite3.connect(store_path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM job").fetchone()
            seen = await store.file.cut_wal(await store.file.cut_wal())
            assert seen is not None
            assert await store.file.cut_wal(seen) == seen
        assert await store.file.cut_wal(seen) is None


def test_reading_commands_need_no_room_to_write_for_a_backup(store_path: Path) -> None:
    stocked(store_path, two_jobs)
    said("backup", "backup.db")
    before = sorted(Path().iterdir())
    assert jobstore("history", "--store", "backup.db").exit_code == 0
    assert sorted(Path().iterdir()) == before


# --- whose it is --------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_what_root_makes_belongs_to_whom_the_store_belongs(tmp_path: Path) -> None:
    (home := tmp_path / "service").mkdir()
    os.chown(home, 65534, 65533)
    store = home / "jobs.db"
    stocked(store, two_jobs)  # by root, where nothing was
    said("backup", "backup.db", "--store", store)
    os.chown(store, 65534, 65532)
    said("restore-backup", "backup.db", "--store", store)
    ours, theirs = Path("backup.db").stat(), store.stat()
    assert (ours.st_uid, theirs.st_uid, theirs.st_gid) == (0, 65534, 65532)
    assert {each.stat().st_uid for each in home.iterdir()} == {65534}
