"""Who asks: HTTP Basic and bearer tokens, before anything else looks at a request."""

import asyncio
import logging
import secrets
from base64 import b64decode, urlsafe_b64decode
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import Final, TypeAlias, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import MultiMapping

from jobstore.model import passwords
from jobstore.model.account import Account, Identity
from jobstore.model.errors import (
    AccountsUnavailable,
    JobstoreError,
    StoreError,
    TooManyLogins,
    Unauthorized,
)
from jobstore.model.handle import JobHandle
from jobstore.store.accounts import Accounts, AccountSnapshot
from jobstore.targets.inprocess import current
from jobstore.web import json_text, proxies, wire
from jobstore.web.proxies import Proxies
from jobstore.web.turns import FairTurns

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
# How many logins may wait for that, or be held up, in all and from one source: an address, or a
# network that belongs to one customer. Those beyond are refused at once; where it is the sum that
# is full, it is one of the source that has the most.
WAITING: Final = 1000
WAITING_BY_SOURCE: Final = 20

# No account has a longer name, so what is cut here is nobody's.
_LONGEST_NAME: Final = 65

# Writes to the sender of a request that they are not let in, in the words of what they asked for.
Refuse: TypeAlias = Callable[[web.Request, JobstoreError], web.Response]

# Two fields, since many clients do not find the second challenge in one: RFC 9110 section 11.6.1.
_CHALLENGES: Final = ('Basic realm="jobstore", charset="UTF-8"', 'Bearer realm="jobstore"')
# ArangoDB's way to keep a browser from asking for a password itself.
_OMIT: Final = "X-Omit-WWW-Authenticate"

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


@dataclass(slots=True, eq=False)
class _Login:
    """A password that is being verified, for all requests that came with it.

    Args:
        address: where the first of them came from.
        source: that address, or the network of the customer that has it.
        begun: whether a thread is at it, which cannot be stopped.
    """

    address: str
    source: str
    begun: bool = False
    task: "asyncio.Task[None] | None" = None


class Access:
    """Let those in who have an account; without any account, everybody.

    Args:
        accounts: who has one.
        anonymous: whether everybody is let in while there is no account at all.
        refuse: what answers those who are not let in.
        proxies: tell whose address counts.
        clock: what time it is, in seconds from anywhere.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        anonymous: bool,
        refuse: Refuse = wire.refused,
        proxies: Proxies = Proxies(),  # noqa: B008 - a value that never changes
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._accounts = accounts
        self._refuse = refuse
        self._anonymous = anonymous
        self._proxies = proxies
        self._clock = clock
        self._nameless = Identity(name="") if anonymous else None
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._failures = Failures(clock)
        self._logins: dict[bytes, _Login] = {}
        self._roll = AccountSnapshot()
        self._standing = wire.Standing(partial(self._again, self._roll))
        self._verifying = FairTurns(VERIFIERS)

    @property
    def everybody(self) -> bool:
        """Whether everybody is let in just now."""
        try:
            return self._anonymous and not self._accounts.roll().accounts
        except StoreError:  # as each request will be told
            return False

    async def close(self) -> None:
        """Give up on the logins that are still held up or being verified."""
        tasks = [login.task for login in self._logins.values() if login.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @web.middleware
    def middleware(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        """Find out who sends a request, and turn strangers away.

        It is no coroutine itself: most requests are known at once, and ten thousand may wait.
        """
        try:
            identity = self.identify(request.headers)
        except StoreError as error:
            return _answered(self._refused(request, error))
        if identity is None:
            return self._stranger(request, handler)
        self._admit(request, identity)
        return handler(request)

    async def _stranger(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            identity = await self._login(request)
        except (TooManyLogins, StoreError) as error:
            return self._refused(request, error)
        if identity is None:
            return self._refused(request, Unauthorized())
        self._admit(request, identity)
        return await handler(request)

    def _admit(self, request: web.Request, identity: Identity) -> None:
        request[wire.IDENTITY] = identity
        request[wire.STANDING] = self._standing
        if self._proxies.networks:
            request[wire.PROXIES] = self._proxies

    @web.middleware
    async def on_behalf(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a job ask on behalf of its owner, whose account may have changed since."""
        try:
            identity = self._behind(request)
        except StoreError as error:
            return self._refused(request, error)
        if identity is None:
            return self._refused(request, Unauthorized())
        request[wire.IDENTITY] = identity
        request[wire.STANDING] = wire.Standing(self._behind)
        return await handler(request)

    def _refused(self, request: web.Request, error: JobstoreError) -> web.Response:
        """Answer that it cannot be told who asks, or not just now."""
        if not isinstance(error, Unauthorized):
            log.warning("%s", error, extra={"action": "login"})
        if isinstance(error, StoreError):  # strangers are not told which file it is
            error = AccountsUnavailable()
        answer = self._refuse(request, error)
        if isinstance(error, Unauthorized) and _OMIT not in request.headers:
            answer.headers.extend([("WWW-Authenticate", each) for each in _CHALLENGES])
        return answer

    def _behind(self, request: web.Request) -> Identity | None:
        """Tell on whose behalf a job asks, unless their account is gone."""
        return self._owner(self._accounts.roll(), current(request))

    # --- who it is ------------------------------------------------------------------------------

    def _named(self, roll: AccountSnapshot, name: str) -> Identity | None:
        """Tell who somebody is whose name is known to be theirs, or needs no proof."""
        if roll.accounts:
            return _identity(roll.accounts.get(name))
        return Identity(name=name) if self._anonymous else None

    def _owner(self, roll: AccountSnapshot, handle: JobHandle) -> Identity | None:
        """Tell who the owner of a job is, unless their account is gone."""
        identity = self._named(roll, handle.owner)
        gone = identity is not None and identity.id not in {None, handle.account}
        return None if gone else identity

    def known(self, headers: MultiMapping[str]) -> Identity | None:
        """Tell who sends a request, if that can be told at once and without anybody's refusal."""
        try:
            return self.identify(headers)
        except StoreError:
            return None

    def source(self, peer: str | None, headers: MultiMapping[str]) -> str | None:
        """Return the address that a request came from, or None if it came over no network."""
        return self._proxies.source(peer, headers)

    def identify(self, headers: MultiMapping[str]) -> Identity | None:
        """Tell who sends a request as far as that takes no time: it may be a stranger yet.

        Raises:
            StoreError: it cannot be told just now.
        """
        roll = self._accounts.roll()
        if roll is not self._roll:
            self._roll, self._standing = roll, wire.Standing(partial(self._again, roll))
        authorization = headers.get("Authorization", "")
        if not roll.accounts:
            return self._named(roll, _claimed(authorization)) if authorization else self._nameless
        scheme, _, credentials = authorization.partition(" ")
        match scheme.lower():
            case "bearer":
                return _holder(roll, credentials.strip())
            case "basic":
                return self._remembered(roll, self._digest(authorization))
        return None

    def _again(self, then: AccountSnapshot, request: web.Request) -> Identity | None:
        """Tell who sends a request that was let in before, as their account is now.

        Args:
            then: the accounts by which they were let in.
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

    def _remembered(self, roll: AccountSnapshot, key: bytes) -> Identity | None:
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
        authorization = request.headers.get("Authorization", "")
        address = self._proxies.client(request.remote or "", request.headers)
        credentials = _basic(authorization)
        if credentials is None or not self._accounts.roll().accounts:
            _log_token(authorization, address)
            return None
        key = self._digest(authorization)
        login = self._logins.get(key) or self._begin(key, credentials, address)
        # A request that is cancelled leaves alone what others wait for too; and cancelling would
        # not stop the thread, only let more of them run at once.
        assert login.task is not None
        try:
            await asyncio.shield(login.task)
        except asyncio.CancelledError:
            if login.task.cancelled() and not _leaving():
                raise TooManyLogins from None
            raise
        return self.identify(request.headers)  # the account may have changed in the meantime

    def _begin(self, key: bytes, credentials: tuple[str, str], address: str) -> _Login:
        login = _Login(address, proxies.customer(address))
        self._make_place(login.source)

        def ended(task: asyncio.Task[None]) -> None:
            del self._logins[key]
            if not task.cancelled():
                task.exception()  # nobody may be left who would look at it

        self._logins[key] = login
        login.task = asyncio.create_task(self._verify(key, *credentials, login))
        login.task.add_done_callback(ended)
        return login

    def _make_place(self, source: str) -> None:
        """Give up on a login of the source that has the most, if there are too many in all.

        Raises:
            TooManyLogins: this source has the most, or as many as one may have.
        """
        logins = self._logins.values()
        counts = Counter(login.source for login in logins)
        if counts[source] >= WAITING_BY_SOURCE:
            raise TooManyLogins
        if len(self._logins) < WAITING:
            return
        waiting = [login for login in logins if not login.begun and login.source != source]
        given_up = max(reversed(waiting), key=lambda login: counts[login.source], default=None)
        if given_up is None or counts[given_up.source] <= counts[source]:
            raise TooManyLogins
        assert given_up.task is not None
        given_up.task.cancel()

    async def _verify(self, key: bytes, name: str, password: str, login: _Login) -> None:
        """Find out whether a password is right; if it is, remember that."""
        address = login.address
        seconds = self._failures.hold_up(name, login.source)
        about = {"action": "login", "held_up": seconds}
        await asyncio.sleep(seconds)
        async with self._verifying.turn(login.source):
            login.begun = True
            account = self._accounts.roll().accounts.get(name)
            kept = account.password if account else None
            right = await asyncio.to_thread(passwords.verify, kept, password)
        if kept is None or not right:
            self._failures.failed(login.source)
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


def _leaving() -> bool:
    """Tell whether it is the task that runs that shall end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _cut(remembered: OrderedDict[K, V], size: int) -> None:
    """Forget the oldest, so that strangers cannot fill the memory."""
    while len(remembered) > size:
        remembered.popitem(last=False)


# --- credentials --------------------------------------------------------------------------------


def _holder(roll: AccountSnapshot, token: str) -> Identity | None:
    return _identity(roll.accounts.get(roll.holders.get(passwords.digest(token), "")))


def _identity(account: Account | None) -> Identity | None:
    return Identity(name=account.name, role=account.role, id=account.id) if account else None


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


def _claimed(authorization: str) -> str:
    """Return the name that a client gives itself, with Basic or a JSON Web Token, unproven."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        name, _ = _basic(authorization) or ("", "")
        return name
    try:
        _, claims, _ = token.strip().split(".")
        padded = claims + "=" * (-len(claims) % 4)
        name = json_text.loads(urlsafe_b64decode(padded))["preferred_username"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return name if isinstance(name, str) else ""


def _log_token(authorization: str, address: str) -> None:
    """Log that a token was refused: nobody can guess one, so it is not slowed down."""
    if authorization.lower().startswith("bearer "):
        log.warning("a token from %s is not known", address, extra={"action": "login"})


async def _answered(response: web.Response) -> web.Response:
    return response
