"""Accounts in the store, and in the memory of a running server."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, delete, insert, select, update

from jobstore.model.account import NOBODY, Account, Role, Token
from jobstore.model.errors import AccountProblem
from jobstore.store import jobs, schedules, schema
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
ADD_TOKEN: Final = Statement(
    insert(schema.TOKEN).values(
        account=bindparam("account"),
        label=bindparam("label"),
        digest=bindparam("digest"),
        created_at=now,
    )
)
REVOKE_TOKEN: Final = Statement(
    delete(schema.TOKEN).where(_token.id == bindparam("token")).returning(_token.id)
)
LIST_TOKENS: Final = Statement(
    select(_token.id, _token.account, _token.label, _token.created_at, _token.digest).order_by(
        _token.id
    )
)
# How long it may take until a change by another process is noticed.
NOTICE_SECONDS: Final = 0.05
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """All accounts there are.

    Args:
        accounts: by name.
        holders: the names of accounts, by the digests of their tokens.
    """

    accounts: Mapping[str, Account] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)


class Accounts:
    """Look accounts up in memory, and notice when any process has changed them.

    Each request is somebody's: one small row, read now and then, tells whether all accounts have to
    be read again.
    """

    def __init__(self, points: Points, writer: Writer) -> None:
        self._points = points
        self._writer = writer
        self._roll = AccountSnapshot()
        self._revision = -1
        self._checked = -NOTICE_SECONDS

    def roll(self) -> AccountSnapshot:
        """Give all accounts, as they stood a moment ago at the most."""
        now = time.monotonic()
        if now - self._checked >= NOTICE_SECONDS:
            revision = self._points.revision("accounts")
            if revision != self._revision:
                self._roll, self._revision = self._read(), revision
            self._checked = now  # not before: what could not be read must not pass for no accounts
        return self._roll

    def _read(self) -> AccountSnapshot:
        accounts = [_decoded(row) for row in self._points.kept(LIST)]
        holders = {digest: name for _, name, _, _, digest in self._points.kept(LIST_TOKENS)}
        return AccountSnapshot({account.name: account for account in accounts}, holders)

    def id_of(self, name: str) -> int:
        """Give the id of the account that has a name now, or nobody's if there is none."""
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
        self._checked = -NOTICE_SECONDS  # what was done here is seen at once
        return value

    async def add(self, name: str, role: Role, password: str) -> None:
        """Add an account.

        Args:
            name: what its owner will give as user name.
            role: what it is for.
            password: the password's hash.

        Raises:
            AccountProblem: there is one of this name.
        """
        await self._change(lambda tx: _add(tx, name, role, password))

    async def set_password(self, name: str, password: str) -> None:
        """Replace the hash of an account's password.

        Raises:
            AccountProblem: there is no such account.
        """
        await self._change(lambda tx: _set(tx, SET_PASSWORD, name, password=password))

    async def set_role(self, name: str, role: Role) -> int:
        """Change what an account is for; the schedules of one that may not submit are paused.

        Returns:
            how many schedules were paused.

        Raises:
            AccountProblem: there is no such account.
        """
        return await self._change(lambda tx: _set_role(tx, name, role))

    async def remove(self, name: str) -> int:
        """Remove an account and its tokens; its jobs stay, and its schedules are paused.

        Returns:
            how many schedules were paused.

        Raises:
            AccountProblem: there is no such account.
        """
        return await self._change(lambda tx: _remove(tx, name))

    async def add_token(self, name: str, label: str, digest: str) -> int:
        """Add a token to an account; return the token's id.

        Raises:
            AccountProblem: there is no such account.
        """
        return await self._change(lambda tx: _add_token(tx, name, label, digest))

    async def revoke_token(self, token: int) -> None:
        """Remove a token.

        Raises:
            AccountProblem: there is no such token.
        """
        await self._change(lambda tx: _revoke(tx, token))


def _add(tx: Transaction, name: str, role: Role, password: str) -> None:
    if tx.execute(FIND, account=name).fetchone():
        raise AccountProblem(f"the account {name} already exists")
    tx.execute(ADD, account=name, role=role, password=password, now=tx.now)


def _set(tx: Transaction, statement: Statement, name: str, **values: object) -> int:
    row = tx.execute(statement, account=name, now=tx.now, **values).fetchone()
    if row is None:
        raise AccountProblem(f"there is no account {name}")
    return int(row[0])


def _set_role(tx: Transaction, name: str, role: Role) -> int:
    account = _set(tx, SET_ROLE, name, role=role)
    return _pause(tx, account) if role is Role.READER else 0


def _remove(tx: Transaction, name: str) -> int:
    return _pause(tx, _set(tx, REMOVE, name))


def _pause(tx: Transaction, account: int) -> int:
    """Pause the schedules of an account, which would run on without anybody to stop them."""
    paused = tx.execute(schedules.PAUSE_ALL, of_account=account, now=tx.now).fetchall()
    return len(paused)


def _add_token(tx: Transaction, name: str, label: str, digest: str) -> int:
    if not tx.execute(FIND, account=name).fetchone():
        raise AccountProblem(f"there is no account {name}")
    return tx.insert(ADD_TOKEN, account=name, label=label, digest=digest, now=tx.now)


def _revoke(tx: Transaction, token: int) -> None:
    known = 0 < token <= jobs.LARGEST_ID
    if not known or not tx.execute(REVOKE_TOKEN, token=token).fetchone():
        raise AccountProblem(f"there is no token {token}")


def _decoded(row: Any) -> Account:
    names = ("id", "name", "role", "password", "created_at", "changed_at")
    values = dict(zip(names, row, strict=True))
    return Account(**values | {"role": Role(values["role"])})
