"""Browser sessions in the store.

The secret that a browser sends is never stored, only its hash. A session is looked up in the store
for each page, so a session that was ended anywhere is over everywhere. It ends when it has not been
used for a while, after a week at the latest, and when the password or role of its account changes
or the account is removed: the store itself ensures that, whoever makes the change.
"""

import secrets
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from jobstore.model.account import Identity, Role, Session
from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import AccountProblem
from jobstore.model.frozen import frozen
from jobstore.store import audit, jobs, schema
from jobstore.store.codec import writable
from jobstore.store.expressions import Statement, number
from jobstore.store.guards import ZERO, now
from jobstore.store.reading import Points
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer

# For how long a session may not be used, and how long it lasts at most, in microseconds.
IDLE: Final = 12 * 3600 * SECOND
LONGEST: Final = 7 * 24 * 3600 * SECOND
# How often it is written down at most that a session was used.
SEEN_EACH: Final = 600 * SECOND
# How many sessions an account has at most; the ones used longest ago end first.
MOST: Final = 100
LONGEST_LABEL: Final = 200
_BYTES: Final = 32

_session: Final = schema.SESSION.c
_account: Final = schema.ACCOUNT.c
# A clock that was ahead by far must not make a session that lasts for years.
_over: Final = or_(_session.until <= now, _session.until > now + number("longest"))
FIND: Final = Statement(
    select(
        _account.id,
        _account.role,
        *schema.SESSION.columns,
    )
    .join_from(schema.SESSION, schema.ACCOUNT, _account.name == _session.account)
    .where(_session.digest == bindparam("session"), ~_over)
)
OPEN: Final = Statement(
    insert(schema.SESSION).values(
        digest=bindparam("session"),
        account=bindparam("account"),
        created_at=now,
        seen_at=now,
        until=number("ends"),
        label=bindparam("label"),
    )
)
# Whether an account is still what it was when a password was verified.
SAME: Final = Statement(
    select(_account.id).where(
        _account.name == bindparam("account"), _account.password == bindparam("password")
    )
)
_surplus: Final = (
    select(_session.id)
    .where(_session.account == bindparam("account"))
    .order_by(_session.seen_at.desc(), _session.id.desc())
    .limit(number("most"))
    .offset(ZERO)
)
END_SURPLUS: Final = Statement(
    delete(schema.SESSION).where(
        and_(_session.account == bindparam("account"), _session.id.not_in(_surplus))
    )
)
SEE: Final = Statement(
    update(schema.SESSION)
    .where(_session.digest == bindparam("session"), _session.seen_at <= number("before"))
    .values(seen_at=now, until=number("ends"))
)
CLOSE: Final = Statement(delete(schema.SESSION).where(_session.digest == bindparam("session")))
END: Final = Statement(
    delete(schema.SESSION)
    .where(_session.id == number("number"))
    .returning(_session.account, _session.label)
)
LIST: Final = Statement(select(*schema.SESSION.columns).where(~_over))
END_OVER: Final = Statement(delete(schema.SESSION).where(_over))


@frozen(kw_only=True)
class ActiveSession:
    """A valid session and its account.

    Args:
        identity: the identity of its account, as it is now.
    """

    session: Session
    identity: Identity


class Sessions:
    """Begin, recognise and end sessions.

    Args:
        points: looks one up.
        clock: the current time.
    """

    def __init__(self, points: Points, writer: Writer, clock: Clock) -> None:
        self._points = points
        self._writer = writer
        self._clock = clock

    async def begin(self, account: str, password: str, label: str) -> str:
        """Begin a session; return the secret by which it is recognised, which is kept nowhere.

        Args:
            account: whose.
            password: the hash of the password by which they came in.
            label: what users recognise it by, such as the name of a browser.

        Raises:
            AccountProblem: their account is not what it was a moment ago.
        """
        secret = secrets.token_urlsafe(_BYTES)
        kept = writable(label[:LONGEST_LABEL])
        await self._writer.run(lambda tx: _begin(tx, digest(secret), account, password, kept))
        return secret

    async def known(self, secret: str) -> ActiveSession | None:
        """Return the valid session with a secret, and note that it was used."""
        moment, key = self._clock(), digest(secret)
        row = await self._found(key, moment)
        if row is None:
            return None
        account, role, *columns = row
        session = _decoded(columns)
        if moment - session.seen_at >= SEEN_EACH:
            # If it cannot be written, whoever came in may look at pages all the same.
            self._writer.queue(lambda tx: _see(tx, key, session.created_at))
        identity = Identity(name=session.account, role=Role(role), id=account)
        return ActiveSession(session=session, identity=identity)

    async def lasts(self, secret: str) -> bool:
        """Return whether a session is valid, without noting a use: the page may be unattended."""
        return await self._found(digest(secret), self._clock()) is not None

    async def _found(self, key: str, moment: int) -> Any:
        return await self._points.row(FIND, session=key, now=moment, longest=LONGEST)

    async def close(self, secret: str) -> None:
        """End the session with a secret: its owner logs out."""
        key = digest(secret)
        await self._writer.run(lambda tx: tx.execute(CLOSE, session=key).rowcount)

    async def all(self) -> Sequence[Session]:
        """List all valid sessions, the most recently used first."""
        values = {"now": self._clock(), "longest": LONGEST}
        found = [_decoded(row) for row in await self._points.rows(LIST, **values)]
        return sorted(found, key=lambda each: (-each.seen_at, each.id))

    async def end(self, session: int, who: str) -> str:
        """End a session; return its account's name.

        Args:
            session: its id.
            who: who ends it.

        Raises:
            AccountProblem: there is no such session.
        """
        return await self._writer.run(lambda tx: _end(tx, session, who))

    async def forget(self) -> int:
        """Remove ended sessions; return how many."""
        return await self._writer.run(
            lambda tx: tx.execute(END_OVER, now=tx.now, longest=LONGEST).rowcount
        )


def digest(secret: str) -> str:
    """Return the hash of a secret. Secrets are long and random, so a fast hash is secure."""
    return blake2b(secret.encode("utf-8", "surrogateescape"), digest_size=32).hexdigest()


def _begin(tx: Transaction, key: str, account: str, password: str, label: str) -> None:
    if tx.execute(SAME, account=account, password=password).fetchone() is None:
        raise AccountProblem(f"the account {account} has just been changed: log in again")
    values = {"session": key, "account": account, "label": label}
    tx.insert(OPEN, now=tx.now, ends=tx.now + IDLE, **values)
    tx.execute(END_SURPLUS, account=account, most=MOST)


def _see(tx: Transaction, key: str, created: int) -> int:
    ends = min(tx.now + IDLE, created + LONGEST)
    values = {"session": key, "before": tx.now - SEEN_EACH, "ends": ends}
    return tx.execute(SEE, now=tx.now, **values).rowcount


def _end(tx: Transaction, session: int, who: str) -> str:
    known = 0 < session <= jobs.LARGEST_ID
    row = tx.execute(END, number=session).fetchone() if known else None
    if row is None:
        raise AccountProblem(f"there is no session {session}: it has already ended")
    account, label = row
    audit.note(tx, who, "end session", account, f"session {session}: {label}")
    return str(account)


def _decoded(row: Sequence[Any]) -> Session:
    number, _, account, created, seen, until, label = row
    return Session(
        id=number, account=account, created_at=created, seen_at=seen, until=until, label=label
    )
