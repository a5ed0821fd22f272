"""What an admin may do to accounts, tokens and sessions, and what is said of it before.

Each is a table entry: a page with a form that says what will happen, and a function that does it.
The page is found by GET, and changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jobstore.dashboard.forms import Fields, FormInvalid, id_in
from jobstore.live import Store
from jobstore.model import passwords
from jobstore.model.account import Account, Role
from jobstore.model.errors import JobstoreError


class NotThere(JobstoreError):
    """What something should be done to is gone, or never was."""

    status = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What shall be done, by whom.

    Args:
        fields: what was filled in.
        who: who asks for it, for the trail.
    """

    store: Store
    fields: Fields
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is said before something is done.

    Args:
        title: what it is, with what it is done to.
        words: what will happen, a paragraph each.
        kept: the fields that name what it is done to.
        account: the account that it is done to, if it is one.
    """

    title: str
    words: Sequence[str]
    kept: Fields
    account: Account | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that an admin may do.

    Args:
        tell: says what will happen.
        do: does it; returns what has to be shown once, if anything.
        inputs: what has to be filled in: ``name``, ``role``, ``password``, ``label``.
        button: what starts it.
        danger: whether it takes something away.
    """

    tell: Callable[[Asked], Awaitable[Told]]
    do: Callable[[Asked], Awaitable[str | None]]
    button: str
    inputs: Sequence[str] = ()
    danger: bool = False


# --- what it is done to ---------------------------------------------------------------------------


def _account(asked: Asked) -> Account:
    name = asked.fields.get("name", "")
    account = asked.store.accounts.roll().accounts.get(name)
    if account is None:
        raise NotThere(f"there is no account {name[:64]!r}")
    return account


def _of(account: Account, title: str, *words: str) -> Told:
    return Told(title=title, words=words, kept={"name": account.name}, account=account)


def _role(fields: Fields) -> Role:
    try:
        return Role(fields.get("role", ""))
    except ValueError:
        raise FormInvalid(f"role: expected one of {', '.join(Role)}") from None


async def _hashed(fields: Fields) -> str:
    """Hash a new password, which has to be typed twice; this takes tens of milliseconds."""
    password = fields.get("password", "")
    if password != fields.get("again", ""):
        raise FormInvalid("password: expected the same one twice")
    return await asyncio.to_thread(passwords.hashed, password)


# --- accounts -------------------------------------------------------------------------------------


async def _tell_add(_: Asked) -> Told:
    words = "A user has jobs of their own; a reader sees the jobs of all and changes nothing; an "
    words += "admin sees and changes everything."
    return Told(title="Add an account", words=(words,), kept={})


async def _add(asked: Asked) -> None:
    name, role = asked.fields.get("name", "").strip(), _role(asked.fields)
    passwords.check_name(name)
    await asked.store.accounts.add(name, role, await _hashed(asked.fields), asked.who)


async def _tell_role(asked: Asked) -> Told:
    account = _account(asked)
    return _of(
        account,
        f"Change the role of {account.name}",
        f"{account.name} is {_article(account.role)} now. Their sessions end, so that they have to "
        "log in again; their tokens go on with the new role.",
        "The schedules of an account that becomes a reader are paused.",
    )


async def _set_role(asked: Asked) -> None:
    name, role = _account(asked).name, _role(asked.fields)
    await asked.store.accounts.set_role(name, role, asked.who, with_admin=True)


async def _tell_password(asked: Asked) -> Told:
    account = _account(asked)
    return _of(
        account,
        f"Set the password of {account.name}",
        "The old password works no more, and sessions that began with it end. Tokens stay as they "
        "are.",
    )


async def _set_password(asked: Asked) -> None:
    name = _account(asked).name
    await asked.store.accounts.set_password(name, await _hashed(asked.fields), asked.who)


async def _tell_remove(asked: Asked) -> Told:
    account, store = _account(asked), asked.store
    tokens = sum(each.account == account.name for each in store.accounts.tokens())
    sessions = sum(each.account == account.name for each in await store.sessions.all())
    return _of(
        account,
        f"Remove the account {account.name}",
        f"{account.name} is let in no more: {_many(tokens, 'token')} and "
        f"{_many(sessions, 'session')} end with the account, and its schedules are paused.",
        "Its jobs and definitions stay. Only admins and readers see them from then on, whoever "
        "gets the name next. This cannot be undone.",
    )


async def _remove(asked: Asked) -> None:
    await asked.store.accounts.remove(_account(asked).name, asked.who, with_admin=True)


# --- tokens and sessions --------------------------------------------------------------------------


async def _tell_token(asked: Asked) -> Told:
    account = _account(asked)
    return _of(
        account,
        f"Make a token for {account.name}",
        f"With it a program asks on behalf of {account.name}, until the token is revoked. It is "
        "shown once, on the next page, and kept nowhere.",
    )


async def _token(asked: Asked) -> str:
    token = passwords.new_token()
    name, label = _account(asked).name, asked.fields.get("label", "").strip()[:200]
    await asked.store.accounts.add_token(name, label, passwords.digest(token), asked.who)
    return token


async def _tell_revoke(asked: Asked) -> Told:
    number = id_in(asked.fields, "token")
    token = next((each for each in asked.store.accounts.tokens() if each.id == number), None)
    if token is None:
        raise NotThere(f"there is no token {number}: it was revoked already")
    label = f" ({token.label})" if token.label else ""
    words = f"Programs that use this token of {token.account}{label} are let in no more, at once."
    return Told(
        title=f"Revoke token {number}",
        words=(words, "This cannot be undone; a new token can be made."),
        kept={"id": str(number)},
    )


async def _revoke(asked: Asked) -> None:
    await asked.store.accounts.revoke_token(id_in(asked.fields, "token"), asked.who)


async def _tell_end(asked: Asked) -> Told:
    number = id_in(asked.fields, "session")
    found = [each for each in await asked.store.sessions.all() if each.id == number]
    if not found:
        raise NotThere(f"there is no session {number}: it has ended already")
    words = f"{found[0].account} has to log in again at {found[0].label}."
    return Told(
        title=f"End a session of {found[0].account}",
        words=(words, "Their password stays as it is: set another one to keep somebody out."),
        kept={"id": str(number)},
    )


async def _end(asked: Asked) -> None:
    await asked.store.sessions.end(id_in(asked.fields, "session"), asked.who)


DEEDS: Final[Mapping[str, Deed]] = {
    "add": Deed(
        tell=_tell_add, do=_add, button="Add the account", inputs=("name", "role", "password")
    ),
    "role": Deed(tell=_tell_role, do=_set_role, button="Change the role", inputs=("role",)),
    "password": Deed(
        tell=_tell_password, do=_set_password, button="Set the password", inputs=("password",)
    ),
    "remove": Deed(tell=_tell_remove, do=_remove, button="Remove the account", danger=True),
    "token": Deed(tell=_tell_token, do=_token, button="Make the token", inputs=("label",)),
    "revoke": Deed(tell=_tell_revoke, do=_revoke, button="Revoke the token", danger=True),
    "end": Deed(tell=_tell_end, do=_end, button="End the session", danger=True),
}


def _article(role: Role) -> str:
    return f"an {role}" if role is Role.ADMIN else f"a {role}"


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
