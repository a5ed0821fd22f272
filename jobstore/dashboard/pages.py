"""Render pages as HTML, with the headers that all pages have."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict

from jobstore.dashboard import notes
from jobstore.dashboard.visit import MOUNT, VISITOR
from jobstore.model.errors import JobstoreError
from jobstore.web import late, refusals
from jobstore.web.edge import Call

# A page has what comes from this server, and nothing that stands in it as text is run.
POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        *(f"{what}-src 'self'" for what in ("script", "style", "img", "connect")),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HARDENED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
)
_HEADERS: Final[Mapping[str, str]] = MappingProxyType({**HARDENED, "Cache-Control": "no-store"})
# All pages, and Jinja2 with their templates: to load them takes a while, which a server without
# visitors need not.
_LATE: Final = ("jobstore.dashboard.site", "jobstore.dashboard.templating")

log = logging.getLogger(__name__)


class NoSuchPage(JobstoreError):
    """The dashboard has nothing at that path."""

    status = 404

    def __init__(self) -> None:
        super().__init__("there is no such page")


def up(request: web.Request) -> str:
    """Return the relative path from a page to the dashboard's root."""
    below = request.path.removeprefix(f"{MOUNT}/")
    return "../" * below.count("/") or "./"


def here(request: web.Request) -> str:
    """Return the path of the requested page, relative to the dashboard's root."""
    return request.raw_path.removeprefix(MOUNT).lstrip("/")


async def ready() -> None:
    """Have the pages and their templates."""
    await late.loaded(*_LATE)


def told(call: Call) -> Call:
    """Wrap a call so that errors are answered with a page; internal errors are only logged."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await call(request)
        except JobstoreError as error:
            return refused(request, error)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("a page could not be made", extra={"action": "answer"})
            return refused(request, refusals.Internal())

    return answer


def render(
    request: web.Request, template: str, *, status: int = 200, **facts: object
) -> web.Response:
    """Render a page.

    Args:
        template: the name of its file.
        facts: the values for the template, by name.
    """
    return web.Response(
        status=status,
        # What is no text, such as a byte of a head, is written as an escape.
        body=text(request, template, **facts).encode(errors="backslashreplace"),
        content_type="text/html",
        charset="utf-8",
        headers=_HEADERS,
    )


def text(request: web.Request, template: str, **facts: object) -> str:
    """Return a page or a part of one as text; see `render`."""
    from jobstore.dashboard.templating import TEMPLATES  # see `ready`

    shared: dict[str, Any] = {
        "up": up(request),
        "visitor": request.get(VISITOR),
        "said": notes.said(request),
        "here": here(request),
    }
    return TEMPLATES[template].render(shared, **facts)


def see_other(location: str) -> web.Response:
    """Redirect a browser to another page by a relative path."""
    return web.Response(status=303, headers={**_HEADERS, "Location": location})


def refused(request: web.Request, error: JobstoreError) -> web.Response:
    """Answer with an error as a page."""
    status, told = refusals.answerable(error)
    return error_page(request, status, str(told), CIMultiDict(refusals.fields(told)))


def error_page(
    request: web.Request,
    status: int,
    detail: str,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> web.Response:
    """Return a page with an error message."""
    title = HTTPStatus(status).phrase
    page = render(request, "error.html", status=status, title=title, detail=detail)
    page.headers.update(headers)
    return page
