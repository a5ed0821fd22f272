"""Changes of accounts and tokens: each function is one step of a transaction."""

from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update

from jobstore.model.account import Role
from jobstore.model.errors import AccountProblem
from jobstore.store import elsewhere, jobs, schedules, schema
from jobstore.store.expressions import Statement
from jobstore.store.guards import now
from jobstore.store.transaction import Transaction

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


def _change(*also: ColumnElement[bool], **values: ColumnElement[Any]) -> Statement:
    """Change an account, if it meets further conditions as well."""
    return Statement(
        update(schema.ACCOUNT)
        .where(_this, *also)
        .values(**values, changed_at=now)
        .returning(_account.id)
    )


_password: Final[ColumnElement[Any]] = bindparam("password")
SET_PASSWORD: Final = _change(password=_password)
CHANGE_PASSWORD: Final = _change(_account.password == bindparam("was"), password=_password)
SET_ROLE: Final = _change(role=bindparam("role"))
REMOVE: Final = Statement(delete(schema.ACCOUNT).where(_this).returning(_account.id))
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


def require_admin(tx: Transaction, *, wanted: bool) -> None:
    """Refuse a change that would leave no admin.

    Raises:
        AccountProblem: no account is an admin.
    """
    if not wanted:
        return
    if tx.shared:  # of two admins, each may be taking the other's role at the moment
        elsewhere.lock(tx, "admins")
    if not tx.execute(ADMINS, role=Role.ADMIN).fetchone():
        raise AccountProblem(
            "at least one account has to be an admin: make another account an admin first"
        )


def add(tx: Transaction, name: str, role: Role, password: str) -> None:
    """Add an account.

    Raises:
        AccountProblem: an account with this name exists.
    """
    if tx.execute(FIND, account=name).fetchone():
        raise AccountProblem(f"the account {name} already exists")
    tx.execute(ADD, account=name, role=role, password=password, now=tx.now)


def _set(tx: Transaction, statement: Statement, name: str, **values: object) -> int:
    row = tx.execute(statement, account=name, now=tx.now, **values).fetchone()
    if row is None:
        raise AccountProblem(f"there is no account {name}")
    return int(row[0])


def set_password(tx: Transaction, name: str, password: str, was: str | None) -> None:
    """Replace the hash of a password.

    Args:
        was: the hash that is replaced, or None for whichever it is.

    Raises:
        AccountProblem: there is no such account, or it has another password by now.
    """
    if was is None:
        _set(tx, SET_PASSWORD, name, password=password)
        return
    values = {"account": name, "password": password, "was": was}
    if tx.execute(CHANGE_PASSWORD, now=tx.now, **values).fetchone() is None:
        raise AccountProblem(f"the account {name} has just been changed: log in again")


def set_role(tx: Transaction, name: str, role: Role) -> int:
    """Change a role; return how many schedules were paused, since a reader may not run them.

    Raises:
        AccountProblem: there is no such account.
    """
    account = _set(tx, SET_ROLE, name, role=role)
    return _pause(tx, account) if role is Role.READER else 0


def remove(tx: Transaction, name: str) -> int:
    """Remove an account; return how many schedules were paused.

    Raises:
        AccountProblem: there is no such account.
    """
    return _pause(tx, _set(tx, REMOVE, name))


def _pause(tx: Transaction, account: int) -> int:
    """Pause the schedules of an account: nobody could stop them otherwise."""
    paused = tx.execute(schedules.PAUSE_ALL, of_account=account, now=tx.now).fetchall()
    return len(paused)


def add_token(tx: Transaction, name: str, label: str, digest: str) -> int:
    """Add a token; return its id.

    Raises:
        AccountProblem: there is no such account.
    """
    if not tx.execute(FIND, account=name).fetchone():
        raise AccountProblem(f"there is no account {name}")
    return tx.insert(ADD_TOKEN, account=name, label=label, digest=digest, now=tx.now)


def revoke(tx: Transaction, token: int) -> tuple[str, str]:
    """Remove a token; return whose it was, and its label.

    Raises:
        AccountProblem: there is no such token.
    """
    known = 0 < token <= jobs.LARGEST_ID
    row = tx.execute(REVOKE_TOKEN, token=token).fetchone() if known else None
    if row is None:
        raise AccountProblem(f"there is no token {token}")
    return row[0], row[1]
