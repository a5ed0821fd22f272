"""Accounts and tokens, and what they may do."""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import click

from jobstore.cli.beside import beside, operator
from jobstore.cli.options import configured, json_option, text
from jobstore.cli.plain import Complaint, write_json
from jobstore.cli.table import Listed
from jobstore.cli.wording import to_the_second
from jobstore.config import Config
from jobstore.model import passwords
from jobstore.model.account import Account, Role, Token
from jobstore.model.clock import iso
from jobstore.store.accounts import Accounts

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")

_ROLES: Final = click.Choice([role.value for role in Role])
_LONGEST_LINE: Final = 8192  # bytes; no password has as many


def _password_option(command: F) -> F:
    """Give a command the option to read a password from a pipe."""
    return click.option(
        "--password-stdin", is_flag=True, help="Read the password from one line of stdin."
    )(command)


@click.group("user")
def user_command() -> None:
    """Manage accounts and their tokens.

    Without any account, everybody who can reach the server may do everything. Once there is one,
    every request needs a name and password, or a token. A running server notices changes at once.
    """


@user_command.command("add")
@configured
@click.argument("name", type=text)
@click.option(
    "--role",
    type=_ROLES,
    default=Role.USER.value,
    show_default=True,
    help="A user sees and changes their own jobs; an admin, everybody's; a reader sees "
    "everybody's and changes nothing.",
)
@_password_option
@json_option
def add_command(
    config: Config, name: str, role: str, *, password_stdin: bool, as_json: bool
) -> None:
    """Add an account, and create the store if there is none yet.

    You are asked for the password; only its hash is kept.
    """
    passwords.check_name(name)
    kept = passwords.hashed(_password(from_stdin=password_stdin))
    _, accounts = _changed(
        config, lambda them: them.add(name, Role(role), kept, operator()), create=True
    )
    words = f"Account {name} was added, as {role}."
    if len(accounts) == 1:
        words += " From now on, every request needs credentials."
    _tell({"account": name, "role": role}, words, as_json=as_json)
    _warn(accounts, "yet")


@user_command.command("passwd")
@configured
@click.argument("name", type=text)
@_password_option
@json_option
def passwd_command(config: Config, name: str, *, password_stdin: bool, as_json: bool) -> None:
    """Change the password of an account; its tokens stay as they are."""
    kept = passwords.hashed(_password(from_stdin=password_stdin))
    _changed(config, lambda them: them.set_password(name, kept, operator()))
    _tell({"account": name}, f"The password of {name} was changed.", as_json=as_json)


@user_command.command("role")
@configured
@click.argument("name", type=text)
@click.argument("role", type=_ROLES)
@json_option
def role_command(config: Config, name: str, role: str, *, as_json: bool) -> None:
    """Change the role of an account."""
    paused, accounts = _changed(config, lambda them: them.set_role(name, Role(role), operator()))
    _tell({"account": name, "role": role}, f"The role of {name} is {role}.", as_json=as_json)
    _warn_of_paused(paused)
    _warn(accounts, "now")


@user_command.command("remove")
@configured
@click.argument("name", type=text)
@json_option
def remove_command(config: Config, name: str, *, as_json: bool) -> None:
    """Remove an account and its tokens; its jobs and definitions stay.

    From then on only admins and readers see them, even if somebody else gets the name. Its
    schedules are paused.
    """
    paused, accounts = _changed(config, lambda them: them.remove(name, operator()))
    _tell({"removed": name}, f"Account {name} was removed; its jobs stay.", as_json=as_json)
    _warn_of_paused(paused)
    _warn(accounts, "now")


@user_command.command("list")
@configured
@json_option
def accounts_command(config: Config, *, as_json: bool) -> None:
    """List all accounts."""
    accounts, tokens = _all(config)
    held = Counter(token.account for token in tokens)
    listed: Listed[Account] = Listed(
        heads=("NAME", "ROLE", "TOKENS", "CREATED"),
        row=lambda each: (each.name, each.role, held[each.name], to_the_second(each.created_at)),
        fields=lambda each: _account_fields(each, held[each.name]),
        none="There are no accounts.",
    )
    listed.write(accounts, as_json=as_json)


@user_command.command("token")
@configured
@click.argument("name", type=text)
@click.option("--label", type=text, default="", metavar="TEXT", help="What it is for.")
@json_option
def token_command(config: Config, name: str, label: str, *, as_json: bool) -> None:
    """Create a token, which lets a program act for an account.

    It is written to the standard output only; the store keeps its hash.
    """
    token = passwords.new_token()
    kept = passwords.digest(token)
    number = _asked(config, lambda them: them.add_token(name, label, kept, operator()))
    if as_json:
        write_json({"id": number, "account": name, "label": label, "token": token})
        return
    click.echo(token)
    sys.stdout.flush()
    click.echo(
        f"Token {number} of {name}; it cannot be shown again. Send it in a header:\n"
        "  Authorization: Bearer TOKEN\n"
        f"`jobstore user revoke {number}` revokes it.",
        err=True,
    )


@user_command.command("tokens")
@configured
@json_option
def tokens_command(config: Config, *, as_json: bool) -> None:
    """List the tokens of all accounts; their values are not kept."""
    _, tokens = _all(config)
    _TOKENS.write(tokens, as_json=as_json)


@user_command.command("revoke")
@configured
@click.argument("token", metavar="ID", type=int)
@json_option
def revoke_command(config: Config, token: int, *, as_json: bool) -> None:
    """Revoke a token."""
    _changed(config, lambda them: them.revoke_token(token, operator()))
    _tell({"revoked": token}, f"Token {token} was revoked.", as_json=as_json)


# --- the store ----------------------------------------------------------------------------------


def _asked(config: Config, ask: Callable[[Accounts], Awaitable[T]], *, create: bool = False) -> T:
    async def ask_store() -> T:
        async with beside(config, create=create) as store:
            return await ask(store.accounts)

    return asyncio.run(ask_store())


def _changed(
    config: Config, change: Callable[[Accounts], Awaitable[T]], *, create: bool = False
) -> tuple[T, Mapping[str, Account]]:
    """Change the accounts; return the result, and the accounts after the change."""

    async def change_them(accounts: Accounts) -> tuple[T, Mapping[str, Account]]:
        return await change(accounts), accounts.snapshot().accounts

    return _asked(config, change_them, create=create)


def _all(config: Config) -> tuple[Sequence[Account], Sequence[Token]]:
    async def read(accounts: Accounts) -> tuple[Sequence[Account], Sequence[Token]]:
        return list(accounts.snapshot().accounts.values()), accounts.tokens()

    return _asked(config, read)


# --- words --------------------------------------------------------------------------------------


def _password(*, from_stdin: bool) -> str:
    """Get a new password, never from an argument, which everybody can see.

    Raises:
        Complaint: what was read is no text.
    """
    if not from_stdin:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "there is no terminal to ask for the password; pipe it in with --password-stdin"
            )
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return asked
    line = sys.stdin.buffer.readline(_LONGEST_LINE)
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Complaint("the password is not UTF-8") from None


def _tell(fields: Mapping[str, object], words: str, *, as_json: bool) -> None:
    if as_json:
        write_json(fields)
    else:
        click.echo(words)


def _warn_of_paused(schedules: int) -> None:
    if schedules:
        words = "its schedule is" if schedules == 1 else f"its {schedules} schedules are"
        click.echo(f"jobstore: {words} paused; an admin can resume them", err=True)


def _warn(accounts: Mapping[str, Account], since: str) -> None:
    """Warn of consequences that an administrator may not expect."""
    roles = {account.role for account in accounts.values()}
    if not accounts:
        warning = (
            "no account is left: on loopback addresses, or with --open, everybody may do "
            "everything; otherwise the server does not start"
        )
    elif Role.ADMIN not in roles:
        what = "change" if Role.READER in roles else "see"
        warning = f"no account is an admin {since}: nobody can {what} other people's jobs"
    else:
        return
    click.echo(f"jobstore: {warning}", err=True)


def _account_fields(account: Account, tokens: int) -> dict[str, object]:
    return {
        "name": account.name,
        "role": account.role,
        "tokens": tokens,
        "created_at": iso(account.created_at),
        "changed_at": iso(account.changed_at),
    }


def _token_fields(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "account": token.account,
        "label": token.label,
        "created_at": iso(token.created_at),
    }


_TOKENS: Final[Listed[Token]] = Listed(
    heads=("ID", "ACCOUNT", "CREATED", "LABEL"),
    row=lambda each: (each.id, each.account, to_the_second(each.created_at), each.label),
    fields=_token_fields,
    none="There are no tokens.",
)
