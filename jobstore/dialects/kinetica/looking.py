"""``/get/job``: the state of a job, and its result."""

from aiohttp import web

from jobstore.dialects.kinetica import outcomes
from jobstore.dialects.kinetica.encodings import LARGEST
from jobstore.dialects.kinetica.framing import LONG_WORK, off_loop, room_for
from jobstore.dialects.kinetica.records import Record, RequestInvalid
from jobstore.dialects.kinetica.request import KineticaCall
from jobstore.live import Reading, Store
from jobstore.model.account import Identity
from jobstore.model.errors import BeingDelivered
from jobstore.model.lifecycle import Result
from jobstore.model.message import Body, body_size, chunks
from jobstore.store.jobs import Outline
from jobstore.store.transaction import Outcome
from jobstore.web import standing, wire
from jobstore.web.ask import Ask


class Looking:
    """Describe jobs to their clients."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def answer(self, request: web.Request, call: KineticaCall) -> web.StreamResponse:
        """Describe a job given by id or tag."""
        scope = standing.scope(request)
        tag, job_id = call.tag, call.asked["job_id"]
        if tag is not None:
            job_id = await self._store.results.tagged(tag, request[standing.IDENTITY])
        try:
            return await self._read(request, call, job_id)
        except BeingDelivered:  # to another reader, who may break off
            job = await self._store.history.job(job_id, scope)
            return call.answer(outcomes.not_yet(job))

    def at_once(self, ask: Ask, call: KineticaCall) -> bool:
        """Describe a job given by id, unless that takes longer than a point read."""
        if call.tag is not None:
            return False

        def told(outcome: Outcome) -> None:
            answer = None
            if outcome.error is None and not _takes(outcome.value, ask.identity):
                answer = _described_at_once(call, outcome.value)
            if answer is None:
                ask.pass_on()
            else:
                ask.answer(answer)

        self._store.results.look(call.asked["job_id"], ask.identity.scope, told)
        return True

    async def _read(
        self, request: web.Request, call: KineticaCall, job_id: int
    ) -> web.StreamResponse:
        identity = request[standing.IDENTITY]
        reading = await self._store.results.read(job_id, identity.scope)
        _check_size(reading)
        if _takes(reading, identity):
            return await self._take(request, call, reading.job)
        async with room_for(request, reading.body) as size:
            record = await _described(reading.job, reading.body)
            answer = await off_loop(size, call.answer, record)
            if size > LONG_WORK:  # while there is room for it
                async with wire.read_in_time(request, size):
                    await answer.prepare(request)
                    await answer.write_eof()
            return answer

    async def _take(
        self, request: web.Request, call: KineticaCall, job: Outline
    ) -> web.StreamResponse:
        """Answer with a job, whose result is taken by that."""
        scope = standing.changing(request).scope
        async with self._store.results.take(job.id, scope) as delivery:
            assert delivery is not None  # it has ended
            body = delivery.response.body if delivery.response else None
            async with room_for(request, body) as size:
                record = await _described(job, body)
                kept = await off_loop(size, call.kept, record)
                async with wire.read_in_time(request, size):
                    return await wire.deliver(request, kept, ())


def _takes(reading: Reading, identity: Identity) -> bool:
    """Return whether looking at a job takes its result."""
    return reading.job.once and reading.job.result is Result.HELD and identity.changes


def _described_at_once(call: KineticaCall, reading: Reading) -> bytes | None:
    """Describe a job whose answer is small; None if it is large, or something fails."""
    body = b"" if reading.body is None else reading.body
    if not isinstance(body, bytes) or len(body) > LONG_WORK:
        return None
    try:
        return call.written(outcomes.job_record(reading.job, body))
    except Exception:  # noqa: BLE001 - it is raised again where all of them are logged
        return None


def _check_size(reading: Reading) -> None:
    """Ensure that an answer is not too large to be sent in one piece.

    Raises:
        RequestInvalid: it is.
    """
    size, job_id = None if reading.body is None else body_size(reading.body), reading.job.id
    if size is not None and size > LARGEST:
        raise RequestInvalid(
            f"the result of job {job_id} has {size} bytes, and at most {LARGEST} can be answered "
            f"here: fetch it with PUT /_api/job/{job_id}"
        )


async def _described(job: Outline, body: Body | None) -> Record:
    content = b"" if body is None else b"".join([chunk async for chunk in chunks(body)])
    return await off_loop(len(content), outcomes.job_record, job, content)
