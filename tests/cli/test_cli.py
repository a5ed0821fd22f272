import json
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobstore as package
from jobstore.model.errors import StoreError
from jobstore.store.sqlite.engine import SCHEMA_VERSION
from jobstore.store.sqlite.migrate import migrate
from tests.commands import jobstore, overwrite, refused, said, start
from tests.stock import Stock, stocked

COMMANDS = ["list", "history", "check", "show 1", "restore 1", "expire", "purge", "backup copy.db"]
MANY = 3000  # jobs whose listing does not fit into a pipe


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def one_job(stock: Stock) -> None:
    await stock.done("/report")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with many jobs."""

    async def many(stock: Stock) -> None:
        await stock.many(MANY)

    return stocked(tmp_path_factory.mktemp("full") / "jobs.db", many)


# The command itself


def test_the_version_is_told() -> None:
    assert said("--version") == f"jobstore {package.__version__}\n"


def test_the_help_names_every_command() -> None:
    words = said("--help").split()
    assert {"serve", "migrate", *(command.split()[0] for command in COMMANDS)} <= set(words)


def test_the_help_groups_the_commands_by_what_one_wants_to_do() -> None:
    _, *groups = re.findall(r"^(\w[^:\n]+):\n((?:  .+\n)+)", said("--help"), re.MULTILINE)
    commands = {title: re.findall(r"^  (\S+)", lines, re.MULTILINE) for title, lines in groups}
    assert [*commands] == [
        "Serve and set up", "Look at jobs", "Act on jobs", "Targets and schedules", "Accounts",
        "Store files and nodes",
    ]  # fmt: skip
    assert commands["Look at jobs"] == ["list", "show", "history", "tail"]
    assert commands["Accounts"] == ["user", "audit"]


@pytest.mark.parametrize("command", ["serve", "migrate", *COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    name, *_ = command.split()
    assert f"Usage: jobstore {name} " in said(name, "--help", prog_name="jobstore")


@pytest.mark.parametrize("name", ["submit", "history"])
def test_the_examples_of_a_command_are_called_as_they_are_shown(
    store_path: Path, name: str
) -> None:
    Path("body.json").write_text("{}")
    Path("jobs.toml").touch()
    said("migrate", "--store", store_path)
    _, _, shown = said(name, "--help").partition("Examples:\n")
    for line in shown.splitlines():
        program, *arguments = shlex.split(line)
        result = jobstore(*arguments)
        nobody = "--wait" in arguments and "no server is running to start it" in result.stderr
        assert (program, result.exit_code) == ("jobstore", int(nobody)), line
    assert shown.count("\n") == 3


def test_a_misspelt_command_is_answered_with_the_nearest_one() -> None:
    assert "Did you mean 'history'?" in refused("hsitory", code=2)


def test_it_runs_as_a_module_and_as_a_command() -> None:
    script = Path(sys.executable).with_name("jobstore")
    for command in ([str(script)], [sys.executable, "-m", "jobstore"]):
        ran = subprocess.run([*command, "--version"], capture_output=True, check=True)
        assert ran.stdout.decode() == f"jobstore {package.__version__}\n"


# The configuration


def test_the_store_is_the_configured_one(tmp_path: Path) -> None:
    stocked(tmp_path / "mine.db", one_job)
    Path("jobs.toml").write_text('[store]\npath = "mine.db"')
    assert "/report" in said("list", "--config", "jobs.toml")
    assert "/report" in said("list", env={"JOBSTORE_STORE__PATH": "mine.db"})


def test_the_store_that_is_named_goes_before_the_configured_one(tmp_path: Path) -> None:
    stocked(tmp_path / "mine.db", one_job)
    Path("jobs.toml").write_text('[store]\npath = "other.db"')
    assert "/report" in said("list", "--config", "jobs.toml", "--store", "mine.db")


def test_each_problem_of_a_configuration_is_told_on_its_own_line() -> None:
    Path("jobs.toml").write_text('[server]\nport = -1\nhots = "::1"')
    told = refused("list", "--config", "jobs.toml").splitlines()
    assert len(told) == 2
    assert all(line.startswith("jobstore: jobs.toml: [server] ") for line in told)


def test_a_configuration_that_is_not_there_is_refused() -> None:
    assert (
        refused("list", "--config", "no.toml") == "jobstore: no.toml: No such file or directory\n"
    )


# Stores that cannot be used


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_store_is_answered_with_what_makes_one(command: str) -> None:
    assert refused(*command.split()) == (
        "jobstore: jobs.db: no such store; `jobstore serve` or `jobstore migrate` creates one\n"
    )
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", ["migrate", *COMMANDS])
def test_a_folder_is_no_store(command: str) -> None:
    Path("jobs.db").mkdir()
    assert refused(*command.split()) == "jobstore: jobs.db: this is not a file\n"


@pytest.mark.parametrize("command", ["migrate", *COMMANDS])
def test_a_file_of_something_else_is_refused_and_not_changed(command: str) -> None:
    Path("jobs.db").write_text("Dear diary,\n" * 1000)
    with sqlite3.connect("diary.db") as connection:
        connection.execute("CREATE TABLE diary (entry)")
    connection.close()
    for name in ("jobs.db", "diary.db"):
        before = Path(name).read_bytes()
        told = refused(*command.split(), "--store", name)
        assert told == f"jobstore: {name}: this is not a jobstore file; nothing was changed\n"
        assert Path(name).read_bytes() == before


@pytest.mark.parametrize("command", ["migrate", *COMMANDS])
def test_a_store_of_a_newer_jobstore_is_refused_and_not_changed(command: str) -> None:
    migrate(Path("jobs.db"))
    with sqlite3.connect("jobs.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = Path("jobs.db").read_bytes()
    assert "its schema version is 99" in refused(*command.split())
    assert Path("jobs.db").read_bytes() == before


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_file_has_to_be_migrated_first(command: str) -> None:
    Path("jobs.db").touch()
    assert "run `jobstore migrate`" in refused(*command.split())


@pytest.mark.parametrize(
    "command", ["list", "history", "show 1", "restore 1", "expire --before 2100-01-01"]
)
def test_a_damaged_store_is_said_to_be_damaged(command: str, store_path: Path) -> None:
    stocked(store_path, one_job)
    with sqlite3.connect(store_path) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'job'")
        page = root.fetchone()[0]
    connection.close()
    overwrite(store_path, (page - 1) * 4096, b"\xff" * 4096)
    assert "jobs.db: the file is damaged" in refused(*command.split())


def test_a_store_in_a_folder_that_cannot_be_written_is_read() -> None:
    # Root may write anywhere. Whoever else it becomes may have no way to the code: the first run
    # loads all that the second one needs.
    program = (
        "import contextlib, io, os, jobstore.cli\n"
        "with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):\n"
        "    with contextlib.suppress(SystemExit): jobstore.cli.main()\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "jobstore.cli.main()"
    )
    command = [sys.executable, "-c", program, "history"]
    with tempfile.TemporaryDirectory() as name:  # others cannot reach the one that pytest gives
        folder = Path(name)
        stocked(folder / "jobs.db", one_job).chmod(0o644)
        folder.chmod(0o555)
        ran = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        folder.chmod(0o755)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"/report" in ran.stdout


# migrate


def test_migrate_makes_a_store_and_says_so() -> None:
    assert said("migrate") == f"jobs.db: created with schema version {SCHEMA_VERSION}\n"
    assert said("list") == "No unfinished jobs, and no results to fetch.\n"


def test_migrate_leaves_a_store_alone_that_is_up_to_date(store_path: Path) -> None:
    stocked(store_path, one_job)
    assert said("migrate") == f"jobs.db: schema version {SCHEMA_VERSION}, nothing to do\n"
    assert "/report" in said("list")


def test_migrate_tells_scripts_the_versions() -> None:
    assert json.loads(said("migrate", "--json")) == {
        "store": "jobs.db",
        "before": 0,
        "after": SCHEMA_VERSION,
    }


def test_migrate_makes_no_folders() -> None:
    told = refused("migrate", "--store", "no/jobs.db")
    assert told == "jobstore: no/jobs.db: its folder does not exist\n"


# serve


def test_serve_takes_one_target_only() -> None:
    told = refused("serve", "--upstream", "http://127.0.0.1:1", "--app", "a:b", code=2)
    assert "--upstream and --app cannot be used together" in told


@pytest.mark.parametrize("upstream", ["", "ftp://127.0.0.1", "http://", "u:p@h:9000"])
def test_serve_refuses_an_upstream_that_is_no_url(upstream: str) -> None:
    told = refused("serve", "--upstream", upstream)
    assert "expected an http:// or https:// URL" in told
    assert "did you mean" not in told


@pytest.mark.parametrize("upstream", ["localhost:9000", "127.0.0.1:9000", "[::1]:9000/api", "web"])
def test_serve_says_how_an_upstream_without_a_scheme_is_written(upstream: str) -> None:
    assert refused("serve", "--upstream", upstream) == (
        f"jobstore: --upstream: {upstream} has no scheme; did you mean http://{upstream}?\n"
    )


def test_serve_refuses_an_application_that_is_not_there() -> None:
    told = refused("serve", "--port", 0, "--app", "nosuch.module:create_app")
    assert told.startswith("jobstore: cannot load the application nosuch.module:create_app")
    assert len(told.splitlines()) == 1


def test_serve_refuses_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused("serve", "--port", port)


@pytest.fixture
def serving() -> Iterator["subprocess.Popen[bytes]"]:
    server = start("serve", "--port", 0, stderr=subprocess.DEVNULL)
    yield server
    server.kill()
    server.communicate()


def test_a_store_that_is_served_is_told_by_its_servers_pid(
    serving: "subprocess.Popen[bytes]",
) -> None:
    assert serving.stdout is not None
    assert b"listens on http://127.0.0.1:" in serving.stdout.readline()
    assert f"the server with process id {serving.pid} is using this store" in refused(
        "serve", "--port", 0
    )


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["--upstream", "http://127.0.0.1:9"],
            ["All requests are answered by http://127.0.0.1:9"],
        ),
        (["--app", "tests.webapp:create_app"], ["All requests are answered by the application"]),
        (
            ["--config", "two.toml"],
            [
                "Requests to /reports are answered by http://127.0.0.1:8",
                "All other requests are answered by http://127.0.0.1:9",
            ],
        ),
    ],
)
def test_serve_says_who_answers_the_requests(
    arguments: list[str], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    Path("two.toml").write_text(
        '[[target]]\nprefix = "/"\nupstream = "http://127.0.0.1:9"\n'
        '[[target]]\nprefix = "/reports"\nupstream = "http://127.0.0.1:8"\n'
    )
    server = start("serve", "--port", 0, *arguments, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        said_first = [server.stdout.readline().decode() for _ in range(2 + len(lines))]
        for line, words in zip(said_first[2:], lines, strict=True):
            assert line.startswith(words)
    finally:
        server.kill()
        server.communicate()


def test_every_other_command_works_beside_a_server(serving: "subprocess.Popen[bytes]") -> None:
    assert serving.stdout is not None
    serving.stdout.readline()
    for command in ("list", "history", "check", "expire", "purge", "backup copy.db", "migrate"):
        assert said(*command.split())


def test_serve_ends_well_when_it_is_told_to(serving: "subprocess.Popen[bytes]") -> None:
    assert serving.stdout is not None
    serving.stdout.readline()
    serving.send_signal(signal.SIGTERM)
    assert serving.wait() == 0


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("text", rb"\S+Z INFO    jobstore\.server: draining"),
        ("json", rb'{"time": "\S+Z", "level": "info", .*"message": "draining", "action": "drain"}'),
    ],
)
def test_the_log_is_written_as_it_is_configured(form: str, line: bytes) -> None:
    Path("jobs.toml").write_text(f'[log]\nformat = "{form}"')
    server = start("serve", "--port", 0, "--config", "jobs.toml")
    assert server.stdout is not None
    server.stdout.readline()
    server.send_signal(signal.SIGTERM)
    assert any(re.fullmatch(line, each) for each in server.communicate()[1].splitlines())


# Pipes, signals and full disks


def test_a_reader_who_has_enough_is_no_reason_to_complain(full: Path) -> None:
    for arguments in (["--json"], ["--csv"], ["--limit", MANY]):
        process = start("history", "--store", full, *arguments)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait() == 0


def test_an_interruption_is_quiet(full: Path) -> None:
    process = start("history", "--store", full, "--json")  # more than a pipe holds
    assert process.stdout is not None
    process.stdout.readline()  # it is in the midst of writing now, and waits for the pipe
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130  # although nobody reads on
    assert process.communicate()[1] == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", ["history --json", "show 1", "show 1 --body response"])
def test_an_output_that_cannot_be_written_is_told(command: str, store_path: Path) -> None:
    async def large_answer(stock: Stock) -> None:
        await stock.done(answer={"body": b"x" * 1_000_000})

    stocked(store_path, large_answer)
    with Path("/dev/full").open("wb") as full:
        process = start(*command.split(), stdout=full)
        assert process.communicate()[1] == b"jobstore: output: No space left on device\n"
    assert process.returncode == 1


def test_what_a_killed_server_left_is_read(store_path: Path) -> None:
    async def crash(stock: Stock) -> None:
        await stock.done("/last")
        for name in ("jobs.db", "jobs.db-wal"):
            shutil.copy(store_path.with_name(name), f"crashed-{name}".replace("crashed-jobs", "c"))

    stocked(store_path, crash)
    assert "/last" in said("history", "--store", "c.db")
    assert jobstore("check", "--store", "c.db").exit_code == 0


def test_a_store_that_nobody_can_make_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSTORE_STORE__PATH", "x" * 300)
    assert "File name too long" in refused("list")
    with pytest.raises((StoreError, OSError)):
        migrate(Path("x" * 300))
