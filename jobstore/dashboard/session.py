"""Browser sessions: how they begin and end, and what their cookie allows.

A browser sends its cookie with every request, whichever page makes it. Which pages are allowed is
decided at the front door (`jobstore.web.origins`), by headers that browsers
send and pages cannot forge. In addition, a request with a cookie may change something only if it
says which page it comes from: browsers always do.
"""

import re
from functools import partial
from typing import Final

from aiohttp import web

from jobstore.model.account import Account, Identity, Session
from jobstore.model.errors import AccountsUnavailable, Forbidden, StoreError
from jobstore.model.frozen import frozen
from jobstore.store.sessions import ActiveSession, Sessions
from jobstore.web import cookies, standing
from jobstore.web.access import Access
from jobstore.web.capture import SAFE

_SAID: Final = ("Sec-Fetch-Site", "Origin")
_LONGEST_AGENT: Final = 1000

# What a browser calls itself, by what is in its ``User-Agent``; the first one that fits. Those that
# are made of others name these as well.
_BROWSERS: Final = (
    ("Edge", re.compile(r"\bEdgA?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:Chrome|CriOS|HeadlessChrome)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)[.\d]* (?:Mobile/\S+ )?Safari/")),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_PRODUCT: Final = re.compile(r"[!-.0-~]{1,40}")


@frozen
class Entrance:
    """Access for browsers that have logged in.

    Args:
        access: knows all accounts.
        sessions: knows all sessions.
    """

    access: Access
    sessions: Sessions

    async def admit(self, request: web.Request) -> Session | None:
        """Return the identity of a request's session; None without a valid session.

        Raises:
            Forbidden: the change may have been requested by a foreign page.
            AccountsUnavailable: sessions cannot be read at the moment.
        """
        known = await self.known(request)
        if known is None:
            return None
        _require_page(request)
        self.access.admit(request, known.identity)
        account = self.access.account(known.identity.name)
        request[standing.STANDING] = standing.Standing(partial(self._again, account))
        return known.session

    async def known(self, request: web.Request) -> ActiveSession | None:
        """Return the session of a request, if valid.

        Raises:
            AccountsUnavailable: sessions cannot be read at the moment.
        """
        secret = cookies.session_of(request.headers)
        if secret is None or "Authorization" in request.headers:
            return None
        try:
            return await self.sessions.known(secret)
        except StoreError:
            raise AccountsUnavailable from None

    def _again(self, then: Account | None, request: web.Request) -> Identity | None:
        """Return the sender of a request that has waited, if their account has not changed."""
        identity = request[standing.IDENTITY]
        return identity if then and self.access.account(identity.name) == then else None

    async def begin(self, request: web.Request, account: Account, response: web.Response) -> None:
        """Begin a session, and set its cookie in the response.

        Raises:
            AccountProblem: the account has just been changed.
        """
        source = self.access.proxies.source(request.remote, request.headers)
        label = described(request.headers.get("User-Agent", ""), source)
        secret = await self.sessions.begin(account.name, account.password, label)
        cookies.give(response, secret, secure=self.access.is_secure(request))

    async def end(self, request: web.Request, response: web.Response) -> None:
        """End the session of a request, and delete its cookie."""
        _require_page(request)
        secret = cookies.session_of(request.headers)
        if secret is not None:
            await self.sessions.close(secret)
            cookies.take_back(response, secure=self.access.is_secure(request))


def _require_page(request: web.Request) -> None:
    """Ensure that a changing request comes from one of our pages.

    Raises:
        Forbidden: its client does not say where it comes from.
    """
    if request.method not in SAFE and not any(name in request.headers for name in _SAID):
        raise Forbidden(
            "a session can change something only if the browser says which page sent the "
            "request: use a current browser, or a token"
        )


def described(agent: str, source: str | None) -> str:
    """Describe a browser and its address in a few words.

    >>> described("Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0", None)
    'Firefox 131 on Linux'
    >>> described("curl/8.1", "10.0.0.7")
    'curl, 10.0.0.7'
    """
    agent = agent[:_LONGEST_AGENT]
    found = ((name, pattern.search(agent)) for name, pattern in _BROWSERS)
    browser = next((f"{name} {match[1]}" for name, match in found if match), _product(agent))
    system = next((f" on {name}" for word, name in _SYSTEMS if word in agent), "")
    return f"{browser}{system}{f', {source}' if source else ''}"


def _product(agent: str) -> str:
    match = _PRODUCT.match(agent)
    return match[0] if match else "unknown browser"
