"""Our own words: the standard's way of asking for a job, and reports of services upstream."""

import re
from typing import Annotated, Final

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobstore import wire
from jobstore.errors import (
    BodyBroken,
    BodyTooLarge,
    Forbidden,
    JobNotFound,
    JobstoreError,
    NotAccepting,
    NoTarget,
    StoreBusy,
    StoreFull,
)
from jobstore.job import Dialect, Report
from jobstore.message import Headers
from jobstore.store import Store

# How the paths of this API begin.
OWN_PATHS: Final = re.compile(r"/_jobs/[0-9]+/report(?:[/?]|$)")

# RFC 7240 section 2: a comma separates preferences, unless it stands in a quoted string.
_PREFERENCE: Final = re.compile(r"""(?:[^,"]|"(?:[^"\\]|\\.)*"?)+""")
# These ask jobstore; any other preference is the target's business.
_OURS: Final = frozenset({"respond-async", "wait"})

_STATUS: Final[dict[type[JobstoreError], int]] = {
    NotAccepting: 503,
    StoreFull: 503,
    StoreBusy: 503,
    BodyTooLarge: 413,
    BodyBroken: 400,
    NoTarget: 404,
    JobNotFound: 404,
    Forbidden: 403,
}

_EXPECTED: Final = (
    'a JSON object such as {"progress": 40, "counters": {"RECORDS": 7}, "warnings": ["late"]}'
)


class _Said(BaseModel):
    """The body of a report."""

    model_config = ConfigDict(extra="forbid")

    progress: Annotated[float, Field(ge=0, le=100)] | None = None
    counters: dict[str, Annotated[int, Field(ge=-(2**63), lt=2**63)]] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class PreferHeader:
    """``Prefer: respond-async`` (RFC 7240) asks for a job whose result will be fetched."""

    dialect = Dialect.NATIVE

    def asks(self, headers: MultiMapping[str]) -> bool | None:
        """Tell whether the result is wanted, or None if no job is asked for at all."""
        asked = any(
            _name(preference) == "respond-async"
            for value in headers.getall("Prefer", ())
            for preference in preferences(value)
        )
        return True if asked else None

    def strip(self, headers: Headers) -> Headers:
        """Return the headers without the preferences that ask for a job."""
        stripped = ((name, _strip(name, value)) for name, value in headers)
        return tuple((name, value) for name, value in stripped if value is not None)

    def accepted(self, job_id: int, *, wanted: bool) -> web.Response:  # noqa: ARG002 - always is
        """Answer 202, with the place to ask for the result."""
        location = f"/_api/job/{job_id}"
        headers = {"Location": location, "Preference-Applied": "respond-async", "Vary": "Prefer"}
        return web.json_response({"id": job_id, "location": location}, status=202, headers=headers)

    def refused(self, error: JobstoreError) -> web.Response:
        """Answer with a problem document."""
        status = _status(error)
        retry = (("Retry-After", "1"),) if status == web.HTTPServiceUnavailable.status_code else ()
        return wire.problem(status, str(error), retry)


class NativeReports:
    """How a service upstream reports on the job it works for.

    ``POST /_jobs/{id}/report`` takes what a handler in process says through its handle: the id is
    what came in as ``Jobstore-Id``, and ``Jobstore-Attempt`` is sent back as it came.

    Args:
        store: where the jobs are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_routes(self, app: web.Application) -> None:
        """Let an application take reports."""
        app.router.add_post(r"/_jobs/{id:[0-9]{1,18}}/report", self.report)

    async def report(self, request: web.Request) -> web.Response:
        """Write a report down, and tell whether the job's cancellation was asked for."""
        try:
            scope = wire.changing(request).scope
            report = _report(request, await request.read())
            cancelled = await self._store.report(report, scope)
        except ValueError as error:
            return wire.problem(400, str(error))
        except JobstoreError as error:
            return wire.problem(_status(error), str(error))
        return web.json_response({"cancelled": cancelled})


def _report(request: web.Request, body: bytes) -> Report:
    """Read a report.

    Raises:
        ValueError: it is not one; the message says what was expected.
    """
    attempt = request.headers.get("Jobstore-Attempt", "")
    if not re.fullmatch("[0-9]{1,9}", attempt):
        raise ValueError("expected the header Jobstore-Attempt as it came with the request")
    try:
        said = _Said.model_validate_json(body)
    except ValidationError as error:
        raise ValueError(f"expected {_EXPECTED}") from error
    return Report(job_id=int(request.match_info["id"]), attempt=int(attempt), **dict(said))


def preferences(value: str) -> list[str]:
    """Split a ``Prefer`` header into its preferences."""
    return [part.strip() for part in _PREFERENCE.findall(value) if part.strip()]


def _name(preference: str) -> str:
    return re.split(r"[=;\s]", preference, maxsplit=1)[0].lower()


def _strip(name: str, value: str) -> str | None:
    """Return a header's value without our preferences, or None if nothing is left of it."""
    if name.lower() != "prefer":
        return value
    return ", ".join(p for p in preferences(value) if _name(p) not in _OURS) or None


def _status(error: JobstoreError) -> int:
    return next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
