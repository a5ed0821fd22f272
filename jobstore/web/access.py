"""Authentication: HTTP Basic and bearer tokens, before anything else looks at a request."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import MultiMapping

from jobstore.live.meters import Login, Meters
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
from jobstore.web import refusals, standing
from jobstore.web.credentials import basic_of, claimed_name
from jobstore.web.logins import Logins
from jobstore.web.proxies import NO_PROXIES, Proxies
from jobstore.web.refusals import Refuse

# Two fields, since many clients do not find the second challenge in one: RFC 9110 section 11.6.1.
_CHALLENGES: Final = ('Basic realm="jobstore", charset="UTF-8"', 'Bearer realm="jobstore"')
# Whoever sends a request that is passed through without a look at who it is.
PASSING: Final = Identity(name="")
# ArangoDB's way to keep a browser from asking for a password itself.
_OMIT: Final = "X-Omit-WWW-Authenticate"

log = logging.getLogger(__name__)


class Access:
    """Admit requests with an account; without any account, all requests.

    Args:
        accounts: the accounts.
        anonymous: whether everybody has access while there are no accounts.
        refuse: answers refused requests.
        proxies: find the client's address.
        clock: the monotonic time, in seconds.

    Attributes:
        meters: counts logins; None if metrics are off.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        anonymous: bool,
        refuse: Refuse = refusals.refused,
        proxies: Proxies = NO_PROXIES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.meters: Meters | None = None
        self._accounts = accounts
        self._refuse = refuse
        self._anonymous = anonymous
        self.proxies = proxies
        self._nameless = Identity(name="") if anonymous else None
        self._logins = Logins(accounts, clock, self._heard)
        self._snapshot = AccountSnapshot()
        self._standing = standing.Standing(partial(self._again, self._snapshot))

    @property
    def everybody(self) -> bool:
        """Whether everybody has access at the moment."""
        try:
            return self._anonymous and not self._accounts.snapshot().accounts
        except StoreError:  # as each request will be told
            return False

    def _heard(self, what: Login) -> None:
        if self.meters is not None:
            self.meters.logins[what] += 1

    async def close(self) -> None:
        """Abandon the logins that are delayed or being verified."""
        await self._logins.close()

    @web.middleware
    def middleware(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        """Identify the sender of a request, and refuse strangers.

        It is not a coroutine itself: most senders are known at once, and ten thousand may wait.
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
        self.admit(request, identity)
        request[standing.STANDING] = self._standing

    def admit(self, request: web.Request, identity: Identity) -> None:
        """Admit a sender whose access is not checked again."""
        request[standing.IDENTITY] = identity
        if self.proxies.networks:
            request[standing.PROXIES] = self.proxies

    @web.middleware
    async def on_behalf(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a job send requests on behalf of its owner, whose account may have changed since."""
        try:
            identity = self._behind(request)
        except StoreError as error:
            return self._refused(request, error)
        if identity is None:
            return self._refused(request, Unauthorized())
        request[standing.IDENTITY] = identity
        request[standing.STANDING] = standing.Standing(self._behind)
        return await handler(request)

    def _refused(self, request: web.Request, error: JobstoreError) -> web.Response:
        """Refuse a sender who cannot be identified, or not at the moment."""
        if not isinstance(error, Unauthorized):
            log.warning("%s", error, extra={"action": "login"})
        if isinstance(error, StoreError):  # strangers are not told which file it is
            error = AccountsUnavailable()
        answer = self._refuse(request, error)
        if isinstance(error, Unauthorized) and _OMIT not in request.headers:
            answer.headers.extend([("WWW-Authenticate", each) for each in _CHALLENGES])
        return answer

    def _behind(self, request: web.Request) -> Identity | None:
        """Return on whose behalf a job sends a request; None if the account is gone."""
        return self._owner(self._accounts.snapshot(), current(request))

    # --- who it is ------------------------------------------------------------------------------

    def _named(self, snapshot: AccountSnapshot, name: str) -> Identity | None:
        """Return the identity of a sender whose name is proven, or needs no proof."""
        if snapshot.accounts:
            return _identity(snapshot.accounts.get(name))
        return Identity(name=name) if self._anonymous else None

    def _owner(self, snapshot: AccountSnapshot, handle: JobHandle) -> Identity | None:
        """Return the identity of a job's owner; None if the account is gone."""
        identity = self._named(snapshot, handle.owner)
        gone = identity is not None and identity.id not in {None, handle.account}
        return None if gone else identity

    def known(self, headers: MultiMapping[str]) -> Identity | None:
        """Return the sender of a request, if known at once and not refused."""
        try:
            return self.identify(headers)
        except StoreError:
            return None

    def identify(self, headers: MultiMapping[str]) -> Identity | None:
        """Return the sender of a request, as far as that is known at once; it may be a stranger.

        Raises:
            StoreError: the accounts cannot be read at the moment.
        """
        snapshot = self._accounts.snapshot()
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._standing = standing.Standing(partial(self._again, snapshot))
        authorization = headers.get("Authorization", "")
        if not snapshot.accounts:
            if not authorization:
                return self._nameless
            return self._named(snapshot, claimed_name(authorization))
        scheme, _, credentials = authorization.partition(" ")
        match scheme.lower():
            case "bearer":
                return _holder(snapshot, credentials.strip())
            case "basic":
                return _identity(self._logins.remembered(snapshot, authorization))
        return None

    def _again(self, then: AccountSnapshot, request: web.Request) -> Identity | None:
        """Return the sender of an earlier request, as their account is now.

        Args:
            then: the accounts that gave access before.
        """
        snapshot, identity = self._accounts.snapshot(), request[standing.IDENTITY]
        if snapshot is then:  # as nearly always
            return identity
        if not then.accounts:  # everybody was let in, whatever they called themselves
            return None if snapshot.accounts else identity
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return _holder(snapshot, credentials.strip())
        before, account = (each.accounts.get(identity.name) for each in (then, snapshot))
        if before is None or account is None:
            return None
        kept = [(each.password, each.created_at) for each in (before, account)]
        return _identity(account) if kept[0] == kept[1] else None

    async def _login(self, request: web.Request) -> Identity | None:
        """Return the sender of a request who is not known so far; verify a password, if it has one.

        Raises:
            TooManyLogins: too many others wait already.
            StoreError: the accounts cannot be read at the moment.
        """
        self._accounts.look_again()  # an account, a password or a token may be that new
        identity = self.identify(request.headers)
        if identity is not None:
            return identity
        authorization = request.headers.get("Authorization", "")
        address = self.proxies.client(request.remote or "", request.headers)
        pair = basic_of(authorization)
        if pair is None or not self._accounts.snapshot().accounts:
            if _log_token(authorization, address):
                self._heard(Login.REFUSED)
            return None
        await self._logins.verify(authorization, pair, address)
        return self.identify(request.headers)  # the account may have changed in the meantime

    async def log_in(self, request: web.Request, name: str, password: str) -> Account | None:
        """Verify a name and password from the login page; return the account, or None.

        It takes as long, is delayed and is counted like a login by HTTP Basic.

        Raises:
            TooManyLogins: too many others wait already.
            StoreError: the accounts cannot be read at the moment.
        """
        address = self.proxies.client(request.remote or "", request.headers)
        authorization = f"Form {name}\0{password}"  # under which it is remembered
        self._accounts.look_again()  # the password may be that new
        await self._logins.verify(authorization, (name, password), address)
        return self._logins.remembered(self._accounts.snapshot(), authorization)

    def account(self, name: str) -> Account | None:
        """Return the account with a name, as it is now.

        Raises:
            StoreError: the accounts cannot be read at the moment.
        """
        return self._accounts.snapshot().accounts.get(name)

    def is_secure(self, request: web.BaseRequest) -> bool:
        """Return whether a client used TLS, to us or to a trusted proxy."""
        scheme, _ = self.proxies.front(request.remote, request.headers)
        return scheme == "https" if scheme else request.secure


def _holder(snapshot: AccountSnapshot, token: str) -> Identity | None:
    return _identity(snapshot.accounts.get(snapshot.holders.get(passwords.digest(token), "")))


def _identity(account: Account | None) -> Identity | None:
    return Identity(name=account.name, role=account.role, id=account.id) if account else None


def _log_token(authorization: str, address: str) -> bool:
    """Log that a token was refused, if it is one: nobody can guess it, so it is not slowed down."""
    is_token = authorization.lower().startswith("bearer ")
    if is_token:
        log.warning("a token from %s is not known", address, extra={"action": "login"})
    return is_token


async def _answered(response: web.Response) -> web.Response:
    return response
