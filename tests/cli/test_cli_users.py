import asyncio
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.passwords import digest, verify
from tests.accounts import PASSWORD, basic
from tests.client import Client
from tests.commands import jobstore, refused, said
from tests.conftest import Serve, Start
from tests.stores import on_disk, rows

NO_ADMIN = "jobstore: no account is an admin yet: nobody can see other people's jobs\n"
COMMANDS = ["passwd a --password-stdin", "role a user", "remove a", "list", "token a", "tokens"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def add(name: str, role: str = "admin", password: str = PASSWORD, **options: Any) -> str:
    """Add an account, and return what is said of it."""
    command = ("user", "add", name, "--role", role, "--password-stdin")
    result = jobstore(*command, input=f"{password}\n", **options)
    assert result.exit_code == 0, result.output
    return result.stdout


def kept(path: Path, name: str) -> tuple[str, str]:
    """Read an account's role and the hash of its password."""
    ((role, password),) = rows(path, "SELECT role, password FROM account WHERE name = ?", name)
    return role, password


def described() -> dict[str, dict[str, Any]]:
    """List the accounts for scripts, by name."""
    accounts = [json.loads(line) for line in said("user", "list", "--json").splitlines()]
    return {account["name"]: account for account in accounts}


# Help


@pytest.mark.parametrize(
    "command", ["add", "passwd", "role", "remove", "list", "token", "tokens", "revoke"]
)
def test_every_command_about_users_explains_itself(command: str) -> None:
    assert f"  {command} " in said("user", "--help", prog_name="jobstore")
    told = said("user", command, "--help", prog_name="jobstore")
    assert f"Usage: jobstore user {command} " in told
    assert "--config" in told
    assert "--json" in told


def test_users_are_a_command_of_the_whole() -> None:
    assert "user " in said("--help")
    assert "Did you mean one of: 'token', 'tokens'?" in refused("user", "tokenz", code=2)


# add


def test_add_makes_the_store_on_a_fresh_machine(store_path: Path) -> None:
    assert not store_path.exists()
    told = add("alice")
    assert told == (
        "Account alice was added, as admin. From now on, every request needs credentials.\n"
    )
    assert said("migrate").endswith(", nothing to do\n")


def test_add_keeps_a_hash_of_the_password_and_nothing_else_of_it(store_path: Path) -> None:
    add("alice", password="Größe, und so weiter")
    role, password = kept(store_path, "alice")
    assert (role, password.startswith("$argon2id$")) == ("admin", True)
    assert verify(password, "Größe, und so weiter")
    assert "Größe".encode() not in on_disk(store_path)


def test_whoever_is_added_is_a_user_unless_another_role_is_given(store_path: Path) -> None:
    told = jobstore("user", "add", "bob", "--password-stdin", input=PASSWORD)
    assert told.exit_code == 0
    assert kept(store_path, "bob")[0] == "user"


def test_add_says_what_nobody_can_do_without_an_admin() -> None:
    command = ("user", "add", "bob", "--password-stdin")
    assert jobstore(*command, input=PASSWORD).stderr == NO_ADMIN
    add("carol", "reader")
    told = jobstore("user", "role", "bob", "user").stderr
    assert told.endswith("no account is an admin now: nobody can change other people's jobs\n")
    assert "From now on" not in add("alice", "admin")
    assert jobstore("user", "role", "bob", "reader").stderr == ""


@pytest.mark.parametrize("name", ["", "a:b", "a b", "ä", ".a", "-a", "a" * 65, "a\n", "a/b"])
def test_add_refuses_what_cannot_be_a_name(name: str, store_path: Path) -> None:
    told = refused("user", "add", "--password-stdin", "--", name, input=PASSWORD)
    assert "cannot be the name of an account: expected 1 to 64 of the characters" in told
    assert not store_path.exists()


@pytest.mark.parametrize(
    ("password", "complaint"),
    [
        (b"", "expected a password of 8 to 1024 characters"),
        (b"\n", "expected a password of 8 to 1024 characters"),
        (b"1234567\n", "expected a password of 8 to 1024 characters"),
        (b"x" * 1025, "expected a password of 8 to 1024 characters"),
        (b"x" * 100_000, "expected a password of 8 to 1024 characters"),
        (b"\xff" * 10, "the password is not UTF-8"),
    ],
)
def test_add_refuses_what_cannot_be_a_password(
    password: bytes, complaint: str, store_path: Path
) -> None:
    told = refused("user", "add", "alice", "--password-stdin", input=password)
    assert told == f"jobstore: {complaint}\n"
    assert not store_path.exists()


def test_a_password_is_one_line_with_all_its_spaces(store_path: Path) -> None:
    jobstore("user", "add", "alice", "--password-stdin", input=" two words \r\nand no more\n")
    assert verify(kept(store_path, "alice")[1], " two words ")


def test_a_password_is_no_argument() -> None:
    assert "No such option" in refused("user", "add", "alice", "--password", "x" * 9, code=2)
    assert "unexpected extra argument" in refused("user", "add", "alice", "x" * 9, code=2)


def test_add_refuses_a_name_that_is_taken(store_path: Path) -> None:
    add("alice")
    before = kept(store_path, "alice")
    told = refused("user", "add", "alice", "--password-stdin", input="another one")
    assert told == "jobstore: the account alice already exists\n"
    assert kept(store_path, "alice") == before


def test_add_refuses_a_role_that_is_none() -> None:
    told = refused("user", "add", "alice", "--role", "root", "--password-stdin", code=2)
    assert "'admin', 'user', 'reader'" in told


def test_without_a_terminal_a_password_is_read_only_if_that_is_wanted(store_path: Path) -> None:
    told = refused("user", "add", "alice", input=f"{PASSWORD}\n{PASSWORD}\n", code=2)
    assert "pipe it in with --password-stdin" in told
    assert not store_path.exists()


def typed(*lines: str) -> tuple[int, str]:
    """Type lines into the real command at a terminal; return its exit code, and the screen."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobstore", "user", "add", "alice", "--role", "admin"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        screen = b""
        for line in lines:
            screen += _until(ours, b": ")
            os.write(ours, line.encode() + b"\n")
        screen += _until(ours, None)
    os.close(ours)
    return process.returncode, screen.decode()


def _until(terminal: int, end: bytes | None) -> bytes:
    """Read what a terminal shows, up to some characters or to its end."""
    seen = b""
    while end is None or not seen.endswith(end):
        try:
            seen += os.read(terminal, 1024)
        except OSError:  # Linux says so when the other end is closed
            break
    return seen


def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(store_path: Path) -> None:
    code, screen = typed(PASSWORD, PASSWORD)
    assert (code, PASSWORD in screen) == (0, False)
    assert screen.count("Password: ") == 1
    assert "Repeat for confirmation: " in screen
    assert verify(kept(store_path, "alice")[1], PASSWORD)


def test_at_a_terminal_two_different_passwords_are_none(store_path: Path) -> None:
    _, screen = typed(PASSWORD, "a slip of it", PASSWORD, PASSWORD)
    assert "do not match" in screen
    assert verify(kept(store_path, "alice")[1], PASSWORD)


# passwd, role, remove


def test_passwd_replaces_the_password(store_path: Path) -> None:
    add("alice")
    told = said("user", "passwd", "alice", "--password-stdin", input="battery staple\n")
    assert told == "The password of alice was changed.\n"
    _, password = kept(store_path, "alice")
    assert (verify(password, "battery staple"), verify(password, PASSWORD)) == (True, False)


def test_role_replaces_the_role(store_path: Path) -> None:
    add("admin")
    add("alice", "user")
    assert said("user", "role", "alice", "reader") == "The role of alice is reader.\n"
    assert kept(store_path, "alice")[0] == "reader"


def test_remove_takes_the_tokens_with_it(store_path: Path) -> None:
    add("admin")
    add("alice", "user")
    jobstore("user", "token", "alice")
    assert said("user", "remove", "alice") == "Account alice was removed; its jobs stay.\n"
    assert list(described()) == ["admin"]
    assert rows(store_path, "SELECT * FROM token") == []


def test_remove_says_what_it_means_that_no_account_is_left() -> None:
    add("alice")
    assert "no account is left: on loopback addresses" in (
        jobstore("user", "remove", "alice").stderr
    )


@pytest.mark.parametrize("command", ["passwd bob --password-stdin", "role bob user", "remove bob"])
def test_what_changes_an_account_needs_one(command: str) -> None:
    add("alice")
    assert (
        refused("user", *command.split(), input=PASSWORD) == "jobstore: there is no account bob\n"
    )


# list


def test_list_shows_accounts_with_their_roles_and_how_many_tokens_they_have() -> None:
    add("bob", "user")
    add("alice")
    for _ in range(2):
        jobstore("user", "token", "bob")
    heads, *lines = [line.split() for line in said("user", "list").splitlines()]
    assert heads == ["NAME", "ROLE", "TOKENS", "CREATED"]
    assert [line[:3] for line in lines] == [["alice", "admin", "0"], ["bob", "user", "2"]]


def test_list_tells_scripts_the_same_and_no_hash() -> None:
    add("alice")
    alice = described()["alice"]
    assert list(alice) == ["name", "role", "tokens", "created_at", "changed_at"]
    assert (alice["role"], alice["tokens"]) == ("admin", 0)
    assert alice["created_at"] == alice["changed_at"]


def test_list_says_that_there_is_none() -> None:
    said("migrate")
    assert said("user", "list") == "There are no accounts.\n"
    assert said("user", "tokens") == "There are no tokens.\n"
    assert said("user", "list", "--json") == said("user", "tokens", "--json") == ""


# tokens


def test_a_token_stands_alone_on_the_output_and_only_its_hash_in_the_store(
    store_path: Path,
) -> None:
    add("alice")
    made = jobstore("user", "token", "alice", "--label", "nightly")
    token = made.stdout.removesuffix("\n")
    assert (made.exit_code, token.startswith("jobstore_"), len(token) > 40) == (0, True, True)
    assert "cannot be shown again" in made.stderr
    assert token not in made.stderr
    assert rows(store_path, "SELECT account, label, digest FROM token") == [
        ("alice", "nightly", digest(token))
    ]
    assert token.encode() not in on_disk(store_path)


def test_a_token_is_told_to_scripts_with_its_id() -> None:
    add("alice")
    made = json.loads(said("user", "token", "alice", "--json"))
    assert {**made, "token": ""} == {"id": 1, "account": "alice", "label": "", "token": ""}
    assert json.loads(said("user", "tokens", "--json"))["id"] == 1


def test_tokens_are_listed_without_what_they_are() -> None:
    add("alice")
    token = jobstore("user", "token", "alice", "--label", "for \x1b[31mthe\n night").stdout.strip()
    told = said("user", "tokens")
    assert told.splitlines()[1].startswith(" 1  alice    ")
    assert told.endswith("  for \\x1b[31mthe\\n night\n")
    assert token not in told + said("user", "tokens", "--json")
    assert digest(token) not in said("user", "tokens", "--json")


def test_a_token_needs_an_account() -> None:
    add("alice")
    assert refused("user", "token", "bob") == "jobstore: there is no account bob\n"


def test_revoke_takes_a_token_away_and_its_id_is_not_given_again() -> None:
    add("alice")
    jobstore("user", "token", "alice")
    assert said("user", "revoke", 1) == "Token 1 was revoked.\n"
    assert refused("user", "revoke", 1) == "jobstore: there is no token 1\n"
    assert json.loads(said("user", "token", "alice", "--json"))["id"] == 2


@pytest.mark.parametrize("token", [0, 7, 2**63 - 1, 2**63, 10**30])
def test_revoke_refuses_what_is_no_token(token: int) -> None:
    add("alice")
    assert refused("user", "revoke", token) == f"jobstore: there is no token {token}\n"


def test_scripts_are_told_what_was_done() -> None:
    options: dict[str, Any] = {"input": PASSWORD}
    done = [
        said("user", "add", "a", "--role", "admin", "--password-stdin", "--json", **options),
        said("user", "passwd", "a", "--password-stdin", "--json", **options),
        said("user", "role", "a", "admin", "--json"),
    ]
    jobstore("user", "token", "a")
    done.append(said("user", "revoke", 1, "--json"))
    done.append(jobstore("user", "remove", "a", "--json").stdout)
    assert [json.loads(each) for each in done] == [
        {"account": "a", "role": "admin"},
        {"account": "a"},
        {"account": "a", "role": "admin"},
        {"revoked": 1},
        {"removed": "a"},
    ]


# Stores


@pytest.mark.parametrize("command", [*COMMANDS, "revoke 1"])
def test_only_add_makes_a_store(command: str) -> None:
    told = refused("user", *command.split(), input=PASSWORD)
    assert "jobs.db: no such store" in told
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", ["add a --password-stdin", *COMMANDS])
def test_a_file_of_something_else_is_refused_and_not_changed(command: str) -> None:
    Path("jobs.db").write_text("Dear diary,\n" * 1000)
    before = Path("jobs.db").read_bytes()
    told = refused("user", *command.split(), input=PASSWORD)
    assert told == "jobstore: jobs.db: this is not a jobstore file; nothing was changed\n"
    assert Path("jobs.db").read_bytes() == before


def test_a_folder_that_does_not_exist_is_told() -> None:
    told = refused("user", "add", "a", "--password-stdin", "--store", "no/a.db", input=PASSWORD)
    assert told == "jobstore: no/a.db: its folder does not exist\n"


def test_the_store_is_the_configured_one() -> None:
    Path("mine.toml").write_text('[store]\npath = "mine.db"')
    add("alice", env={"JOBSTORE_STORE__PATH": "mine.db"})
    assert "alice" in said("user", "list", "--config", "mine.toml")
    assert "alice" in said("user", "list", "--store", "mine.db")


# A running server


async def told(*arguments: object, **options: Any) -> str:
    """Call a command beside a server in this process."""
    result = await asyncio.to_thread(jobstore, *arguments, **options)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


async def until(client: Client, status: int, authorization: str | None = None) -> None:
    """Ask until the answer has a status."""
    headers = {"Authorization": authorization} if authorization else {}
    while (await client("GET", "/_api/version", headers=headers)).status != status:
        pass


async def test_a_running_server_notices_what_becomes_of_accounts(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve()).url)
    await until(client, 200)
    new = ("--password-stdin",)
    await told("user", "add", "alice", *new, input=PASSWORD)
    await until(client, 401)
    await until(client, 200, basic("alice"))
    await told("user", "passwd", "alice", *new, input="battery staple")
    await until(client, 401, basic("alice"))
    await until(client, 200, basic("alice", "battery staple"))
    await told("user", "add", "bob", *new, input=PASSWORD)
    await told("user", "remove", "alice")
    await until(client, 401, basic("alice", "battery staple"))
    await told("user", "remove", "bob")
    await until(client, 200)


async def test_a_running_server_notices_what_becomes_of_roles_and_tokens(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve()).url)
    await told("user", "add", "alice", "--password-stdin", input=PASSWORD)
    token = "Bearer " + (await told("user", "token", "alice")).strip()
    await until(client, 200, token)
    changing = {"headers": {"Authorization": token}, "json": {"name": "new"}}
    assert (await client("POST", "/_api/collection", **changing)).status == 200
    await told("user", "role", "alice", "reader")
    while (await client("POST", "/_api/collection", **changing)).status != 403:
        pass
    await told("user", "revoke", 1)
    await until(client, 401, token)


async def test_a_server_of_another_process_notices_accounts_too(
    server_process: Start, http: ClientSession, store_path: Path
) -> None:
    client = Client(http, (await server_process()).url)
    await until(client, 200)
    where = ("--store", store_path)
    await told("user", "add", "alice", "--password-stdin", *where, input=PASSWORD)
    await until(client, 401)
    await until(client, 200, basic("alice"))
