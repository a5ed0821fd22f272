"""``x-arango-async``: turns any request into a job."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from jobstore.dialects.arango.replies import TEXT, empty_reply, refusal
from jobstore.model.errors import JobstoreError
from jobstore.model.job import Dialect
from jobstore.model.message import Headers, without
from jobstore.web import answers

ASYNC: Final = "x-arango-async"
ASYNC_ID: Final = "x-arango-async-id"
_WANTED: Final[Mapping[str | None, bool]] = {"store": True, "true": False}


class ArangoHeader:
    """``x-arango-async: store`` keeps the result, ``true`` does not, anything else is nothing."""

    dialect = Dialect.ARANGO
    name = ASYNC

    def asks(self, headers: MultiMapping[str]) -> bool | None:
        """Return whether the result is wanted; None if no job is asked for."""
        return _WANTED.get(headers.get(ASYNC))

    def strip(self, headers: Headers) -> Headers:
        """Return the headers without the one that asks for a job."""
        return without(headers, (ASYNC,))

    def receipt(self, job_id: int, *, wanted: bool) -> bytes:
        """Return the 202 answer of a submission."""
        return answers.own(202, (("Content-Type", TEXT), *_named(job_id, wanted=wanted)))

    def is_plain(self, _: MultiMapping[str]) -> bool:
        """Return True: the header cannot ask for anything else."""
        return True

    async def accepted(self, _: web.Request, job_id: int, /, *, wanted: bool) -> web.Response:
        """Answer 202, with the job's id if its result is wanted."""
        return empty_reply(202, _named(job_id, wanted=wanted))

    def refused(self, error: JobstoreError) -> web.Response:
        """Answer with ArangoDB's error."""
        return refusal(error)


def _named(job_id: int, *, wanted: bool) -> Headers:
    return ((ASYNC_ID, str(job_id)),) if wanted else ()
