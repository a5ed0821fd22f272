"""Accounts in the store, and in the memory of a running server."""

import time
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, TypeVar

from sqlalchemy import select

from jobstore.model.account import NOBODY, Account, Role, Token
from jobstore.model.frozen import frozen
from jobstore.store import account_changes as changes
from jobstore.store import audit, schema
from jobstore.store.expressions import Statement
from jobstore.store.reading import Points
from jobstore.store.transaction import Operation, Transaction
from jobstore.store.writer import Writer

_account: Final = schema.ACCOUNT.c
_token: Final = schema.TOKEN.c
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
        self._snapshot = AccountSnapshot()
        self._revision = -1
        self._checked = -NOTICE_SECONDS

    def snapshot(self) -> AccountSnapshot:
        """Return all accounts, at most a moment old."""
        now = time.monotonic()
        if now - self._checked >= NOTICE_SECONDS:
            revision = self._points.revision("accounts")
            if revision != self._revision:
                self._snapshot, self._revision = self._read(), revision
            self._checked = now  # not before: what could not be read must not pass for no accounts
        return self._snapshot

    def look_again(self) -> None:
        """Have the next `snapshot` be as new as the store."""
        self._checked = -NOTICE_SECONDS

    def _read(self) -> AccountSnapshot:
        accounts = [_decoded(row) for row in self._points.kept(LIST)]
        holders = {digest: name for _, name, _, _, digest in self._points.kept(LIST_TOKENS)}
        return AccountSnapshot({account.name: account for account in accounts}, holders)

    def id_of(self, name: str) -> int:
        """Return the id of the account with a name, or nobody's id if there is none."""
        account = self.snapshot().accounts.get(name)
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
            changes.add(tx, name, role, password)
            _note(tx, by, "add account", name, role)
            changes.require_admin(tx, wanted=with_admin)

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
            changes.set_password(tx, name, password, was)
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
            paused = changes.set_role(tx, name, role)
            _note(tx, by, "set role", name, role)
            changes.require_admin(tx, wanted=with_admin)
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
            paused = changes.remove(tx, name)
            _note(tx, by, "remove account", name)
            changes.require_admin(tx, wanted=with_admin)
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
            token = changes.add_token(tx, name, label, digest)
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
            account, label = changes.revoke(tx, token)
            _note(tx, by, "revoke token", account, _named(token, label))
            return account

        return await self._change(revoke)


def _note(tx: Transaction, by: str, what: str, account: str, detail: str | None = None) -> None:
    if by:
        audit.note(tx, by, what, account, detail)


def _named(token: int, label: str) -> str:
    return f"token {token}: {label}" if label else f"token {token}"


def _decoded(row: Any) -> Account:
    names = ("id", "name", "role", "password", "created_at", "changed_at")
    values = dict(zip(names, row, strict=True))
    return Account(**values | {"role": Role(values["role"])})
