"""ArangoDB's login: a JSON Web Token (RFC 7519) for a name and a password.

It exists for the demo only: in front of a service, this call belongs to the service. Without
accounts a token names its holder and proves nothing, just as a password does. With accounts there
is no token to get: HTTP Basic and jobstore's own tokens are accepted, and the answer says so.
"""

import hmac
import json
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from aiohttp import web

from jobstore.model.clock import SECOND, Clock, now
from jobstore.model.errors import (
    AccountsUnavailable,
    BodyBroken,
    BodyTooLarge,
    Forbidden,
    JobstoreError,
    NoRoom,
    QueryInvalid,
    StoreError,
    Unauthorized,
)
from jobstore.model.written import DAY
from jobstore.store.accounts import Accounts
from jobstore.targets.router import PathClaim
from jobstore.web import documents, edge, refusals, room

CLAIMS: Final = (
    PathClaim(re.compile(r"(?:/_db/[^/?]+)?/_open/auth/?(?:[?]|$)"), frozenset({"POST"})),
)

_NO_TOKENS: Final = (
    "this server does not issue JSON Web Tokens: use HTTP Basic, or a bearer token from "
    "`jobstore user token NAME`"
)
_LIFETIME: Final = 30 * DAY  # pyArango asks for another one half a day before a token ends
_LARGEST: Final = 64 * 1024
_FORBIDDEN: Final = 11  # ArangoDB's error numbers
_BAD_PARAMETER: Final = 400


class ArangoLogin:
    """Hand out tokens while there are no accounts.

    Args:
        accounts: the accounts.
    """

    def __init__(self, accounts: Accounts, clock: Clock = now) -> None:
        self._accounts = accounts
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def add_routes(self, app: web.Application) -> None:
        """Add the call to an application."""
        paths = [prefix + "/_open/auth{slash:/?}" for prefix in ("", "/_db/{database}")]
        edge.add_calls(app.router, {path: {"POST": self.log_in} for path in paths}, refused)

    async def log_in(self, request: web.Request) -> web.Response:
        """Answer with a token for the name in the body."""
        accounts = self._accounts.snapshot().accounts
        async with room.whole(request, _LARGEST) as body:
            name = _name(body)
        if accounts:
            raise Forbidden(_NO_TOKENS)
        if name is None:
            raise QueryInvalid('expected {"username": "...", "password": "..."}')
        token = _token(name, self._clock() // SECOND, self._key)
        return web.json_response({"jwt": token, "must_change_password": False})


def refused(request: web.Request, error: JobstoreError) -> web.Response:
    """Answer with ArangoDB's error for a failed login."""
    match error:
        case Unauthorized():
            return _error(401, _FORBIDDEN, f"{error}: {_NO_TOKENS}")
        case Forbidden():
            return _error(403, _FORBIDDEN, str(error))
        case BodyTooLarge() | BodyBroken() | QueryInvalid():
            return _error(400, _BAD_PARAMETER, str(error))
        case StoreError() | NoRoom():
            return refusals.refused(request, AccountsUnavailable())
        case _:
            return refusals.refused(request, error)


def _error(status: int, number: int, message: str) -> web.Response:
    body = {"error": True, "code": status, "errorNum": number, "errorMessage": message}
    return web.json_response(body, status=status)


def _name(body: bytes) -> str | None:
    """Return the name in the body of a login; None if there is none."""
    try:
        written = documents.parse(body, most=_LARGEST)  # its size is bound enough
    except ValueError:
        return None
    if not isinstance(written, dict):
        return None
    name, password = written.get("username"), written.get("password")
    return name if isinstance(name, str) and isinstance(password, str) else None


def _token(name: str, seconds: int, key: bytes) -> str:
    """Return a token as ArangoDB writes it, so that its clients can read when it expires."""
    header = {"alg": "HS256", "typ": "JWT"}
    claims = {
        "preferred_username": name,
        "iss": "arangodb",
        "iat": seconds,
        "exp": seconds + int(_LIFETIME),
    }
    signed = f"{_part(header)}.{_part(claims)}"
    signature = hmac.new(key, signed.encode(), sha256).digest()
    return f"{signed}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def _part(value: Mapping[str, object]) -> str:
    """Encode a part of a token, padded with spaces: pyArango cannot read one without padding."""
    text = json.dumps(value)
    text += " " * (-len(text) % 3)
    return urlsafe_b64encode(text.encode()).decode()
