"""HTTP clients that change nothing on their own account, and answers that were read to the end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, DummyCookieJar
from multidict import CIMultiDictProxy
from yarl import URL


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        """Read its body as JSON."""
        return json.loads(self.body)


def client(headers: Mapping[str, str] | None = None, **options: Any) -> ClientSession:
    """Make a client that decompresses nothing, keeps no cookies, and sends these headers."""
    jar = DummyCookieJar()
    return ClientSession(headers=headers, auto_decompress=False, cookie_jar=jar, **options)


async def call(http: ClientSession, method: str, url: str | URL, **options: Any) -> Answer:
    """Send a request and read its answer to the end."""
    async with http.request(method, url, allow_redirects=False, **options) as response:
        return Answer(response.status, response.headers, await response.read())
