"""What an admin may do to accounts, tokens and sessions, with the questions before.

Each action is a question, requested by GET, which changes nothing, and a function that does it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from jobstore.dashboard.confirm import Input, Question
from jobstore.dashboard.forms import Fields, FormInvalid, id_in
from jobstore.live import Store
from jobstore.model import passwords, words
from jobstore.model.account import Account, Role
from jobstore.model.errors import JobstoreError
from jobstore.model.frozen import frozen

_LONGEST: Final = 200
_PASSWORDS: Final = (
    Input(name="password", label="Password", kind="password", required=True),
    Input(name="again", label="Repeat the password", kind="password", required=True),
)


class NotThere(JobstoreError):
    """The object of an action does not exist."""

    status = 404


@frozen(kw_only=True)
class DeedRequest:
    """What is to be done, and by whom.

    Args:
        fields: what was filled in.
        who: who asks for it, for the trail.
    """

    store: Store
    fields: Fields
    who: str

    @property
    def account(self) -> Account:
        """Return the account to act on.

        Raises:
            NotThere: it does not exist.
        """
        name = self.fields.get("name", "")
        account = self.store.accounts.snapshot().accounts.get(name)
        if account is None:
            raise NotThere(f"there is no account {name[:64]!r}")
        return account

    @property
    def role(self) -> Role:
        """Return the chosen role.

        Raises:
            FormInvalid: it is invalid.
        """
        try:
            return Role(self.fields.get("role", ""))
        except ValueError:
            raise FormInvalid(f"role: expected one of {', '.join(Role)}") from None

    async def password(self) -> str:
        """Hash the password that was entered twice; this takes tens of milliseconds.

        Raises:
            FormInvalid: the two differ.
            AccountProblem: it is too short or too long.
        """
        password = self.fields.get("password", "")
        if password != self.fields.get("again", ""):
            raise FormInvalid("password: expected the same one twice")
        return await asyncio.to_thread(passwords.hashed, password)


@frozen(kw_only=True)
class Deed:
    """An action of an admin.

    Args:
        question: says what will happen.
        do: does it; returns what has to be shown once, if anything.
    """

    question: Callable[[DeedRequest], Awaitable[Question]]
    do: Callable[[DeedRequest], Awaitable[str | None]]


# --- accounts -------------------------------------------------------------------------------------


async def _whether_to_add(asked: DeedRequest) -> Question:
    name = Input(
        name="name", label="Name", value=asked.fields.get("name", "")[:_LONGEST], required=True
    )
    return Question(
        title="Add an account",
        told=(
            (
                "A user has jobs of their own; a reader sees the jobs of all and changes nothing; "
                "an admin sees and changes everything."
            ),
        ),
        button="Add the account",
        inputs=(name, _roles(asked.fields.get("role") or Role.USER), *_PASSWORDS),
    )


async def _add(asked: DeedRequest) -> None:
    name, role = asked.fields.get("name", "").strip(), asked.role
    passwords.check_name(name)
    await asked.store.accounts.add(name, role, await asked.password(), asked.who)


async def _whether_to_set_role(asked: DeedRequest) -> Question:
    account = asked.account
    return Question(
        title=f"Change the role of {account.name}",
        told=(
            (
                f"{account.name} is {_article(account.role)} now. Their sessions end, so that they "
                "have to log in again; their tokens go on with the new role."
            ),
            "The schedules of an account that becomes a reader are paused.",
        ),
        button="Change the role",
        kept={"name": account.name},
        inputs=(_roles(asked.fields.get("role") or account.role),),
    )


async def _set_role(asked: DeedRequest) -> None:
    name = asked.account.name
    await asked.store.accounts.set_role(name, asked.role, asked.who, with_admin=True)


async def _whether_to_set_password(asked: DeedRequest) -> Question:
    account = asked.account
    return Question(
        title=f"Set the password of {account.name}",
        told=(
            (
                "The old password no longer works, and the sessions that began with it end. Tokens "
                "stay as they are."
            ),
        ),
        button="Set the password",
        kept={"name": account.name},
        inputs=_PASSWORDS,
        login=account.name,
    )


async def _set_password(asked: DeedRequest) -> None:
    name = asked.account.name
    await asked.store.accounts.set_password(name, await asked.password(), asked.who)


async def _whether_to_remove(asked: DeedRequest) -> Question:
    name, store = asked.account.name, asked.store
    tokens = sum(each.account == name for each in store.accounts.tokens())
    sessions = sum(each.account == name for each in await store.sessions.all())
    return Question(
        title=f"Remove the account {name}",
        told=(
            (
                f"{name} loses access: {words.plural(tokens, 'token')} and "
                f"{words.plural(sessions, 'session')} end with the account, and its schedules are "
                "paused."
            ),
            (
                "Its jobs and definitions stay. Only admins and readers see them from then on, "
                "whoever gets the name next. This cannot be undone."
            ),
        ),
        button="Remove the account",
        danger=True,
        kept={"name": name},
    )


async def _remove(asked: DeedRequest) -> None:
    await asked.store.accounts.remove(asked.account.name, asked.who, with_admin=True)


# --- tokens and sessions --------------------------------------------------------------------------


async def _whether_to_make_token(asked: DeedRequest) -> Question:
    name = asked.account.name
    return Question(
        title=f"Make a token for {name}",
        told=(
            (
                f"With it a program acts on behalf of {name}, until the token is revoked. It is "
                "shown once, on the next page, and not kept."
            ),
        ),
        button="Make the token",
        kept={"name": name},
        inputs=(Input(name="label", label="What it is for"),),
    )


async def _make_token(asked: DeedRequest) -> str:
    token, label = passwords.new_token(), asked.fields.get("label", "").strip()[:_LONGEST]
    kept = passwords.digest(token)
    await asked.store.accounts.add_token(asked.account.name, label, kept, asked.who)
    return token


async def _whether_to_revoke(asked: DeedRequest) -> Question:
    number = id_in(asked.fields, "token")
    token = next((each for each in asked.store.accounts.tokens() if each.id == number), None)
    if token is None:
        raise NotThere(f"there is no token {number}; it was already revoked")
    label = f" ({token.label})" if token.label else ""
    return Question(
        title=f"Revoke token {number}",
        told=(
            f"Programs that use this token of {token.account}{label} are refused from now on.",
            "This cannot be undone; you can create a new token.",
        ),
        button="Revoke the token",
        danger=True,
        kept={"id": str(number)},
    )


async def _revoke(asked: DeedRequest) -> None:
    await asked.store.accounts.revoke_token(id_in(asked.fields, "token"), asked.who)


async def _whether_to_end(asked: DeedRequest) -> Question:
    number = id_in(asked.fields, "session")
    found = await asked.store.sessions.all()
    session = next((each for each in found if each.id == number), None)
    if session is None:
        raise NotThere(f"there is no session {number}; it has already ended")
    return Question(
        title=f"End a session of {session.account}",
        told=(
            f"{session.account} has to log in again at {session.label}.",
            "Their password stays as it is: set another one to keep somebody out.",
        ),
        button="End the session",
        danger=True,
        kept={"id": str(number)},
    )


async def _end(asked: DeedRequest) -> None:
    await asked.store.sessions.end(id_in(asked.fields, "session"), asked.who)


DEEDS: Final[Mapping[str, Deed]] = {
    "add": Deed(question=_whether_to_add, do=_add),
    "role": Deed(question=_whether_to_set_role, do=_set_role),
    "password": Deed(question=_whether_to_set_password, do=_set_password),
    "remove": Deed(question=_whether_to_remove, do=_remove),
    "token": Deed(question=_whether_to_make_token, do=_make_token),
    "revoke": Deed(question=_whether_to_revoke, do=_revoke),
    "end": Deed(question=_whether_to_end, do=_end),
}


def _roles(chosen: str) -> Input:
    return Input(name="role", label="Role", value=chosen, options=[*Role])


def _article(role: Role) -> str:
    return f"an {role}" if role is Role.ADMIN else f"a {role}"
