"""Access to pages: for everybody whom the APIs accept, and for browsers that have logged in.

Other browsers are sent to the login page. They never get a challenge for HTTP
authentication: one cannot log out of the browser's own dialog, and it would appear for any request
that a script makes.
"""

from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore.dashboard.login import form_again, login_of
from jobstore.dashboard.pages import error_page, see_other
from jobstore.dashboard.session import Entrance
from jobstore.dashboard.visit import VISITOR, Visitor
from jobstore.model.errors import Unauthorized
from jobstore.web import cookies, standing
from jobstore.web.capture import SAFE
from jobstore.web.gate import Gate


class Guard:
    """Decide who may see pages.

    Args:
        gate: accepts those whom the APIs accept, by the credentials of each request.
        entrance: accepts those who have logged in; None if the application has its own
            login.
    """

    def __init__(self, gate: Gate, entrance: Entrance | None) -> None:
        self._gate = gate
        self._entrance = entrance

    async def enter(self, request: web.Request, then: Handler) -> web.StreamResponse:
        """Answer a request if its sender has access; otherwise send them to the login.

        Raises:
            Forbidden: the change may have been requested by a foreign page.
            AccountsUnavailable: sessions cannot be read at the moment.
        """
        session = await self._entrance.admit(request) if self._entrance else None
        if session is not None:
            identity = request[standing.IDENTITY]
            request[VISITOR] = Visitor(identity=identity, session=session.id)
            return await then(request)
        return await self._enter_without(request, then)

    async def _enter_without(self, request: web.Request, then: Handler) -> web.StreamResponse:
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
        if self._entrance is None or "text/html" not in request.headers.get("Accept", ""):
            return error_page(request, HTTPStatus.UNAUTHORIZED, str(Unauthorized()))
        if request.method in SAFE:
            return see_other(login_of(request))
        ended = cookies.session_of(request.headers) is not None
        return form_again(request, ended=ended)
