"""People with browsers, as far as the pages can tell: cookies, forms, and where these come from."""

from dataclasses import dataclass, field
from http.cookies import Morsel, SimpleCookie
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from aiohttp import ClientSession

from jobstore.model.account import Role
from jobstore.model.passwords import hashed
from jobstore.server import Server
from tests.accounts import PASSWORD
from trials.clients import Answer, call

MOUNT: Final = "/_jobs/ui/"
ACCEPT: Final = {"Accept": "text/html,application/xhtml+xml"}
OURS: Final = {"Sec-Fetch-Site": "same-origin"}
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"


@dataclass
class Visitor:
    """Somebody with a browser.

    Args:
        url: where the pages are for them, with a slash at the end.
        headers: what their browser, or a proxy, sends with each request.
        cookies: what their browser keeps.
    """

    http: ClientSession
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, "Morsel[str]"] = field(default_factory=dict)

    async def get(self, page: str = "", **headers: str) -> Answer:
        """Look at a page."""
        return await self._asked("GET", page, headers)

    async def post(self, page: str, fields: dict[str, str], **headers: str) -> Answer:
        """Send a form that is on a page."""
        return await self._asked("POST", page, {**OURS, **headers}, data=fields)

    async def log_in(self, name: str, password: str = PASSWORD, asked: str = "") -> Answer:
        """Log in, and keep the cookie."""
        return await self.post("login", {"name": name, "password": password, "next": asked})

    async def _asked(
        self, method: str, page: str, headers: dict[str, str], **options: Any
    ) -> Answer:
        url = urljoin(self.url, page)
        sent = {**ACCEPT, "User-Agent": AGENT, **self.headers, **self._cookie(url), **headers}
        sent = {name.replace("_", "-"): value for name, value in sent.items() if value}
        answer = await call(self.http, method, url, headers=sent, **options)
        for each in answer.headers.getall("Set-Cookie", ()):
            self.cookies |= SimpleCookie(each)
        self.cookies = {name: each for name, each in self.cookies.items() if each.value}
        return answer

    def _cookie(self, url: str) -> dict[str, str]:
        """Give what a browser sends of cookies without a path: RFC 6265 section 5.1.4."""
        if not urlsplit(url).path.startswith(urlsplit(self.url).path):
            return {}
        pairs = [f"{name}={each.value}" for name, each in self.cookies.items()]
        return {"Cookie": "; ".join(["theme=dark", *pairs])} if pairs else {}


async def account(server: Server, name: str, role: Role = Role.ADMIN) -> None:
    """Give somebody an account."""
    await server.store.accounts.add(name, role, _KEPT)


_KEPT: Final = hashed(PASSWORD)


async def visitor(server: Server, http: ClientSession, name: str, role: Role) -> Visitor:
    """Give somebody an account, and a browser in which they have logged in."""
    await account(server, name, role)
    browser = Visitor(http, f"{server.url}{MOUNT}")
    assert (await browser.log_in(name)).status == 303
    return browser
