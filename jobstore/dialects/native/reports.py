"""Reports of a service about the job that it is working on.

``POST /_jobs/{id}/report`` accepts what a handler in process reports through its handle: the id is
the value of ``Jobstore-Id``, and ``Jobstore-Attempt`` is sent back unchanged.
"""

import re
from typing import Final

from aiohttp import web

from jobstore.dialects.native import as_json
from jobstore.dialects.native.problems import NO_JSON, json_of
from jobstore.live import Store
from jobstore.model.errors import SubmissionInvalid
from jobstore.model.job import Report
from jobstore.web import standing

_EXPECTED: Final = (
    'a JSON object such as {"progress": 40, "counters": {"RECORDS": 7}, "warnings": ["late"]}'
)
_LARGEST: Final = 64 * 2**10


class Reports:
    """Accept reports."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def report(self, request: web.Request) -> web.Response:
        """Store a report, and tell whether the job's cancellation was requested."""
        standing.changing(request)
        try:
            written = await json_of(request, _LARGEST)
        except SubmissionInvalid as error:
            if str(error) != NO_JSON:
                raise
            raise SubmissionInvalid(f"{NO_JSON}; expected {_EXPECTED}") from None
        report = _report(request, written)
        scope = standing.changing(request).scope
        return web.json_response({"cancelled": await self._store.attempts.report(report, scope)})


def _report(request: web.Request, written: object) -> Report:
    """Read a report.

    Raises:
        SubmissionInvalid: it is not one; the message says what was expected.
    """
    attempt = request.headers.get("Jobstore-Attempt", "")
    if not re.fullmatch("[0-9]{1,9}", attempt):
        raise SubmissionInvalid(
            "expected the header Jobstore-Attempt with the value that the request had"
        )
    from jobstore.dialects.native.forms import WrittenReport  # see json_of

    try:
        said = WrittenReport.model_validate(written)
    except ValueError as error:
        raise SubmissionInvalid(f"expected {_EXPECTED}") from error
    return Report(job_id=as_json.job_id(request), attempt=int(attempt), **dict(said))
