"""Password verification: a few at a time, once for identical credentials, and then remembered."""

import asyncio
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from jobstore.live.meters import Login
from jobstore.model import passwords
from jobstore.model.account import Account
from jobstore.model.errors import TooManyLogins
from jobstore.store.accounts import Accounts, AccountSnapshot
from jobstore.web import proxies
from jobstore.web.failures import LONGEST_NAME, Failures, cut
from jobstore.web.turns import FairTurns

# How long a verified password is remembered after its last use, and how many of them at most.
REMEMBERED_SECONDS: Final = 300.0
REMEMBERED: Final = 10_000
# How many passwords are verified at the same time: each takes 64 MiB and a thread.
VERIFIERS: Final = 2
# How many logins may wait for that, or be held up, in all and from one source: an address, or a
# network that belongs to one customer. Those beyond are refused at once; where it is the sum that
# is full, it is one of the source that has the most.
WAITING: Final = 1000
WAITING_BY_SOURCE: Final = 20

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Verified:
    """A password that was found to be right.

    Args:
        name: the account's name.
        password: the hash, as it was then.
        until: until when it is remembered.
    """

    name: str
    password: str
    until: float


@dataclass(slots=True, eq=False)
class _Login:
    """A password that is being verified, for all requests that came with it.

    Args:
        address: where the first of them came from.
        source: that address, or the network that one customer is given.
        begun: whether a thread is working on it, which cannot be stopped.
    """

    address: str
    source: str
    begun: bool = False
    task: "asyncio.Task[None] | None" = None


class Logins:
    """Verify passwords.

    Args:
        accounts: the accounts.
        clock: the monotonic time, in seconds.
        heard: called with the outcome of each login.
    """

    def __init__(
        self, accounts: Accounts, clock: Callable[[], float], heard: Callable[[Login], None]
    ) -> None:
        self._heard = heard
        self._accounts = accounts
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._failures = Failures(clock)
        self._pending: dict[bytes, _Login] = {}
        self._verifying = FairTurns(VERIFIERS)

    async def close(self) -> None:
        """Abandon the logins that are delayed or being verified."""
        tasks = [login.task for login in self._pending.values() if login.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def remembered(self, snapshot: AccountSnapshot, authorization: str) -> Account | None:
        """Return the account of credentials that were verified recently and are still valid."""
        key = self._digest(authorization)
        verified = self._verified.get(key)
        if verified is None:
            return None
        now = self._clock()
        account = snapshot.accounts.get(verified.name)
        if account is None or account.password != verified.password or verified.until < now:
            del self._verified[key]
            return None
        verified.until = now + REMEMBERED_SECONDS
        self._verified.move_to_end(key)
        return account

    async def verify(self, authorization: str, pair: tuple[str, str], address: str) -> None:
        """Verify credentials, once for all requests with the same credentials at the same time.

        Whoever calls this has looked at the accounts again: the password may be that new.

        Args:
            authorization: the header as sent; afterwards `remembered` returns the account, if
                valid.
            pair: the name and password in it.
            address: where they came from.

        Raises:
            TooManyLogins: too many others wait already.
        """
        key = self._digest(authorization)
        login = self._pending.get(key) or self._begin(key, pair, address)
        # A request that is cancelled leaves alone what others wait for too; and cancelling would
        # not stop the thread, only let more of them run at once.
        assert login.task is not None
        try:
            await asyncio.shield(login.task)
        except asyncio.CancelledError:
            if login.task.cancelled() and not _leaving():
                raise TooManyLogins from None
            raise

    def _digest(self, authorization: str) -> bytes:
        """Return a keyed hash of credentials, from which they cannot be derived."""
        text = authorization.encode("utf-8", "surrogateescape")
        return blake2b(text, key=self._key, digest_size=16).digest()

    def _begin(self, key: bytes, pair: tuple[str, str], address: str) -> _Login:
        login = _Login(address, proxies.customer(address))
        self._make_place(login.source)

        def ended(task: asyncio.Task[None]) -> None:
            del self._pending[key]
            if not task.cancelled():
                task.exception()  # nobody may be left who would look at it

        self._pending[key] = login
        login.task = asyncio.create_task(self._verify(key, *pair, login))
        login.task.add_done_callback(ended)
        return login

    def _make_place(self, source: str) -> None:
        """Drop a login of the source with the most, if there are too many.

        Raises:
            TooManyLogins: this source has the most, or has reached its limit.
        """
        logins = self._pending.values()
        counts = Counter(login.source for login in logins)
        if counts[source] >= WAITING_BY_SOURCE:
            raise TooManyLogins
        if len(self._pending) < WAITING:
            return
        waiting = [login for login in logins if not login.begun and login.source != source]
        given_up = max(reversed(waiting), key=lambda login: counts[login.source], default=None)
        if given_up is None or counts[given_up.source] <= counts[source]:
            raise TooManyLogins
        assert given_up.task is not None
        given_up.task.cancel()

    async def _verify(self, key: bytes, name: str, password: str, login: _Login) -> None:
        """Verify a password; if it is right, remember that."""
        address = login.address
        seconds = self._failures.hold_up(name, login.source)
        about = {"action": "login", "held_up": seconds}
        if seconds:
            self._heard(Login.HELD_UP)
        await asyncio.sleep(seconds)
        async with self._verifying.turn(login.source):
            login.begun = True
            account = self._accounts.snapshot().accounts.get(name)
            kept = account.password if account else None
            right = await asyncio.to_thread(passwords.verify, kept, password)
        if kept is None or not right:
            self._failures.failed(login.source)
            self._heard(Login.REFUSED)
            shown = name[:LONGEST_NAME]
            log.warning("login as %r from %s failed", shown, address, extra=about)
            return
        self._heard(Login.ACCEPTED)
        log.info("login as %r from %s", name, address, extra=about)
        self._failures.forgive(name)
        self._verified[key] = _Verified(name, kept, self._clock() + REMEMBERED_SECONDS)
        cut(self._verified, REMEMBERED)


def _leaving() -> bool:
    """Return whether the current task itself is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
