"""``/create/job``: a call of any endpoint becomes a job."""

import asyncio
import logging
import re
import secrets
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from jobstore.dialects.kinetica import encodings
from jobstore.dialects.kinetica.encodings import Encoding
from jobstore.dialects.kinetica.error_messages import refused_in
from jobstore.dialects.kinetica.records import Record, RequestInvalid
from jobstore.dialects.kinetica.request import KineticaCall
from jobstore.live import Store
from jobstore.model import clock
from jobstore.model.account import Identity
from jobstore.model.errors import JobstoreError, NoTarget
from jobstore.model.job import Dialect, Submission
from jobstore.model.message import Headers, Request, end_to_end
from jobstore.model.tracing import CONTEXT, context_of
from jobstore.store.transaction import Outcome
from jobstore.targets.router import Router
from jobstore.web import answers, standing
from jobstore.web.ask import Ask
from jobstore.web.refusals import Internal

_ENDPOINT: Final = re.compile(r"""/[!"$-~]{0,8191}""")  # a fragment would never be sent

_TAKEN_ALONG: Final = ("authorization", *CONTEXT)
_SAID: Final[Mapping[Encoding, Headers]] = {
    each: (("Content-Type", each.value), ("Accept", each.value)) for each in Encoding
}

log = logging.getLogger(__name__)


class Creating:
    """Create jobs.

    Args:
        store: stores them.
        router: the targets.
    """

    def __init__(self, store: Store, router: Router) -> None:
        self._store = store
        self._router = router

    async def answer(self, request: web.Request, call: KineticaCall) -> web.Response:
        """Create a job."""
        payload = _payload(call.asked)
        if payload is None:
            compressed = call.asked["data"]
            payload = Encoding.AVRO, await asyncio.to_thread(encodings.decompress, compressed)
        identity, source = standing.changing(request), standing.source(request)
        try:
            submission = self._submission(call, payload, request.headers, identity, source)
        except NoTarget as error:
            self._store.submissions.refused(error)
            raise
        return call.answer(_created(submission, await self._store.submit(submission)))

    def at_once(self, ask: Ask, call: KineticaCall) -> bool:
        """Create a job whose request is not compressed."""
        payload = _payload(call.asked)
        if payload is None:
            return False
        submission = self._submission(call, payload, ask.headers, ask.identity, ask.source)

        def told(outcome: Outcome) -> None:
            error = outcome.error
            if error is None:
                answer = call.written(_created(submission, outcome.value))
            elif isinstance(error, JobstoreError):
                self._store.submissions.refused(error)
                answer = answers.of(refused_in(call.encoding, error))
            else:
                log.error("a job could not be created", exc_info=error, extra={"action": "answer"})
                answer = answers.of(refused_in(call.encoding, Internal()))
            ask.answer(answer)

        self._store.submissions.queue(submission, told)
        return True

    def _submission(
        self,
        call: KineticaCall,
        payload: tuple[Encoding, bytes],
        fields: MultiMapping[str],
        identity: Identity,
        source: str | None,
    ) -> Submission:
        """Create the submission for a call.

        Args:
            payload: how the body of the job's request is encoded, and the body.
            fields: the headers of the call.
            identity: its sender.
            source: the address that it came from.
        """
        chosen, once = call.tag, call.flag("remove_job_on_complete")
        endpoint, (encoding, body) = call.asked["endpoint"], payload
        if not _ENDPOINT.fullmatch(endpoint):
            raise RequestInvalid("endpoint: expected the path of a call, such as /alter/table")
        route = self._router.owner("POST", endpoint)
        headers = route.travelling((*_SAID[encoding], *_taken_along(fields)))
        return Submission(
            request=Request(method="POST", path=endpoint, headers=headers, body=body),
            target=route.name,
            dialect=Dialect.KINETICA,
            owner=identity.name,
            account=identity.account,
            tag=chosen or _new_tag(),
            tag_is_new=chosen is None,
            once=once,
            source=source,
        )


def _payload(asked: Record) -> tuple[Encoding, bytes] | None:
    """Return how the body of a job's request is encoded, and the body; None if it is compressed."""
    match asked["request_encoding"]:
        case "json":
            return Encoding.JSON, asked["data_str"].encode()
        case "binary" | "":
            return Encoding.AVRO, asked["data"]
        case "snappy":
            return None
        case _:
            raise RequestInvalid("request_encoding: expected binary, json or snappy")


def _new_tag() -> str:
    """Return a new unique tag; later ones sort behind earlier ones, which suits an index."""
    return f"{clock.now():016x}{secrets.token_hex(8)}"


def _taken_along(fields: MultiMapping[str]) -> Headers:
    """Return the headers of a call that are the job's as well: credentials and its trace."""
    if not any(map(fields.__contains__, _TAKEN_ALONG)):  # as most often
        return ()
    came = end_to_end(tuple(fields.items()))
    return (*_credentials(came), *context_of(came))


def _credentials(headers: Headers) -> Headers:
    return tuple(item for item in headers if item[0].lower() == "authorization")


def _created(submission: Submission, job_id: int) -> Record:
    # What traces a job here, in the log and in its timeline, is its id.
    return {"job_id": job_id, "info": {"job_tag": submission.tag, "query_id": str(job_id)}}
