"""History moves from one store to another: all of it as it was, or nothing."""

import fcntl
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobstore.model.clock import SECOND
from jobstore.model.definition import Draft
from jobstore.model.job import Failure, Trigger
from jobstore.model.message import Request
from jobstore.model.retry import AttemptEnded
from jobstore.store import exporting, schema
from jobstore.store.bodies import CHUNK_SIZE
from jobstore.store.export_lines import JobRecord
from jobstore.store.postgresql.database_url import name_of
from jobstore.store.search import Search
from jobstore.store.sqlite.lock import owned
from tests.commands import be_beside, jobstore, refused, said
from tests.engines import Place
from tests.stock import Stock, stocked
from tests.stores import StandingClock, check_sound, execute, opened, prepare, rows, timeline

START = 1_700_000_000 * SECOND
LARGE = os.urandom(2 * CHUNK_SIZE + 17)
SECRET = (("Authorization", "geheim"), ("X-Api-Key", "geheim"), ("X-Odd", "\udcff"))

_JOB_COLUMNS = [column.name for column in schema.columns(schema.JOB) if column.name != "boot"]
EVERYTHING = {
    "job": f"SELECT {', '.join(_JOB_COLUMNS)} FROM job",
    "request": "SELECT job_id, content FROM request",
    "response": "SELECT * FROM response",
    "chunk": (
        "SELECT job_id, side, seq, data FROM chunk JOIN body ON body.id = body_id ORDER BY 1, 2, 3"
    ),
    "event": "SELECT job_id, at, event, detail FROM event ORDER BY 1, 2, 3",
    "attempt": "SELECT * FROM attempt",
    "daily": "SELECT * FROM daily",
    "definition": "SELECT uuid, name, path, owner FROM definition",
}


@pytest.fixture(autouse=True)
def _elsewhere(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_beside(store_path, monkeypatch)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Make another store, which is empty."""
    path = tmp_path / "other.db"
    prepare(path)
    return path


async def ended(stock: Stock) -> None:
    """Make jobs 1 to 5, which have ended in all the ways there are."""
    made = await stock.store.definitions.create(
        Draft(name="nightly", path="/d/nightly", request=Request(method="GET", path="/a")), "root"
    )
    large = {"body": LARGE, "headers": (("X-Odd", "\udcff"),), "reason": "Fine"}
    await stock.done("/a?b=c", definition=made.id, trigger=Trigger.CLI, body=LARGE, answer=large)
    stock.clock.move(1.5)
    await stock.fetch(await stock.done("/b", 404, headers=SECRET, body=b"ask", owner="alice"))
    claim = await stock.running("/c")
    handle = stock.handle(claim)
    handle.report(40)
    handle.count("ROWS", 7)
    handle.warn("row 17 is odd")
    await stock.store.attempts.retry(
        claim, 0, AttemptEnded(failure=Failure.TIMEOUT, detail="too slow")
    )
    stock.clock.move(1)
    await stock.failed("/d", method="POST")
    await stock.store.cancel(3, by="alice")
    await stock.store.results.delete(await stock.done("/e"))


def called(path: Path) -> str:
    """Say what a store is called that nobody has named."""
    return name_of(path.url) if isinstance(path, Place) else path.name


def content(path: Path) -> dict[str, list[Any]]:
    return {name: sorted(rows(path, each), key=repr) for name, each in EVERYTHING.items()}


def exported(path: Path, *options: object) -> list[dict[str, Any]]:
    said("export", "history.jsonl", "--force", "--store", path, *options)
    return [json.loads(line) for line in Path("history.jsonl").read_bytes().splitlines()]


def written(*lines: Any) -> Path:
    path = Path("given.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["history.jsonl", "history.jsonl.gz"])
def test_all_of_it_arrives_as_it_was(store_path: Path, other: Path, name: str) -> None:
    stocked(store_path, ended, START)
    assert said("export", name) == f"{name}: 5 jobs of {called(store_path)}\n"
    assert said("import", name, "--store", other) == f"{other}: imported 5 jobs\n"
    assert content(other) == content(store_path)
    check_sound(other)
    assert said("check", "--store", other).startswith(f"{other}: ok; ")


def test_what_was_imported_can_be_exported_again(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    first = exported(store_path)
    said("import", "history.jsonl", "--store", other)
    _, *again = exported(other)
    found, before = (
        [record["definition"]["uuid"] for record in records if "definition" in record]
        for records in (again, first)
    )
    assert found == before
    assert [r for r in again if "definition" not in r] == [
        r for r in first[1:] if "definition" not in r
    ]


async def some_unended(stock: Stock) -> None:
    """Make jobs 1 to 4, of which 1 and 2 have ended and 4 is gone altogether."""
    await ended_twice(stock)
    await stock.queued("/b")
    gone = await stock.done("/c")
    await stock.store.results.delete(gone)


async def ended_twice(stock: Stock) -> None:
    await stock.done("/a")
    await stock.done("/a")


def forgotten(path: Path, job_id: int) -> None:
    """Let a job be no longer in the history."""
    execute(path, "DELETE FROM job WHERE id = ?", job_id)


def next_id(path: Path) -> int:
    ids: list[int] = []

    async def another(stock: Stock) -> None:
        ids.append(await stock.queued())

    stocked(path, another, START)
    return ids[0]


def test_an_id_that_was_ever_used_is_not_given_to_another_job(
    store_path: Path, other: Path
) -> None:
    stocked(store_path, some_unended, START)
    forgotten(store_path, 4)
    exported(store_path)
    assert "left out 1 job" in said("import", "history.jsonl", "--store", other)
    assert next_id(other) == 5


def test_that_holds_for_an_export_of_a_range_and_of_no_jobs(store_path: Path, other: Path) -> None:
    stocked(store_path, some_unended, START)
    head, *_, end = exported(store_path, "--until", "2000-01-01")
    assert (head["last_ids"]["job"], end) == (4, {"end": {"jobs": 0}})
    said("import", "history.jsonl", "--store", other)
    assert next_id(other) == 5


def test_an_export_of_an_earlier_version_tells_by_the_jobs_that_are_left_out(
    store_path: Path, other: Path
) -> None:
    stocked(store_path, some_unended, START)
    forgotten(store_path, 4)
    head, *lines = exported(store_path)
    del head["last_ids"]
    said("import", written(head, *lines), "--store", other)
    assert next_id(other) == 4


def test_a_store_that_has_given_more_ids_than_what_it_takes_in_goes_on_with_its_own(
    store_path: Path, other: Path
) -> None:
    stocked(store_path, ended_twice, START)
    exported(store_path)

    async def more(stock: Stock) -> None:
        await stock.many(7)

    stocked(other, more, START)
    for job_id in (1, 2):
        forgotten(other, job_id)
    said("import", "history.jsonl", "--store", other)
    assert next_id(other) == 8


def test_an_id_that_a_definition_ever_had_is_not_given_to_another_one(
    store_path: Path, other: Path
) -> None:
    async def define(stock: Stock, name: str) -> int:
        draft = Draft(name=name, path=f"/{name}", request=Request(method="GET", path="/a"))
        return (await stock.store.definitions.create(draft, "root")).id

    async def some(stock: Stock) -> None:
        for name in ("a", "b", "c"):
            await define(stock, name)
        await stock.done("/a", definition=2, trigger=Trigger.CLI)

    async def one(stock: Stock) -> None:
        await define(stock, "d")

    async def another(stock: Stock) -> None:
        await define(stock, "e")

    stocked(store_path, some, START)
    exported(store_path)
    stocked(other, one, START)
    said("import", "history.jsonl", "--store", other)
    assert rows(other, "SELECT id, name FROM definition ORDER BY id") == [(1, "d"), (2, "b")]
    stocked(other, another, START)
    assert rows(other, "SELECT max(id) FROM definition") == [(4,)]


def test_an_id_beyond_all_that_stores_give_is_refused_since_no_job_could_follow(
    store_path: Path, other: Path
) -> None:
    stocked(store_path, ended_twice, START)
    head, *lines = exported(store_path)
    head["last_ids"] = {"job": 2**63 - 1}
    assert "line 1 is damaged" in refused("import", written(head, *lines), "--store", other)
    head["last_ids"] = {"job": 2}
    lines[0]["job"]["id"] = 2**63 - 1
    assert "line 2 is damaged" in refused("import", written(head, *lines), "--store", other)
    assert next_id(other) == 1


def test_a_store_goes_on_where_the_imported_ids_end(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    exported(store_path)
    said("import", "history.jsonl", "--store", other)

    async def another(stock: Stock) -> None:
        assert await stock.queued() == 6
        await stock.fetch(1)

    stocked(other, another, START)
    assert jobstore("show", 1, "--body", "response", "--store", other).stdout_bytes == LARGE
    assert timeline(other, 1)[-1] == "fetched"


def test_a_part_of_it_is_moved_by_its_range(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    records = exported(store_path, "--range", "2023-11-14T22:13:21..2023-11-14T22:13:22")
    assert [record["job"]["id"] for record in records if "job" in record] == [3, 2]
    said("import", "history.jsonl", "--store", other)
    exported(store_path, "--until", "2023-11-14T22:13:21")
    said("import", "history.jsonl", "--store", other)
    assert rows(other, "SELECT id FROM job ORDER BY id") == [(1,), (2,), (3,)]
    check_sound(other)


def test_history_goes_through_a_pipe(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    lines = jobstore("export", "-").stdout_bytes
    assert said("import", "-", "--store", other, input=gzip.compress(lines)) == (
        f"{other}: imported 5 jobs\n"
    )
    assert content(other) == content(store_path)


def test_scripts_are_told_how_much_it_was(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    told = json.loads(said("export", "h.gz", "--json"))
    assert told == {"store": called(store_path), "export": "h.gz", "jobs": 5}
    told = json.loads(said("import", "h.gz", "--json", "--store", other))
    assert told == {"store": str(other), "import": "h.gz", "jobs": 5, "left_out": 0}


def test_a_record_has_a_place_for_every_column_of_a_job() -> None:
    columns = {column.name for column in schema.columns(schema.JOB)} - {
        "boot",
        "account",
        "depth",
        "stored",
        "source",
    }
    parts = {"request", "response", "events", "attempts"}
    assert set(JobRecord.model_fields) == columns | parts


# --- what is not moved --------------------------------------------------------------------------


def test_no_secret_is_exported(store_path: Path) -> None:
    Path("jobs.toml").write_text('[privacy]\nredact = ["x-api-key"]')

    async def with_secrets(stock: Stock) -> None:
        await stock.done(headers=SECRET)
        await stock.queued(headers=SECRET)

    stocked(store_path, with_secrets, START)
    exported(store_path, "--config", "jobs.toml")
    text = Path("history.jsonl").read_text()
    assert "geheim" not in text
    assert text.count("[redacted]") == 4


def test_only_the_owner_of_an_export_may_read_it(store_path: Path) -> None:
    stocked(store_path, ended, START)
    exported(store_path)
    assert Path("history.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_had_not_ended_is_exported_but_not_imported_for_it_would_run_twice(
    store_path: Path, other: Path
) -> None:
    async def begun(stock: Stock) -> None:
        await stock.done("/a")
        await stock.queued("/b", body=LARGE)
        await stock.running("/c")

    stocked(store_path, begun, START)
    states = [record["job"]["state"] for record in exported(store_path) if "job" in record]
    assert states == ["running", "queued", "done"]
    assert said("import", "history.jsonl", "--store", other) == (
        f"{other}: imported 1 job; left out 2 jobs that had not ended\n"
    )
    assert rows(other, "SELECT id FROM job") == [(1,)]
    assert rows(other, "SELECT count(*) FROM body") == [(0,)]
    check_sound(other)


def test_what_comes_back_to_its_store_is_not_counted_a_second_time(store_path: Path) -> None:
    stocked(store_path, ended, START)
    exported(store_path)
    before = content(store_path)

    async def forgotten(stock: Stock) -> None:
        await stock.store.results.delete_all()
        stock.clock.move(10)
        await stock.store.upkeep.forget(stock.clock.now)
        await stock.store.upkeep.sweep()

    stocked(store_path, forgotten, START + 10 * SECOND)
    assert rows(store_path, "SELECT count(*) FROM job") == [(0,)]
    said("import", "history.jsonl")
    assert content(store_path)["daily"] == before["daily"]
    assert content(store_path)["job"] == before["job"]
    check_sound(store_path)


def test_a_definition_that_is_there_is_found_again_by_its_uuid(store_path: Path) -> None:
    stocked(store_path, ended, START)
    exported(store_path)
    execute(store_path, "DELETE FROM job")
    said("import", "history.jsonl")
    assert rows(store_path, "SELECT count(*) FROM definition") == [(1,)]
    assert rows(store_path, "SELECT deleted_at FROM definition") == [(None,)]


# --- what is refused ----------------------------------------------------------------------------


def nothing_was_imported(path: Path, *arguments: object) -> str:
    before = content(path)
    told = refused("import", *arguments, "--store", path)
    assert content(path) == before
    check_sound(path)
    return told


def test_where_an_id_is_taken_nothing_is_imported(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    exported(store_path)

    async def three(stock: Stock) -> None:
        await stock.many(3)

    stocked(other, three, START)
    told = nothing_was_imported(other, "history.jsonl")
    assert told == "jobstore: job 3 already exists; nothing was imported\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "this is no export of jobstore's history"),
        (b"\n", "this is no export"),
        (b"[1]\n", "this is no export"),
        (b"[" * 100_000, "this is no export"),
        (b"id,state\n1,done\n", "this is no export"),
        (os.urandom(1000), "this is no export"),
        (gzip.compress(b"id,state\n", mtime=0), "this is no export"),
        (b'{"jobstore": "history"}\n', "line 1 is damaged: format: Field required"),
    ],
)
def test_what_is_no_export_is_refused(other: Path, content: bytes, complaint: str) -> None:
    Path("given").write_bytes(content)
    assert complaint in nothing_was_imported(other, "given")


def test_an_export_of_a_newer_version_is_refused(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    head, *lines = exported(store_path)
    told = nothing_was_imported(other, written(head | {"format": 2, "new": 1}, *lines))
    assert told == (
        "jobstore: the version of its format is 2, this jobstore knows versions up to 1; "
        "install a newer jobstore; nothing was imported\n"
    )


def test_an_export_that_ends_too_early_is_refused(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    *lines, _ = exported(store_path)
    assert "the last line is missing" in nothing_was_imported(other, written(*lines))
    said("export", "history.gz")
    whole = Path("history.gz").read_bytes()
    for size in (len(whole) // 2, len(whole) - 1):
        Path("history.gz").write_bytes(whole[:size])
        assert "its compression is damaged" in nothing_was_imported(other, "history.gz")


def test_an_export_whose_bytes_were_changed_is_refused(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    said("export", "history.gz")
    whole = bytearray(Path("history.gz").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    Path("history.gz").write_bytes(whole)
    assert "nothing was imported" in nothing_was_imported(other, "history.gz")


def _without(name: str) -> Callable[[list[Any]], object]:
    def drop(records: list[Any]) -> None:
        del records[next(n for n, record in enumerate(records) if name in record)]

    return drop


def _with(**changed: Any) -> Callable[[list[Any]], object]:
    def change(records: list[Any]) -> None:
        next(record["job"] for record in records if "job" in record).update(changed)

    return change


DAMAGES: dict[str, tuple[Callable[[list[Any]], object], str]] = {
    "a missing job": (_without("job"), "it should have 5 jobs"),
    "a missing definition": (_without("definition"), "there is no definition 1 above"),
    "a missing piece": (_without("piece"), "a piece of a body is missing before it"),
    "a job twice": (lambda records: records.insert(2, records[1]), "job 5 already exists"),
    "a line after the end": (lambda records: records.append(records[1]), "comes after the end"),
    "another word": (lambda records: records.insert(1, {"note": 1}), "note: Extra inputs are not"),
    "no record": (lambda records: records.insert(1, 7), "line 2 is damaged: Input should be"),
    "two records": (lambda records: records[1].update(records[-1]), "expected one of definition"),
    "an unknown state": (_with(state="lost"), "line 2 is damaged: job.state: Input should be"),
    "a state against its times": (
        _with(finished_at=None),
        "these values are not allowed (CHECK constraint",
    ),
    "an id that is none": (_with(id=0), "job.id: Input should be greater than 0"),
    "an id that is too large": (_with(id=2**63), "job.id: Input should be less than"),
    "a time that is text": (_with(submitted_at="now"), "job.submitted_at: Input should be"),
    "text that is none": (_with(path="\ud800"), "line 2 is damaged: "),
    "a body that is none": (
        _with(request={"headers": [], "body": "?", "size": 1}),
        "line 2 is damaged: ",
    ),
    "a body of another size": (
        _with(request={"headers": [], "body": "YQ==", "size": 2}),
        "the body of the request is not whole",
    ),
    "headers that are none": (
        _with(request={"headers": [["a"]], "body": "", "size": 0}),
        "line 2 is damaged: ",
    ),
    "headers that are numbers": (
        _with(request={"headers": 7, "body": "", "size": 0}),
        "line 2 is damaged: ",
    ),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_export_is_refused_whole(
    store_path: Path,
    other: Path,
    damage: Callable[[list[Any]], object],
    complaint: str,
) -> None:
    stocked(store_path, ended, START)
    records = exported(store_path)
    damage(records)
    told = nothing_was_imported(other, written(*records))
    assert complaint in told
    assert told.endswith("; nothing was imported\n")


def test_nothing_is_imported_while_a_server_runs(store_path: Path, other: Path) -> None:
    stocked(store_path, ended, START)
    exported(store_path)
    with owned(other):
        told = nothing_was_imported(other, "history.jsonl")
    assert f"the server with process id {os.getpid()} is using this store; stop it first" in told


@pytest.mark.file
def test_files_and_stores_that_cannot_be_used_are_named(store_path: Path, tmp_path: Path) -> None:
    stocked(store_path, ended, START)
    Path("taken").write_text("mine")
    assert refused("export", "taken") == ("jobstore: taken: the file exists; --force replaces it\n")
    assert "this is the store itself" in refused("export", store_path, "--force")
    assert "its folder does not exist" in refused("export", "no/where")
    assert "this is not a file" in refused("export", tmp_path, "--force")
    assert "the only compression is .gz" in refused("export", "history.zst", code=2)
    assert "No such file" in refused("import", "none")
    assert "no such store" in refused("import", "taken", "--store", "none.db")
    assert Path("taken").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if "taken" in path.name) == ["taken"]
    backwards = ("--range", "2023-11-15..2023-11-14")
    assert "ends before it begins" in refused("export", "x", *backwards, code=2)


def test_an_export_goes_over_what_a_broken_off_one_has_left(store_path: Path) -> None:
    stocked(store_path, ended, START)
    Path("history.jsonl.partial").write_bytes(b"half an export" * 100_000)
    assert exported(store_path)[-1] == {"end": {"jobs": 5}}
    assert not Path("history.jsonl.partial").exists()


def test_two_exports_do_not_write_the_same_file_at_once(store_path: Path) -> None:
    stocked(store_path, ended, START)
    with Path("whole.partial").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another export is writing whole.partial" in refused(
            "export", "whole", "--store", store_path
        )
    assert (Path("whole.partial").exists(), Path("whole").exists()) == (True, False)


async def test_a_job_that_is_forgotten_while_it_is_exported_is_left_out(store_path: Path) -> None:
    async with opened(store_path) as store:
        stock = Stock(store, StandingClock())
        await stock.fetch(await stock.done(answer={"body": LARGE}))
        lines = exporting.exported(store.history, Search(), frozenset())
        head, piece = await anext(lines), await anext(lines)
        assert (head["jobstore"], piece["piece"]["seq"]) == ("history", 0)
        await store.upkeep.purge(2**62)
        await store.upkeep.forget(2**62)
        await store.upkeep.sweep()
        assert [line async for line in lines] == [{"end": {"jobs": 0}}]
