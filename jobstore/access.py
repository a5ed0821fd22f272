"""Who asks: HTTP Basic and bearer tokens, before anything else looks at a request."""

import asyncio
import logging
import secrets
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore import passwords, wire
from jobstore.account import Account, Identity
from jobstore.errors import JobstoreError, StoreError, TooManyLogins
from jobstore.store.accounts import Accounts, Roll
from jobstore.targets.inprocess import current

# How long a verified password is remembered after its last use, and how many of them at most.
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
# How many logins may wait for that, or be held up, in all and from one address; the others are
# refused at once.
WAITING: Final = 200
WAITING_BY_ADDRESS: Final = 50

# No account has a longer name, so what is cut here is nobody's.
_LONGEST_NAME: Final = 65

K = TypeVar("K")
V = TypeVar("V")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Verified:
    """A password that was found to be right.

    Args:
        name: whose.
        password: its hash, as it was then.
        until: how long that is remembered.
    """

    name: str
    password: str
    until: float


@dataclass(frozen=True, slots=True)
class _Login:
    """A password that is being verified, for all requests that came with it."""

    task: asyncio.Task[None]
    address: str


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
        self._failures = Failures(clock)
        self._logins: dict[bytes, _Login] = {}
        self._roll = Roll()
        self._standing = wire.Standing(partial(self._again, self._roll))
        self._verifying = asyncio.Semaphore(VERIFIERS)

    async def close(self) -> None:
        """Give up on the logins that are still held up or being verified."""
        tasks = [login.task for login in self._logins.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @web.middleware
    def middleware(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        """Find out who sends a request, and turn strangers away.

        It is no coroutine itself: most requests are known at once, and ten thousand may wait.
        """
        try:
            identity = self._known(request)
        except StoreError as error:
            return _answered(_later(error))
        if identity is None:
            return self._stranger(request, handler)
        request[wire.IDENTITY] = identity
        request[wire.STANDING] = self._standing
        return handler(request)

    async def _stranger(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            identity = await self._login(request)
        except (TooManyLogins, StoreError) as error:
            return _later(error)
        if identity is None:
            return wire.unauthorized()
        request[wire.IDENTITY] = identity
        request[wire.STANDING] = self._standing
        return await handler(request)

    @web.middleware
    async def on_behalf(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a job ask on behalf of its owner, whose account may have changed since."""
        try:
            identity = self._owner(request)
        except StoreError as error:
            return _later(error)
        if identity is None:
            return wire.unauthorized()
        request[wire.IDENTITY] = identity
        request[wire.STANDING] = wire.Standing(self._owner)
        return await handler(request)

    def _owner(self, request: web.Request) -> Identity | None:
        return self._named(self._accounts.roll(), current(request).owner)

    # --- who it is ------------------------------------------------------------------------------

    def _named(self, roll: Roll, name: str) -> Identity | None:
        """Tell who somebody is whose name is known to be theirs, or needs no proof."""
        if roll.accounts:
            return _identity(roll.accounts.get(name))
        return Identity(name=name) if self._anonymous else None

    def _known(self, request: web.Request) -> Identity | None:
        """Tell who sends a request as far as that takes no time: it may be a stranger yet."""
        roll = self._accounts.roll()
        if roll is not self._roll:
            self._roll, self._standing = roll, wire.Standing(partial(self._again, roll))
        authorization = request.headers.get("Authorization", "")
        if not roll.accounts:
            name, _ = _basic(authorization) or ("", "")
            return self._named(roll, name)
        scheme, _, credentials = authorization.partition(" ")
        match scheme.lower():
            case "bearer":
                return _holder(roll, credentials.strip())
            case "basic":
                return self._remembered(roll, self._digest(authorization))
        return None

    def _again(self, then: Roll, request: web.Request) -> Identity | None:
        """Tell who sends a request that was let in before, as their account is now.

        Args:
            then: the accounts by which they were let in.
            request: the request.
        """
        roll, identity = self._accounts.roll(), request[wire.IDENTITY]
        if roll is then:  # as nearly always
            return identity
        if not then.accounts:  # everybody was let in, whatever they called themselves
            return None if roll.accounts else identity
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return _holder(roll, credentials.strip())
        before, account = (each.accounts.get(identity.name) for each in (then, roll))
        same = (
            before
            and account
            and (before.password, before.created_at)
            == (
                account.password,
                account.created_at,
            )
        )
        return _identity(account) if same else None

    def _remembered(self, roll: Roll, key: bytes) -> Identity | None:
        verified = self._verified.get(key)
        if verified is None:
            return None
        now = self._clock()
        account = roll.accounts.get(verified.name)
        if account is None or account.password != verified.password or verified.until < now:
            del self._verified[key]
            return None
        verified.until = now + REMEMBERED_SECONDS
        self._verified.move_to_end(key)
        return _identity(account)

    def _digest(self, authorization: str) -> bytes:
        """Return what is remembered of credentials: nothing that leaves this process tells them."""
        text = authorization.encode("utf-8", "surrogateescape")
        return blake2b(text, key=self._key, digest_size=16).digest()

    # --- logins ---------------------------------------------------------------------------------

    async def _login(self, request: web.Request) -> Identity | None:
        """Verify credentials, once for all requests that come with the same at the same time.

        Raises:
            TooManyLogins: too many others wait already.
        """
        authorization, address = request.headers.get("Authorization", ""), request.remote or ""
        credentials = _basic(authorization)
        if credentials is None or not self._accounts.roll().accounts:
            _log_token(authorization, address)
            return None
        key = self._digest(authorization)
        login = self._logins.get(key) or self._begin(key, credentials, address)
        # A request that is cancelled leaves alone what others wait for too; and cancelling would
        # not stop the thread, only let more of them run at once.
        await asyncio.shield(login.task)
        return self._known(request)  # the account may have changed in the meantime

    def _begin(self, key: bytes, credentials: tuple[str, str], address: str) -> _Login:
        beside = sum(login.address == address for login in self._logins.values())
        if len(self._logins) >= WAITING or beside >= WAITING_BY_ADDRESS:
            raise TooManyLogins

        def ended(task: asyncio.Task[None]) -> None:
            del self._logins[key]
            if not task.cancelled():
                task.exception()  # nobody may be left who would look at it

        login = _Login(asyncio.create_task(self._verify(key, *credentials, address)), address)
        self._logins[key] = login
        login.task.add_done_callback(ended)
        return login

    async def _verify(self, key: bytes, name: str, password: str, address: str) -> None:
        """Find out whether a password is right; if it is, remember that."""
        seconds = self._failures.hold_up(name, address)
        about = {"action": "login", "held_up": seconds}
        await asyncio.sleep(seconds)
        async with self._verifying:
            account = self._accounts.roll().accounts.get(name)
            kept = account.password if account else None
            right = await asyncio.to_thread(passwords.verify, kept, password)
        if kept is None or not right:
            self._failures.failed(address)
            shown = name[:_LONGEST_NAME]
            log.warning("login as %r from %s failed", shown, address, extra=about)
            return
        log.info("login as %r from %s", name, address, extra=about)
        self._failures.forgive(name)
        self._verified[key] = _Verified(name, kept, self._clock() + REMEMBERED_SECONDS)
        _cut(self._verified, REMEMBERED)


# --- failed logins ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Count:
    """Logins that have failed.

    Args:
        count: how many.
        until: how long they are held against whoever comes next.
    """

    count: int
    until: float


class Failures:
    """Count failed logins by name and by address, to hold up the next ones.

    Args:
        clock: what time it is, in seconds from anywhere.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()

    def hold_up(self, name: str, address: str) -> float:
        """Tell for how many seconds to hold up a login.

        It counts against its name until it is forgiven, so that it does not help to send many
        guesses at once.
        """
        by_name = self._add("name", name[:_LONGEST_NAME])
        worst = max(by_name, self._count("address", address) - FREE_BY_ADDRESS)
        return min(LONGEST_DELAY, FIRST_DELAY * 2 ** (worst - 1)) if worst > 0 else 0.0

    def failed(self, address: str) -> None:
        """Count a failed login against the address that it came from."""
        self._add("address", address)

    def forgive(self, name: str) -> None:
        """Hold nothing against a name any more: its owner has come.

        Not so its address: whoever has one account could go on guessing those of others.
        """
        self._counts.pop(("name", name[:_LONGEST_NAME]), None)

    def _count(self, kind: str, source: str) -> int:
        found = self._counts.get((kind, source))
        return found.count if found and found.until > self._clock() else 0

    def _add(self, kind: str, source: str) -> int:
        """Count one more; return how many there were before."""
        before = self._count(kind, source)
        count = _Count(min(before + 1, COUNT_LIMIT), self._clock() + FORGIVEN_SECONDS)
        self._counts[kind, source] = count
        self._counts.move_to_end((kind, source))
        _cut(self._counts, COUNTED)
        return before


def _cut(remembered: OrderedDict[K, V], size: int) -> None:
    """Forget the oldest, so that strangers cannot fill the memory."""
    while len(remembered) > size:
        remembered.popitem(last=False)


# --- credentials --------------------------------------------------------------------------------


def _holder(roll: Roll, token: str) -> Identity | None:
    return _identity(roll.accounts.get(roll.holders.get(passwords.digest(token), "")))


def _identity(account: Account | None) -> Identity | None:
    return Identity(name=account.name, role=account.role) if account else None


def _basic(authorization: str) -> tuple[str, str] | None:
    """Return the user name and the password of Basic credentials, or None: RFC 7617.

    We ask for UTF-8, but clients such as Python's requests send Latin-1 all the same.
    """
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = b64decode(credentials.strip(), validate=True)
    except ValueError:
        return None
    try:
        name, _, password = pair.decode().partition(":")
    except UnicodeDecodeError:
        name, _, password = pair.decode("latin-1").partition(":")
    return name, password


def _log_token(authorization: str, address: str) -> None:
    """Log that a token was refused: nobody can guess one, so it is not slowed down."""
    if authorization.lower().startswith("bearer "):
        log.warning("a token from %s is not known", address, extra={"action": "login"})


async def _answered(response: web.Response) -> web.Response:
    return response


def _later(error: JobstoreError) -> web.Response:
    """Answer that it cannot be told just now who asks."""
    status = 429 if isinstance(error, TooManyLogins) else 503
    log.warning("%s", error, extra={"action": "login"})
    return wire.problem(status, str(error), (("Retry-After", "1"),))
