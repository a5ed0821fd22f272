"""The pages' static files, which are part of the package.

Their path contains a hash of their content, so browsers cache each of them for ever.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from importlib import resources
from types import MappingProxyType
from typing import Final

from aiohttp import web

from jobstore.dashboard.pages import HARDENED, NoSuchPage
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model.frozen import frozen

# All that is given away, whatever else lies in that folder.
_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "jobs.css": "text/css",
        "jobs.js": "text/javascript",
        "charts.js": "text/javascript",
        "icon.svg": "image/svg+xml",
    }
)
_FOR_EVER: Final = "public, max-age=31536000, immutable"  # a year: RFC 8246, RFC 9111


@frozen(kw_only=True)
class Assets:
    """The files.

    Args:
        version: a hash of their content.
        contents: by name.
    """

    version: str
    contents: Mapping[str, bytes]


@cache
def assets() -> Assets:
    """Read them, once."""
    folder = resources.files("jobstore.dashboard") / "static"
    contents = {name: (folder / name).read_bytes() for name in _TYPES}
    version = blake2b(b"\0".join(contents.values()), digest_size=6).hexdigest()
    return Assets(version=version, contents=MappingProxyType(contents))


async def give(visit: Visit) -> web.Response:
    """Answer with one of them."""
    asked, found = visit.request.match_info, assets()
    content = found.contents.get(asked["file"])
    if content is None or asked["version"] != found.version:
        raise NoSuchPage
    return web.Response(
        body=content,
        content_type=_TYPES[asked["file"]],
        charset="utf-8",
        headers={**HARDENED, "Cache-Control": _FOR_EVER},
    )


ROUTES: Final[Routes] = (PageRoute("GET", "static/{version}/{file}", give, strangers=True),)
