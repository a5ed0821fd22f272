"""The standards' own way of asking for a job: ``Prefer: respond-async``, RFC 7240."""

import re
from typing import Final

from aiohttp import web

from jobstore import wire
from jobstore.errors import (
    BodyBroken,
    BodyTooLarge,
    JobstoreError,
    NotAccepting,
    NoTarget,
    StoreBusy,
    StoreFull,
)
from jobstore.job import Dialect
from jobstore.message import Headers

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
}


class PreferTrigger:
    """``Prefer: respond-async`` asks for a job whose result will be fetched."""

    dialect = Dialect.NATIVE

    def asks(self, headers: Headers) -> bool | None:
        """Tell whether the result is wanted, or None if no job is asked for at all."""
        asked = any(
            _name(preference) == "respond-async"
            for name, value in headers
            if name.lower() == "prefer"
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
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        retry = (("Retry-After", "1"),) if status == web.HTTPServiceUnavailable.status_code else ()
        return wire.problem(status, str(error), retry)


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
