"""Who asks: HTTP Basic and bearer tokens, before anything else looks at a request."""

import asyncio
import logging
import secrets
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic
from typing import Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore import passwords, wire
from jobstore.account import Account, Identity
from jobstore.errors import TooManyLogins
from jobstore.store.accounts import Accounts, Roll
from jobstore.targets.inprocess import current

# How long a verified password is remembered, and how many of them at most.
REMEMBERED_SECONDS: Final = 300.0
REMEMBERED: Final = 10_000
# How long a login is held up after one that has failed: twice as long each time, up to a limit.
# Many people may share an address, so that it has some for free.
FIRST_DELAY: Final = 0.25
FREE_BY_ADDRESS: Final = 10
LONGEST_DELAY: Final = 8.0
# For how long, and for how many names and addresses at most, failed logins are counted.
FORGIVEN_SECONDS: Final = 600.0
COUNTED: Final = 10_000
COUNT_LIMIT: Final = 32
# How many passwords are verified at the same time: each takes 64 MiB and a thread.
VERIFIERS: Final = 2
# How many logins may wait for that, or be held up; the others are refused at once.
WAITING: Final = 200

K = TypeVar("K")
V = TypeVar("V")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Verified:
    """A password that was found to be right.

    Args:
        account: whose, as it stood then.
        until: how long that is remembered.
    """

    account: Account
    until: float


@dataclass(slots=True)
class _Failures:
    """Logins that have failed in a row.

    Args:
        count: how many.
        until: how long they are held against whoever comes next.
    """

    count: int
    until: float


class Access:
    """Let those in who have an account; without any account, everybody.

    Args:
        accounts: who has one.
        anonymous: whether everybody is let in while there is no account at all.
        clock: what time it is, in seconds from anywhere.
    """

    def __init__(
        self, accounts: Accounts, *, anonymous: bool, clock: Callable[[], float] = monotonic
    ) -> None:
        self._accounts = accounts
        self._anonymous = anonymous
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._logins: dict[bytes, asyncio.Task[Identity | None]] = {}
        self._verifying = asyncio.Semaphore(VERIFIERS)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Find out who sends a request, and turn strangers away."""
        try:
            identity = self._known(request) or await self._login(request)
        except TooManyLogins as error:
            return wire.problem(429, str(error), (("Retry-After", "1"),))
        if identity is None:
            return wire.unauthorized()
        request[wire.IDENTITY] = identity
        return await handler(request)

    @web.middleware
    async def on_behalf(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a job ask on behalf of its owner, whose account may have changed since."""
        owner = current(request).owner
        roll = self._accounts.roll()
        if roll.accounts:
            account = roll.accounts.get(owner)
            if account is None:
                return wire.unauthorized()
            request[wire.IDENTITY] = _identity(account)
        else:
            request[wire.IDENTITY] = Identity(name=owner)
        return await handler(request)

    def _known(self, request: web.Request) -> Identity | None:
        """Tell who sends a request as far as that takes no time: it may be a stranger yet."""
        roll = self._accounts.roll()
        authorization = request.headers.get("Authorization", "")
        if not roll.accounts:
            return Identity(name=_basic(authorization)[0]) if self._anonymous else None
        scheme, _, credentials = authorization.partition(" ")
        match scheme.lower():
            case "bearer":
                return _holder(roll, credentials.strip())
            case "basic":
                return self._remembered(roll, authorization)
        return None

    def _remembered(self, roll: Roll, authorization: str) -> Identity | None:
        key = self._digest(authorization)
        verified = self._verified.get(key)
        if verified is None:
            return None
        account = roll.accounts.get(verified.account.name)
        if (
            account is None
            or account.password != verified.account.password
            or verified.until < self._clock()
        ):
            del self._verified[key]
            return None
        return _identity(account)

    def _digest(self, authorization: str) -> bytes:
        """Return what is remembered of credentials: nothing that leaves this process tells them."""
        text = authorization.encode("utf-8", "surrogateescape")
        return blake2b(text, key=self._key, digest_size=16).digest()

    async def _login(self, request: web.Request) -> Identity | None:
        """Verify credentials, once for all requests that come with the same at the same time.

        Raises:
            TooManyLogins: too many others wait already.
        """
        authorization = request.headers.get("Authorization", "")
        if not authorization.lower().startswith("basic ") or not self._accounts.roll().accounts:
            return None
        key = self._digest(authorization)
        if key not in self._logins:
            if len(self._logins) >= WAITING:
                raise TooManyLogins
            login = asyncio.create_task(self._verify(key, authorization, request.remote or ""))
            login.add_done_callback(lambda _: self._logins.pop(key))
            self._logins[key] = login
        return await asyncio.shield(self._logins[key])

    async def _verify(self, key: bytes, authorization: str, address: str) -> Identity | None:
        name, password = _basic(authorization)
        await asyncio.sleep(self._count(name, address))
        account = self._accounts.roll().accounts.get(name)
        kept = account.password if account else None
        async with self._verifying:
            right = await asyncio.to_thread(passwords.verify, kept, password)
        if account is None or not right:
            log.warning("login as %r from %s failed", name, address, extra={"action": "login"})
            return None
        self._failures.pop(name, None)
        self._failures.pop(address, None)
        self._verified[key] = _Verified(account, self._clock() + REMEMBERED_SECONDS)
        _cut(self._verified, REMEMBERED)
        return _identity(account)

    def _count(self, name: str, address: str) -> float:
        """Count a login as failed until it has not, and tell how long to hold it up."""
        held_up = (self._fail(name), self._fail(address) - FREE_BY_ADDRESS)
        _cut(self._failures, COUNTED)
        worst = max(held_up)
        return min(LONGEST_DELAY, FIRST_DELAY * 2**worst) if worst > 0 else 0.0

    def _fail(self, source: str) -> int:
        """Count a failure of a name or an address; return how many there were before."""
        now = self._clock()
        before = self._failures.pop(source, None)
        count = before.count if before and before.until > now else 0
        self._failures[source] = _Failures(min(count + 1, COUNT_LIMIT), now + FORGIVEN_SECONDS)
        return count


def _cut(remembered: OrderedDict[K, V], size: int) -> None:
    """Forget the oldest, so that strangers cannot fill the memory."""
    while len(remembered) > size:
        remembered.popitem(last=False)


def _holder(roll: Roll, token: str) -> Identity | None:
    account = roll.accounts.get(roll.holders.get(passwords.digest(token), ""))
    return _identity(account) if account else None


def _identity(account: Account) -> Identity:
    return Identity(name=account.name, role=account.role)


def _basic(authorization: str) -> tuple[str, str]:
    """Return the user name and the password of Basic credentials, or "" for each: RFC 7617."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:  # not in base64, or no text in it
        return "", ""
    return name, password
