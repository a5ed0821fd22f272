"""Who may come in: those whom the APIs let in as well, and who have logged in with a browser.

A browser that is let in by nothing is sent to the login. It is never asked for a password by a
challenge: its own dialog cannot be logged out of, and would come up over the page for any request
that a script makes.
"""

from http import HTTPStatus
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore.dashboard.pages import error_page, here, see_other, up
from jobstore.dashboard.visit import VISITOR, Visitor
from jobstore.model.errors import Unauthorized
from jobstore.web import standing
from jobstore.web.gate import Gate


class Guard:
    """Let visitors in.

    Args:
        gate: lets those in whom the APIs let in, by what each request has with it.
        login: whether there is a page to log in on: an application may have a login of its own.
    """

    def __init__(self, gate: Gate, *, login: bool) -> None:
        self._gate = gate
        self._login = login

    async def enter(self, request: web.Request, then: Handler) -> web.StreamResponse:
        """Answer a request if its sender may come in, or say how they can."""
        entered = False

        async def inside(request: web.Request) -> web.StreamResponse:
            nonlocal entered
            entered = True
            request[VISITOR] = self._visitor(request)
            return await then(request)

        answer = await self._gate.middleware(request, inside)
        stranger = not entered and answer.status == HTTPStatus.UNAUTHORIZED
        return self._turned_away(request) if stranger else answer

    def _visitor(self, request: web.Request) -> Visitor:
        return Visitor(identity=request[standing.IDENTITY], everybody=self._gate.everybody)

    def _turned_away(self, request: web.Request) -> web.Response:
        if self._login and _is_browser(request):
            return see_other(f"{up(request)}login?next={quote(here(request), safe='')}")
        return error_page(request, HTTPStatus.UNAUTHORIZED, str(Unauthorized()))


def _is_browser(request: web.Request) -> bool:
    """Tell whether whoever asks shows pages to somebody, and asks for one."""
    return request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("Accept", "")
