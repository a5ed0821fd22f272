"""The password of a database: taken from where libpq takes it, and never shown."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
import pytest

from jobstore.config import load
from jobstore.config.sections import StoreSection
from jobstore.live.joining import Database
from jobstore.store.postgresql.database_url import without_secrets
from tests.commands import jobstore, refused, said
from tests.conftest import started
from tests.databases import Databases
from trials.postgres import NoPostgres, Postgres
from trials.serving import ServerProcess

SECRET: Final = "oPen-sesame"
WRONG: Final = "aLi-baba"
COMMANDS: Final = (
    *("migrate", "list", "history", "history --stats", "show 1", "definitions", "user list"),
    *("user tokens", "check", "export -", "nodes", "purge --older-than 1h", "expire", "run 1"),
    *("purge --rebuild", "backup b.db", "restore-backup b.db", "undefine 1", "restore 1"),
    *("user token a", "user remove a", "define --name x --path /x --target /", "move {} x.db"),
)


@pytest.fixture(scope="module")
def guarded(postgresql: Databases) -> Iterator[Postgres]:
    """Start a server that asks a role for its password, and lets another one only read."""
    del postgresql  # where there is none, this is left out as well
    try:
        server = Postgres().__enter__()
    except NoPostgres as error:
        pytest.skip(str(error))
    try:
        with closing(psycopg.connect(server.url, autocommit=True)) as link:
            link.execute("SET password_encryption TO 'scram-sha-256'")
            link.execute(f"CREATE ROLE jobs LOGIN PASSWORD '{SECRET}'".encode())
            link.execute("CREATE ROLE looker LOGIN")
            link.execute("CREATE ROLE nobody_here LOGIN")
            for name in ("jobs", "standing", "moved"):
                link.execute(f"CREATE DATABASE {name} OWNER jobs".encode())
        server.stop()
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all jobs scram-sha-256\n{rules.read_text()}")
        server.start()
        yield server
    finally:
        server.__exit__()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def url(server: Postgres, password: str | None = None, **parts: str) -> str:
    """Write the URL of a database there."""
    user = parts.get("user", "jobs") + (f":{password}" if password else "")
    return f"postgresql://{user}@/{parts.get('database', 'jobs')}?host={server.folder}"


def in_all_places(
    server: Postgres, password: str, folder: Path
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Give a URL and an environment for each place that a password may stand in."""
    yield url(server, password), {}
    yield f"{url(server)}&password={password}", {}
    yield url(server), {"PGPASSWORD": password}
    (folder / "passwords").write_text(f"*:*:*:jobs:{password}\n")
    (folder / "passwords").chmod(0o600)
    yield url(server), {"PGPASSFILE": str(folder / "passwords")}


def test_a_password_is_taken_from_where_it_stands_and_never_shown(
    guarded: Postgres, tmp_path: Path
) -> None:
    for place, environment in in_all_places(guarded, SECRET, tmp_path):
        told = said("migrate", "--store", place, env=environment)
        for command in COMMANDS:
            named = () if "{}" in command else ("--store", place)
            arguments = [place if word == "{}" else word for word in command.split()]
            output = jobstore(*arguments, *named, env=environment).output
            assert "reached" not in output
            told += output
        assert SECRET not in told


def test_a_move_tells_that_the_password_has_to_be_written_down_as_well(guarded: Postgres) -> None:
    said("migrate", "--store", "empty.db")
    place = url(guarded, SECRET, database="moved")
    told = said("move", "empty.db", place)
    assert told.endswith("  # and the password here, in PGPASSWORD or in a password file\n")
    assert SECRET not in told


def test_a_wrong_password_is_a_sentence_and_not_shown_either(
    guarded: Postgres, tmp_path: Path
) -> None:
    for place, environment in in_all_places(guarded, WRONG, tmp_path):
        for command in ("migrate", "list", "run 1", "user list", "check", "serve --port 0"):
            told = refused(*command.split(), "--store", place, env=environment)
            assert told.count("\n") == 1
            assert 'password authentication failed for user "jobs"' in told
            assert WRONG not in told


def test_no_password_at_all_is_a_sentence(guarded: Postgres) -> None:
    told = refused("list", "--store", url(guarded), env={"PGPASSFILE": "/dev/null"})
    assert "no password supplied" in told


async def test_a_server_shows_it_neither_in_its_log_nor_in_the_list_of_processes(
    guarded: Postgres,
) -> None:
    place = f"{url(guarded, SECRET)}&sslpassword={SECRET}"

    class Guarded(ServerProcess):
        def __init__(self) -> None:
            super().__init__(Path("unused"), "--open")
            at = self.arguments.index("--store") + 1
            self.arguments = (*self.arguments[:at], place, *self.arguments[at + 1 :])

    async with started(Guarded) as start:
        server = await start()
        shown_by_ps = Path(f"/proc/{server.process.pid}/cmdline")
        arguments = await asyncio.to_thread(shown_by_ps.read_bytes)
        assert b"postgresql://jobs:xxx" in arguments
        assert SECRET.encode() not in arguments
        with closing(psycopg.connect(guarded.url)) as link:
            shown = link.execute("SELECT application_name, query FROM pg_stat_activity").fetchall()
        assert SECRET not in repr(shown)
        await server.terminate()
    assert SECRET not in "".join(server.output)
    assert f"its store is postgresql://{guarded.folder}/jobs" in "".join(server.output)


def test_no_value_of_the_configuration_shows_it() -> None:
    place = f"postgresql://jobs:{SECRET}@db/jobs"
    config = load(None, {"store": {"url": place}}, environ={})
    for value in (config, config.store, StoreSection(url=place), Database(url=place)):
        assert SECRET not in repr(value)
        assert SECRET not in str(value)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (f"postgresql://jobs:{SECRET}@db:5433/jobs", "postgresql://jobs@db:5433/jobs"),
        (f"postgres://db/jobs?user=a&password={SECRET}", "postgresql://a@db/jobs"),
        (
            f"postgresql://a%40b:{SECRET}@/jobs?host=/run/pg&sslmode=require",
            "postgresql://a%40b@/jobs?sslmode=require&host=/run/pg",
        ),
        (
            f"postgresql://a:{SECRET}@one:1,two:2/jobs?target_session_attrs=read-write",
            "postgresql://a@/jobs?target_session_attrs=read-write&host=one,two&port=1,2",
        ),
    ],
)
def test_a_url_is_written_down_without_it(written: str, shown: str) -> None:
    assert without_secrets(written) == shown
    assert psycopg.conninfo.conninfo_to_dict(shown).keys() == (
        psycopg.conninfo.conninfo_to_dict(written).keys() - {"password"}
    )


@pytest.mark.parametrize(
    "written",
    [
        f"postgresql://jobs:{SECRET}@db:port/jobs",
        f"postgresql://jobs:{SECRET}%zz@db/jobs",
        f"postgresql://jobs:{SECRET}@[::1/jobs",
        f"postgresql://jobs:{SECRET}@db/jobs?nonsense={SECRET}",
        f"postgresql://db/jobs?password={SECRET}&{SECRET}",
    ],
)
@pytest.mark.parametrize("command", ["list", "migrate", "serve --port 0", "backup b", "user list"])
def test_a_url_that_cannot_be_read_is_not_repeated(written: str, command: str) -> None:
    told = refused(*command.split(), "--store", written)
    assert SECRET not in told
    assert told.count("\n") == 1


# What else a database may refuse


def test_a_database_or_a_host_that_is_not_there_is_a_sentence(guarded: Postgres) -> None:
    for place, sentence in (
        (url(guarded, SECRET, database="none"), 'database "none" does not exist'),
        ("postgresql://host.invalid/jobs", "the database cannot be reached ("),
        (f"postgresql:///jobs?host={guarded.folder}/none", "No such file or directory"),
        (url(guarded, SECRET) + "&sslmode=odd", 'invalid sslmode value: "odd"'),
    ):
        for command in ("list", "migrate", "run 1", "serve --port 0"):
            told = refused(*command.split(), "--store", place)
            assert sentence in told
            assert told.count("\n") == 1


def test_who_may_only_read_can_read_and_is_told_what_else_is_refused(guarded: Postgres) -> None:
    owner, looker = url(guarded, SECRET), url(guarded, user="looker")
    said("migrate", "--store", owner)
    with closing(psycopg.connect(owner, autocommit=True)) as link:
        link.execute("GRANT USAGE ON SCHEMA jobstore TO looker")
        link.execute("GRANT SELECT ON ALL TABLES IN SCHEMA jobstore TO looker")
        link.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA jobstore TO looker")
    for command in (
        *("list", "history", "history --stats", "history --activity", "definitions"),
        *("user list", "user tokens", "check", "export -", "nodes", "migrate"),
    ):
        said(*command.split(), "--store", looker)
    for command in ("define --name y --path /y --target /", "expire", "serve --port 0"):
        told = refused(*command.split(), "--store", looker)
        assert "the database does not allow that (permission denied for " in told
        assert told.count("\n") == 1


def test_who_may_nothing_is_told_so(guarded: Postgres) -> None:
    said("migrate", "--store", url(guarded, SECRET))
    nobody = url(guarded, user="nobody_here")
    for command in ("list", "migrate", "run 1", "user list", "serve --port 0", "move {} x.db"):
        named = () if "{}" in command else ("--store", nobody)
        arguments = [nobody if word == "{}" else word for word in command.split()]
        told = refused(*arguments, *named)
        assert "does not allow that (permission denied for schema jobstore)" in told
    absent = {"JOBSTORE_STORE__SCHEMA": "mine"}
    told = refused("migrate", "--store", nobody, env=absent)
    assert "does not allow that (permission denied for database jobs)" in told


def test_a_database_that_is_read_only_is_read_and_not_changed(guarded: Postgres) -> None:
    place = url(guarded, SECRET, database="standing")
    said("migrate", "--store", place)
    said("define", "--name", "x", "--path", "/x", "--target", "/", "--store", place)
    with closing(psycopg.connect(guarded.url, autocommit=True)) as link:
        link.execute("ALTER DATABASE standing SET default_transaction_read_only TO on")
    for command in ("list", "history --stats", "definitions", "user list", "check", "nodes"):
        said(*command.split(), "--store", place)
    for command in ("run /x", "undefine 1", "serve --port 0"):
        told = refused(*command.split(), "--store", place)
        assert "the database is read-only, as a standby is (cannot execute" in told
        assert told.count("\n") == 1


# What is not installed


@pytest.mark.parametrize("package", ["psycopg", "greenlet"])
@pytest.mark.parametrize("command", ["list", "serve --port 0", "migrate", "move a.db {}"])
def test_what_is_not_installed_is_named(package: str, command: str) -> None:
    place = "postgresql://db/jobs"
    named = [] if "{}" in command else ["--store", place]
    arguments = [place if word == "{}" else word for word in command.split()]
    without = f"import sys; sys.modules[{package!r}] = None; from jobstore.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, *arguments, *named],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "jobstore: a store on PostgreSQL needs a package that is not installed: pip install "
        "'jobstore[postgresql]'\n"
    )
