"""Accounts in the store, and in the memory of a running server."""

import time
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, delete, insert, select, update

from jobstore.model.account import NOBODY, Account, Role, Token
from jobstore.model.errors import AccountProblem
from jobstore.model.frozen import frozen
from jobstore.store import audit, elsewhere, jobs, schedules, schema
from jobstore.store.expressions import Statement
from jobstore.store.guards import now
from jobstore.store.reading import Points
from jobstore.store.transaction import Operation, Transaction
from jobstore.store.writer import Writer

_account: Final = schema.ACCOUNT.c
_token: Final = schema.TOKEN.c
_this: Final = _account.name == bindparam("account")
ADD: Final = Statement(
    insert(schema.ACCOUNT).values(
        name=bindparam("account"),
        role=bindparam("role"),
        password=bindparam("password"),
        created_at=now,
        changed_at=now,
    )
)
SET_PASSWORD: Final = Statement(
    update(schema.ACCOUNT)
    .where(_this)
    .values(password=bindparam("password"), changed_at=now)
    .returning(_account.id)
)
CHANGE_PASSWORD: Final = Statement(
    update(schema.ACCOUNT)
    .where(_this, _account.password == bindparam("was"))
    .values(password=bindparam("password"), changed_at=now)
    .returning(_account.id)
)
SET_ROLE: Final = Statement(
    update(schema.ACCOUNT)
    .where(_this)
    .values(role=bindparam("role"), changed_at=now)
    .returning(_account.id)
)
REMOVE: Final = Statement(delete(schema.ACCOUNT).where(_this).returning(_account.id))
LIST: Final = Statement(
    select(
        _account.id,
        _account.name,
        _account.role,
        _account.password,
        _account.created_at,
        _account.changed_at,
    ).order_by(_account.name)
)
FIND: Final = Statement(select(_account.id).where(_this))
ADMINS: Final = Statement(select(_account.id).where(_account.role == bindparam("role")))
ADD_TOKEN: Final = Statement(
    insert(schema.TOKEN).values(
        account=bindparam("account"),
        label=bindparam("label"),
        digest=bindparam("digest"),
        created_at=now,
    )
)
REVOKE_TOKEN: Final = Statement(
    delete(schema.TOKEN)
    .where(_token.id == bindparam("token"))
    .returning(_token.account, _token.label)
)
LIST_TOKENS: Final = Statement(
    select(_token.id, _token.account, _token.label, _token.created_at, _token.digest).order_by(
        _token.id
    )
)
# How long it may take until a change by another process is noticed.
NOTICE_SECONDS: Final = 0.05
T = TypeVar("T")


@frozen
class AccountSnapshot:
    """All accounts at one moment.

    Args:
        accounts: the accounts, by name.
        holders: the names of accounts, by the hashes of their tokens.
    """

    accounts: Mapping[str, Account] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)


class Accounts:
    """Look up accounts in memory, and notice when any process has changed them.

    Every request needs them, so they are kept in memory; one small row, read now and then, tells
    whether they have to be read again.
    """

    def __init__(self, points: Points, writer: Writer) -> None:
        self._points = points
        self._writer = writer
        self._roll = AccountSnapshot()
        self._revision = -1
        self._checked = -NOTICE_SECONDS

    def roll(self) -> AccountSnapshot:
        """Return all accounts, at most a moment old."""
        now = time.monotonic()
        if now - self._checked >= NOTICE_SECONDS:
            revision = self._points.revision("accounts")
            if revision != self._revision:
                self._roll, self._revision = self._read(), revision
            self._checked = now  # not before: what could not be read must not pass for no accounts
        return self._roll

    def look_again(self) -> None:
        """Have the next `roll` be as new as the store."""
        self._checked = -NOTICE_SECONDS

    def _read(self) -> AccountSnapshot:
        accounts = [_decoded(row) for row in self._points.kept(LIST)]
        holders = {digest: name for _, name, _, _, digest in self._points.kept(LIST_TOKENS)}
        return AccountSnapshot({account.name: account for account in accounts}, holders)

    def id_of(self, name: str) -> int:
        """Return the id of the account with a name, or nobody's id if there is none."""
        account = self.roll().accounts.get(name)
        return account.id if account else NOBODY

    def tokens(self) -> list[Token]:
        """List all tokens."""
        return [
            Token(id=token, account=account, label=label, created_at=created)
            for token, account, label, created, _ in self._points.kept(LIST_TOKENS)
        ]

    async def _change(self, operation: Operation[T]) -> T:
        value = await self._writer.run(operation)
        await self._points.refresh()
        self.look_again()  # what was done here is seen at once
        return value

    async def add(
        self, name: str, role: Role, password: str, by: str = "", *, with_admin: bool = False
    ) -> None:
        """Add an account.

        Args:
            name: the user name.
            role: its role.
            password: the password's hash.
            by: who adds it, for the audit log; "" writes no entry.
            with_admin: whether to refuse it if no account would be an admin.

        Raises:
            AccountProblem: an account with this name exists, or there is no admin.
        """

        def add(tx: Transaction) -> None:
            _add(tx, name, role, password)
            _note(tx, by, "add account", name, role)
            _require_admin(tx, wanted=with_admin)

        await self._change(add)

    async def set_password(
        self, name: str, password: str, by: str = "", *, was: str | None = None
    ) -> None:
        """Replace the hash of an account's password, which ends its sessions.

        Args:
            by: as for `add`.
            was: the hash that is replaced, or None for whichever it is.

        Raises:
            AccountProblem: there is no such account, or it has another password by now.
        """

        def set_password(tx: Transaction) -> None:
            _set_password(tx, name, password, was)
            _note(tx, by, "set password", name)

        await self._change(set_password)

    async def set_role(
        self, name: str, role: Role, by: str = "", *, with_admin: bool = False
    ) -> int:
        """Change the role of an account, which ends its sessions.

        If it may no longer submit, its schedules are paused.

        Args:
            by: as for `add`.
            with_admin: as for `add`.

        Returns:
            how many schedules were paused.

        Raises:
            AccountProblem: there is no such account, or there would be no admin.
        """

        def set_role(tx: Transaction) -> int:
            paused = _set_role(tx, name, role)
            _note(tx, by, "set role", name, role)
            _require_admin(tx, wanted=with_admin)
            return paused

        return await self._change(set_role)

    async def remove(self, name: str, by: str = "", *, with_admin: bool = False) -> int:
        """Remove an account, its tokens and its sessions; its jobs stay.

        Its schedules are paused.

        Args:
            by: as for `add`.
            with_admin: as for `add`.

        Returns:
            how many schedules were paused.

        Raises:
            AccountProblem: there is no such account, or there would be no admin.
        """

        def remove(tx: Transaction) -> int:
            paused = _remove(tx, name)
            _note(tx, by, "remove account", name)
            _require_admin(tx, wanted=with_admin)
            return paused

        return await self._change(remove)

    async def add_token(self, name: str, label: str, digest: str, by: str = "") -> int:
        """Add a token to an account; return the token's id.

        Args:
            by: as for `add`.

        Raises:
            AccountProblem: there is no such account.
        """

        def add_token(tx: Transaction) -> int:
            token = _add_token(tx, name, label, digest)
            _note(tx, by, "add token", name, _named(token, label))
            return token

        return await self._change(add_token)

    async def revoke_token(self, token: int, by: str = "") -> str:
        """Remove a token; return whose it was.

        Args:
            by: as for `add`.

        Raises:
            AccountProblem: there is no such token.
        """

        def revoke(tx: Transaction) -> str:
            account, label = _revoke(tx, token)
            _note(tx, by, "revoke token", account, _named(token, label))
            return account

        return await self._change(revoke)


def _note(tx: Transaction, by: str, what: str, account: str, detail: str | None = None) -> None:
    if by:
        audit.note(tx, by, what, account, detail)


def _named(token: int, label: str) -> str:
    return f"token {token}: {label}" if label else f"token {token}"


def _require_admin(tx: Transaction, *, wanted: bool) -> None:
    """Refuse a change that would leave no admin."""
    if not wanted:
        return
    if tx.shared:  # of two admins, each may be taking the other's role at the moment
        elsewhere.lock(tx, "admins")
    if not tx.execute(ADMINS, role=Role.ADMIN).fetchone():
        raise AccountProblem(
            "at least one account has to be an admin: make another account an admin first"
        )


def _add(tx: Transaction, name: str, role: Role, password: str) -> None:
    if tx.execute(FIND, account=name).fetchone():
        raise AccountProblem(f"the account {name} already exists")
    tx.execute(ADD, account=name, role=role, password=password, now=tx.now)


def _set(tx: Transaction, statement: Statement, name: str, **values: object) -> int:
    row = tx.execute(statement, account=name, now=tx.now, **values).fetchone()
    if row is None:
        raise AccountProblem(f"there is no account {name}")
    return int(row[0])


def _set_password(tx: Transaction, name: str, password: str, was: str | None) -> None:
    if was is None:
        _set(tx, SET_PASSWORD, name, password=password)
        return
    values = {"account": name, "password": password, "was": was}
    if tx.execute(CHANGE_PASSWORD, now=tx.now, **values).fetchone() is None:
        raise AccountProblem(f"the account {name} has just been changed: log in again")


def _set_role(tx: Transaction, name: str, role: Role) -> int:
    account = _set(tx, SET_ROLE, name, role=role)
    return _pause(tx, account) if role is Role.READER else 0


def _remove(tx: Transaction, name: str) -> int:
    return _pause(tx, _set(tx, REMOVE, name))


def _pause(tx: Transaction, account: int) -> int:
    """Pause the schedules of an account: nobody could stop them otherwise."""
    paused = tx.execute(schedules.PAUSE_ALL, of_account=account, now=tx.now).fetchall()
    return len(paused)


def _add_token(tx: Transaction, name: str, label: str, digest: str) -> int:
    if not tx.execute(FIND, account=name).fetchone():
        raise AccountProblem(f"there is no account {name}")
    return tx.insert(ADD_TOKEN, account=name, label=label, digest=digest, now=tx.now)


def _revoke(tx: Transaction, token: int) -> tuple[str, str]:
    known = 0 < token <= jobs.LARGEST_ID
    row = tx.execute(REVOKE_TOKEN, token=token).fetchone() if known else None
    if row is None:
        raise AccountProblem(f"there is no token {token}")
    return row[0], row[1]


def _decoded(row: Any) -> Account:
    names = ("id", "name", "role", "password", "created_at", "changed_at")
    values = dict(zip(names, row, strict=True))
    return Account(**values | {"role": Role(values["role"])})
