"""The upstream is restarted: nobody listens for a while, under jobs that nothing may be lost of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from trials import services
from trials.chaos import evidence
from trials.chaos.client import Ask, Client
from trials.chaos.customers import Customer
from trials.chaos.ledger import Sent
from trials.chaos.lives import Life
from trials.chaos.rules import Terms
from trials.chaos.settling import Resources, calm, until
from trials.chaos.stage import Stage
from trials.chaos.submissions import Submission, echo_work
from trials.chaos.upstream import Upstream

JOBS: Final = 500
_SECONDS: Final = 10.0
_END_SECONDS: Final = 300.0
# Numbers that no customer gives.
_FIRST: Final = 3 * 10**9
_FAILED: Final = "SELECT id, detail FROM job WHERE state = 'failed'"


@asynccontextmanager
async def restarts(stage: Stage) -> AsyncIterator[None]:
    """Let nobody listen for ten seconds, in which jobs come in that are never sent twice."""
    stage.terms = Terms(over_sockets=True)
    stage.work = echo_work
    upstream = Upstream(stage.witnessed)
    async with services.listening(upstream.talk) as url:
        stage.target = ("--upstream", url)
        life = await stage.start()
        resources = Resources(life)
        await stage.load(life, JOBS)
        # What is being worked for when a service goes away is another story.
        await until(lambda: evidence.unfinished(stage.place) == 0, _END_SECONDS)
    coming = asyncio.create_task(_submit(stage, life))
    await asyncio.sleep(_SECONDS)
    await coming
    port = int(url.rpartition(":")[2])
    async with services.listening(upstream.talk, port):
        await calm(stage, life, resources)
        for job_id, detail in evidence.rows(stage.place, _FAILED):
            stage.complaints.append(f"job {job_id} was lost: {detail}")
        yield


async def _submit(stage: Stage, life: Life) -> None:
    """Submit jobs that may not be sent twice."""
    await asyncio.sleep(1.0)  # until the connections have gone that were used before
    client, customer = Client(life.url), Customer(stage.seed, -1, stage.ledger, stage.work)
    try:
        for number in range(_FIRST, _FIRST + JOBS):
            sent = Sent(method="POST", path=f"/echo?n={number}", size=16)
            ask = Ask("POST", sent.path, {"x-arango-async": "store"}, sent.body)
            await customer.put_in(client, Submission("store", sent, ask))
    finally:
        client.close(reset=True)
