import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.config import load
from jobstore.config.limits import store_limits
from jobstore.live import owned_store
from jobstore.model.account import Role
from jobstore.model.job import Trigger
from jobstore.model.privacy import SECRET_HEADERS
from jobstore.store.sqlite.opening import open_history
from tests.client import Client
from tests.commands import jobstore, refused, said
from tests.conftest import Serve, Start, running
from tests.stores import on_disk, rows
from trials.clients import Answer

DAILY = ("--name", "daily", "--path", "/Imports/daily", "--target", "/import?records=10")
SECRET = "Bearer of-the-target"
COMMANDS = ["definitions", "definitions 1", "undefine 1", "run 1"]

TWO = """
[[definition]]
name = "daily"
path = "/Imports/daily"
target = "/import?records=10"

[[definition]]
name = "weekly"
path = "/Imports/weekly"
method = "POST"
target = "/echo"
headers = { Accept = "text/csv", X-Tag = ["a", "b"] }
body = "größer"
timeout = "15m"
replay = "always"
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: str, name: str = "them.toml") -> str:
    """Write a file of definitions, and return its name."""
    Path(name).write_text(content)
    return name


def shown(reference: object) -> dict[str, Any]:
    """Show a definition as scripts see it."""
    definition: dict[str, Any] = json.loads(said("definitions", reference, "--json"))
    return definition


def paths() -> list[str]:
    """List the paths of all definitions."""
    lines = said("definitions", "--json").splitlines()
    return [json.loads(line)["path"] for line in lines]


def owner_of(job_id: int, path: Path) -> str:
    ((owner,),) = rows(path, "SELECT owner FROM job WHERE id = ?", job_id)
    return str(owner)


# Help


@pytest.mark.parametrize("command", ["define", "definitions", "undefine", "run"])
def test_every_command_about_definitions_explains_itself(command: str) -> None:
    assert f"  {command} " in said("--help")
    assert f"Usage: jobstore {command} " in said(command, "--help", prog_name="jobstore")


# define, by flags


def test_define_makes_the_store_and_a_definition(store_path: Path) -> None:
    assert not store_path.exists()
    assert said("define", *DAILY) == "Definition 1, /Imports/daily, is created.\n"
    assert paths() == ["/Imports/daily"]


def test_all_that_flags_say_is_kept() -> None:
    flags = ("--method", "POST", "--body", "größer", "--timeout", "15m", "--replay", "never")
    headers = ("--header", "X-Tag: a", "--header", "X-Tag:b:c ", "--header", "Accept: text/csv")
    made = json.loads(said("define", *DAILY, *flags, *headers, "--owner", "ann", "--json"))
    assert made == shown(1)
    own = ("id", "file_id", "uuid", "created_at", "changed_at")
    assert {name: made[name] for name in made if name not in own} == {
        "name": "daily",
        "path": "/Imports/daily",
        "method": "POST",
        "target": "/import?records=10",
        "headers": {"X-Tag": ["a", "b:c"], "Accept": "text/csv"},
        "body": "größer",
        "timeout": 900.0,
        "replay": "never",
        "retries": None,
        "schedule": None,
        "fires_at": None,
        "owner": "ann",
    }


@pytest.mark.parametrize(
    ("content", "member", "value"),
    [(b"gr\xc3\xb6\xc3\x9fer\n", "body", "größer\n"), (b"\xff\x00", "body_base64", "/wA=")],
)
def test_a_body_may_come_from_a_file(content: bytes, member: str, value: str) -> None:
    Path("body").write_bytes(content)
    said("define", *DAILY, "--body-file", "body")
    assert shown(1)[member] == value


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--name", "x"), "path: expected a path such as /Imports/daily"),
        ((*DAILY, "--path", "daily"), "path: expected a path such as /Imports/daily"),
        ((*DAILY, "--target", "import"), "target: expected the path with query to ask"),
        ((*DAILY, "--method", "get"), "method: expected a method such as GET or POST"),
        ((*DAILY, "--timeout", "soon"), "timeout: expected a duration such as 500ms"),
        ((*DAILY, "--header", "a b: c"), "headers: expected an object such as"),
        ((*DAILY, "--header", "Host: a"), "headers: Host is set by jobstore"),
        ((*DAILY, "--header", "X-Key: [redacted]"), "headers: X-Key is [redacted]"),
    ],
)
def test_define_says_what_is_no_definition(
    flags: tuple[str, ...], complaint: str, store_path: Path
) -> None:
    told = refused("define", *flags)
    assert all(line.startswith("jobstore: ") for line in told.splitlines())
    assert complaint in told
    assert not store_path.exists()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ((), "expected FILE, or at least --name, --path and --request-path"),
        (("--owner", "ann"), "expected FILE, or at least"),
        (
            ("them.toml", "--name", "x"),
            "FILE and the flags of a definition cannot be used together",
        ),
        ((*DAILY, "--header", "X-Tag"), "'X-Tag' is not a header: expected 'Name: value'."),
        (
            (*DAILY, "--body", "a", "--body-file", "b"),
            "--body, --body-file and --data cannot be used together",
        ),
        ((*DAILY, "--body", "a", "-d", "b"), "--data cannot be used together"),
        ((*DAILY, "--replay", "often"), "'often' is not one of"),
        ((*DAILY, "--name", "\udcff"), "this is not UTF-8."),
    ],
)
def test_define_says_what_is_wrong_usage(flags: tuple[str, ...], complaint: str) -> None:
    assert complaint in refused("define", *flags, code=2)


def test_the_path_that_is_requested_has_an_older_name_as_well() -> None:
    for number, option in enumerate(("--request-path", "--target"), 1):
        said("define", "--name", "x", "--path", f"/{number}", option, "/import")
        assert shown(number)["target"] == "/import"
    usage = said("define", "--help")
    assert "--request-path, --target PATH" in usage


def test_headers_and_bodies_are_written_as_for_submit() -> None:
    Path("body.json").write_text("{}")
    for number, body in enumerate(("{}", "@body.json")):
        flags = ("--name", "x", "--path", f"/{number}", "--target", "/")
        made = json.loads(said("define", *flags, "-H", "X-Tag: a", "-d", body, "--json"))
        assert (made["headers"], made["body"]) == ({"X-Tag": "a"}, "{}")


def test_a_body_that_cannot_be_read_is_told() -> None:
    told = refused("define", *DAILY, "--body-file", "nothing")
    assert told == "jobstore: nothing: No such file or directory\n"


# define, by a file


def test_a_file_may_hold_one_definition() -> None:
    write('name = "daily"\npath = "/Imports/daily"\ntarget = "/import"\nheaders.Accept = "a/b"')
    assert said("define", "them.toml") == "Definition 1, /Imports/daily, is created.\n"
    assert shown(1)["headers"] == {"Accept": "a/b"}


def test_a_file_may_hold_many_definitions() -> None:
    write(TWO)
    assert said("define", "them.toml", "--owner", "ann") == (
        "Definition 1, /Imports/daily, is created.\nDefinition 2, /Imports/weekly, is created.\n"
    )
    weekly = shown("/Imports/weekly")
    assert (weekly["headers"], weekly["timeout"]) == (
        {"Accept": "text/csv", "X-Tag": ["a", "b"]},
        900.0,
    )
    assert {shown(1)["owner"], weekly["owner"]} == {"ann"}


def test_each_problem_of_a_file_is_told_with_its_place_and_nothing_is_created(
    store_path: Path,
) -> None:
    write(TWO + '[[definition]]\nname = ""\npath = "x"\ntarget = "/a"\ntimeuot = 1')
    assert refused("define", "them.toml").splitlines() == [
        f"jobstore: them.toml: [[definition]] #3: {problem}"
        for problem in (
            "name: expected a name of 1 to 255 characters",
            (
                "path: expected a path such as /Imports/daily: it begins with a slash, and no part "
                "of it is empty, . or .."
            ),
            "timeuot: no such member; did you mean timeout?",
        )
    ]
    assert not store_path.exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "them.toml: name: expected a name"),
        ("[", "them.toml: expected TOML: "),
        ("definition = []", "them.toml: expected one definition, or only [[definition]] tables"),
        ("definition = 1", "them.toml: expected one definition, or only [[definition]] tables"),
        ("[definition]", "them.toml: expected one definition, or only [[definition]] tables"),
        ('name = "x"\n' + TWO, "them.toml: expected one definition, or only [[definition]] tables"),
        ("definition = [1]", "them.toml: [[definition]] #1: expected an object with name, path"),
        (TWO + TWO, "them.toml: the path /Imports/daily occurs 2 times"),
    ],
)
def test_a_file_that_holds_no_definitions_is_refused(
    content: str, complaint: str, store_path: Path
) -> None:
    write(content)
    assert complaint in refused("define", "them.toml")
    assert not store_path.exists()


def test_a_file_that_is_no_text_or_not_there_is_refused() -> None:
    Path("them.toml").write_bytes(b"\xff\xfe")
    assert refused("define", "them.toml").startswith("jobstore: them.toml: expected TOML: ")
    assert refused("define", "no.toml") == "jobstore: no.toml: No such file or directory\n"
    Path("folder").mkdir()
    assert refused("define", "folder") == "jobstore: folder: Is a directory\n"


def test_if_one_path_is_taken_none_is_created() -> None:
    said("define", *DAILY[:2], "--path", "/Imports/weekly", "--target", "/a")
    write(TWO)
    told = refused("define", "them.toml")
    assert told == "jobstore: a definition with the path /Imports/weekly already exists\n"
    assert paths() == ["/Imports/weekly"]


# define --replace


def test_replace_changes_what_stands_at_a_path_and_keeps_what_names_it() -> None:
    said("define", *DAILY, "--owner", "ann", "--body", "x")
    before = shown(1)
    told = said("define", *DAILY[2:], "--name", "better", "--replace")
    assert told == "Definition 1, /Imports/daily, is changed.\n"
    after = shown(1)
    kept = ("id", "file_id", "uuid", "path", "owner", "created_at")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert (after["name"], after["body"]) == ("better", None)


def test_replace_creates_what_is_not_there_yet() -> None:
    said("define", *DAILY)
    write(TWO)
    assert said("define", "them.toml", "--replace") == (
        "Definition 1, /Imports/daily, is changed.\nDefinition 2, /Imports/weekly, is created.\n"
    )


def test_without_replace_a_path_that_is_taken_is_refused() -> None:
    said("define", *DAILY)
    told = refused("define", *DAILY)
    assert told == "jobstore: a definition with the path /Imports/daily already exists\n"


def test_replace_gives_a_definition_to_nobody_else() -> None:
    said("define", *DAILY, "--owner", "ann")
    told = refused("define", *DAILY, "--replace", "--owner", "bob")
    assert told == "jobstore: /Imports/daily is ann's; --replace keeps its owner\n"
    said("define", *DAILY, "--replace", "--owner", "ann")
    assert shown(1)["owner"] == "ann"


# definitions and undefine


def test_definitions_are_listed() -> None:
    write(TWO)
    said("define", "them.toml", "--owner", "ann")
    heads, *lines = [line.split() for line in said("definitions").splitlines()]
    assert heads == ["ID", "PATH", "NAME", "OWNER", "REQUEST", "WHEN", "NEXT"]
    assert lines == [
        ["1", "/Imports/daily", "daily", "ann", "GET", "/import?records=10"],
        ["2", "/Imports/weekly", "weekly", "ann", "POST", "/echo"],
    ]


def test_a_list_says_when_schedules_fire_and_when_next() -> None:
    at = ("--cron", "0 3 * * *", "--time-zone", "Europe/Berlin")
    said("define", *DAILY, *at)
    weekdays = '{cron = "0 3 * * 1-5", paused = true}'
    write(f'name = "p"\npath = "/p"\ntarget = "/"\nschedule = {weekdays}')
    said("define", "them.toml")
    fires_at = json.loads(said("definitions", "--json").splitlines()[0])["fires_at"]
    head, daily, paused = said("definitions").splitlines()
    when, after = head.index("WHEN"), head.index("NEXT")
    assert daily[when:after].strip() == "every day at 03:00 Europe/Berlin"
    assert daily[after:] == f"{fires_at[:19]}Z"
    assert paused[when:after].strip() == "Monday to Friday at 03:00 UTC"
    assert paused[after:] == "paused"


def test_it_is_said_that_there_is_no_definition() -> None:
    said("migrate")
    assert said("definitions") == "There are no definitions.\n"
    assert said("definitions", "--json") == ""


def test_a_definition_is_shown_by_its_id_its_uuid_or_its_path() -> None:
    said("define", *DAILY, "--body", '{"a":1}', "--header", "Accept: text/csv")
    uuid = shown(1)["uuid"]
    sheets = [said("definitions", key) for key in (1, uuid, uuid.upper(), "/Imports/daily")]
    assert len(set(sheets)) == 1
    for part in ("daily", uuid, "GET /import?records=10", "Accept: text/csv", '"a": 1'):
        assert part in sheets[0]


def test_what_comes_from_strangers_does_not_move_the_cursor() -> None:
    said("define", *DAILY, "--body", "\x1b[2J", "--header", "X-Tag: \x9b2J")
    assert "\x1b" not in said("definitions", 1)
    assert "\x9b" not in said("definitions", 1)


@pytest.mark.parametrize("command", ["definitions", "undefine", "run"])
@pytest.mark.parametrize(
    "reference", ["2", "0", str(2**63), "9" * 19, "/Imports", "/", "/a/../b", "daily", "", "x" * 36]
)
def test_what_is_not_defined_is_told(command: str, reference: str) -> None:
    said("define", *DAILY)
    assert refused(command, reference) == f"jobstore: no definition {reference}\n"


def test_undefine_deletes_a_definition() -> None:
    said("define", *DAILY)
    assert said("undefine", "/Imports/daily") == "Definition 1, /Imports/daily, is deleted.\n"
    assert paths() == []
    assert "no definition" in refused("undefine", 1)
    said("define", *DAILY)
    assert json.loads(said("undefine", 2, "--json")) == {"deleted": 2}


# Secrets


def test_secret_headers_are_never_shown() -> None:
    Path("jobs.toml").write_text('[privacy]\nredact = ["x-key"]')
    secrets = ("--header", f"Authorization: {SECRET}", "--header", "X-Key: of-mine")
    config = ("--config", "jobs.toml")
    shown_everywhere = [
        said("define", *DAILY, *secrets, "--json", *config),
        said("definitions", *config),
        said("definitions", "--json", *config),
        said("definitions", 1, *config),
        said("definitions", 1, "--json", *config),
        said("define", *DAILY, *secrets, "--replace", *config),
        said("run", 1, *config),
        said("show", 1, *config),
    ]
    for told in shown_everywhere:
        assert SECRET not in told
        assert "of-mine" not in told
    assert "Authorization: [redacted]" in shown_everywhere[3]
    assert "X-Key: [redacted]" in shown_everywhere[3]


def test_secret_headers_stand_where_the_server_forgets_them(store_path: Path) -> None:
    Path("jobs.toml").write_text('[privacy]\nredact = ["x-key"]')
    said("define", *DAILY, "--header", "X-Key: of-mine", "--config", "jobs.toml")
    assert b"of-mine" in on_disk(store_path)
    said("run", 1, "--config", "jobs.toml")
    said("undefine", 1, "--config", "jobs.toml")
    kept = rows(store_path, "SELECT headers, secrets FROM definition")
    assert "of-mine" not in str(kept)
    ((headers, secrets),) = rows(store_path, "SELECT headers, secrets FROM request")
    assert ("of-mine" in headers, "of-mine" in secrets) == (False, True)


def test_the_store_is_told_the_secret_headers_of_the_configuration() -> None:
    Path("jobs.toml").write_text('[privacy]\nredact = ["X-Key"]\n[executor]\nqueue_limit = 7')
    limits = store_limits(load(Path("jobs.toml"), environ={}))
    assert (limits.secret, limits.queue) == (SECRET_HEADERS | {"x-key"}, 7)


# run


def test_run_puts_a_job_into_the_queue(store_path: Path) -> None:
    said("define", *DAILY, "--owner", "ann")
    assert said("run", 1) == "Job 1 is queued: GET /import?records=10\n"
    assert json.loads(said("run", "/Imports/daily", "--json")) == {"id": 2, "definition": 1}
    queued = rows(
        store_path, 'SELECT state, owner, target, dialect, definition, "trigger" FROM job'
    )
    assert queued == [("queued", "ann", "/", "native", 1, Trigger.CLI)] * 2


def test_a_run_is_its_definitions_owners_unless_another_one_is_given(store_path: Path) -> None:
    said("define", *DAILY, "--owner", "ann")
    said("run", 1, "--owner", "bob")
    assert owner_of(1, store_path) == "bob"


def test_a_run_is_for_the_target_with_the_longest_prefix(store_path: Path) -> None:
    prefixes = ("/", "/import", "/import/large", "/imp")
    Path("jobs.toml").write_text(
        "".join(f'[[target]]\nprefix = "{each}"\napp = "a:b"\n' for each in prefixes)
    )
    for n, target in enumerate(("/import?a=/import/large", "/import/large/x", "/importer", "/imp")):
        said("define", "--name", "x", "--path", f"/{n}", "--target", target)
        said("run", f"/{n}", "--config", "jobs.toml")
    found = [target for (target,) in rows(store_path, "SELECT target FROM job ORDER BY id")]
    assert found == ["/import", "/import/large", "/", "/imp"]


def test_a_run_that_no_target_would_answer_is_refused() -> None:
    Path("jobs.toml").write_text('[[target]]\nprefix = "/other"\napp = "a:b"\n')
    said("define", *DAILY)
    told = refused("run", 1, "--config", "jobs.toml")
    assert told == "jobstore: no target is configured for this path\n"


def test_a_run_that_finds_no_room_in_the_queue_is_refused() -> None:
    Path("jobs.toml").write_text("[executor]\nqueue_limit = 1\n")
    said("define", *DAILY)
    said("run", 1, "--config", "jobs.toml")
    told = refused("run", 1, "--config", "jobs.toml")
    assert told.startswith("jobstore: the queue is full: 1 job is waiting; submit again later")


async def test_a_slip_in_an_owner_is_told_where_there_are_accounts(store_path: Path) -> None:
    async with owned_store(store_path) as store:
        await store.accounts.add("ann", Role.USER, "no hash")

    def talk() -> None:
        assert said("define", *DAILY, "--owner", "ann").startswith("Definition 1")
        slip = jobstore("run", 1, "--owner", "anne")
        assert (slip.exit_code, "there is no account anne" in slip.stderr) == (0, True)
        assert said("run", 1)

    await asyncio.to_thread(talk)


# Servers


async def ran(client: Client, *reference: object) -> Answer:
    """Run a definition by the command beside a server, and fetch the result."""
    made = await asyncio.to_thread(said, "run", *reference, "--json")
    return await client.fetched(json.loads(made)["id"])


async def test_a_running_server_runs_what_is_put_in_beside_it(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve()).url)
    flags = ("--method", "POST", "--target", "/echo", "--body", "hello")
    await asyncio.to_thread(said, "define", *DAILY, *flags)
    answer = await ran(client, 1)
    assert (answer.status, answer.body) == (200, b"hello")


async def test_a_server_of_another_process_runs_it_too(
    server_process: Start, http: ClientSession
) -> None:
    client = Client(http, (await server_process()).url)
    await asyncio.to_thread(said, "define", *DAILY, "--target", "/_api/version")
    assert (await ran(client, "/Imports/daily")).status == 200


async def test_a_server_runs_at_its_start_what_was_put_in_before(
    store_path: Path, http: ClientSession
) -> None:
    await asyncio.to_thread(said, "define", *DAILY, "--target", "/_api/version")
    await asyncio.to_thread(said, "run", 1)
    async with running(store_path) as server:
        assert (await Client(http, server.url).fetched(1)).status == 200


def test_a_schedule_and_retries_are_flags_as_well() -> None:
    cron = ("--cron", "0 3 * * *", "--time-zone", "Europe/Berlin")
    made = json.loads(said("define", *DAILY, *cron, "--retries", 3, "--json"))
    assert (made["schedule"]["cron"], made["schedule"]["time_zone"]) == (cron[1], cron[3])
    assert made["retries"] == 3
    assert made["fires_at"] is not None
    sheet = said("definitions", 1)
    assert "0 3 * * * in Europe/Berlin, catch up one, overlap skip" in sheet
    (times,) = re.findall(r"Next runs\s+(.+)", sheet)
    assert len(times.split(", ")) == 5


def test_a_zone_without_a_schedule_is_refused() -> None:
    assert "--cron" in refused("define", *DAILY, "--time-zone", "UTC", code=2)


async def test_what_asks_our_own_api_is_run_as_well(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve()).url)
    done = await client.done("/_api/version")
    await asyncio.to_thread(said, "define", *DAILY, "--target", "/_api/job/done")
    assert json.loads((await ran(client, 1)).body) == [str(done)]


async def test_a_definition_is_one_for_the_server_and_the_command(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve()).url)
    await asyncio.to_thread(said, "define", *DAILY, "--header", f"Cookie: {SECRET}")
    served = await client("GET", "/_jobs/definitions/1")
    assert json.loads(served.body) == await asyncio.to_thread(shown, 1)


async def test_the_target_gets_the_secrets_that_are_never_shown(
    serve: Serve, http: ClientSession, store_path: Path
) -> None:
    client = Client(http, (await serve(target={"app": "tests.webapp:create_app"})).url)
    await asyncio.to_thread(
        said, "define", *DAILY, "--target", "/mirror/", "--header", "Cookie: a=b"
    )
    seen = json.loads((await ran(client, 1)).body)
    assert ["cookie", "a=b"] in seen["headers"]
    async with open_history(store_path) as history:
        request = await history.request(await history.job(1))
    assert request is not None
    assert "a=b" not in str(request.headers)


# Stores


@pytest.mark.parametrize("command", COMMANDS)
def test_only_define_makes_a_store(command: str) -> None:
    assert "jobs.db: no such store" in refused(*command.split())
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", [f"define {' '.join(DAILY)}", *COMMANDS])
def test_a_file_of_something_else_is_refused_and_not_changed(command: str) -> None:
    Path("jobs.db").write_text("Dear diary,\n" * 1000)
    with closing(sqlite3.connect("diary.db")) as connection:
        connection.execute("CREATE TABLE diary (entry)")
    for name in ("jobs.db", "diary.db"):
        before = Path(name).read_bytes()
        told = refused(*command.split(), "--store", name)
        assert told == f"jobstore: {name}: this is not a jobstore file; nothing was changed\n"
        assert Path(name).read_bytes() == before
