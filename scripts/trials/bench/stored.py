"""The store alone, as one of its nodes: submit, run, end and take jobs, without any HTTP.

``python -m trials.bench.stored WHERE CLIENTS`` opens a file, or a schema of a database by ``URL
SCHEMA`` separated by a space, and says that it is ready. For each number of seconds that it reads,
it lets its clients go round for so long, and says how many jobs that were, and how much processor
time it took.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from jobstore.live import Store
from jobstore.live.opening import owned_store
from jobstore.model.job import Claim, Dialect, Order, Submission
from jobstore.model.message import Request
from jobstore.store.ending import CapturedResponse

_BODY: Final = b"k" * 1024
_SLOTS: Final = 64
_SUBMISSION: Final = Submission(
    request=Request(method="POST", path="/echo", body=_BODY), target="/", dialect=Dialect.ARANGO
)
_ANSWER: Final = CapturedResponse(200, None, (), _BODY)


def _store(where: str) -> AbstractAsyncContextManager[Store]:
    url, _, schema = where.partition(" ")
    if not schema:
        return owned_store(Path(where))
    from jobstore.live.joining import Database, joined_store  # an extra

    return joined_store(Database(url=url, schema=schema))


@asynccontextmanager
async def _working(where: str) -> AsyncIterator[Store]:
    """Open a store whose jobs end as soon as they begin."""
    async with _store(where) as store:
        loop = asyncio.get_running_loop()

        def follow(order: Order) -> None:
            if isinstance(order, Claim):
                # As from the executor: when everybody knows that it has started. Who waits for a
                # job that has ended before waits in vain, for a tenth of a second.
                loop.call_soon(store.attempts.finish, order, _ANSWER, lambda _: None)

        store.work({"/": _SLOTS}, follow)
        beating = asyncio.create_task(_beat(store))
        try:
            yield store
        finally:
            beating.cancel()


async def _beat(store: Store) -> None:
    """Show the other nodes that this one lives."""
    while True:
        await store.others.beat()


async def _go_round(store: Store, until: float) -> int:
    """Submit jobs and take their results, one after the other; return how many."""
    jobs = 0
    while time.perf_counter() < until:
        job_id = await store.submit(_SUBMISSION)
        while not await _taken(store, job_id):
            pass
        jobs += 1
    return jobs


async def _taken(store: Store, job_id: int) -> bool:
    async with store.results.take(job_id) as delivery:
        return delivery is not None


async def main(where: str, clients: int) -> None:
    """Go round as often as somebody says so."""
    async with _working(where) as store:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            cpu, until = time.process_time(), time.perf_counter() + float(line)
            rounds = await asyncio.gather(*(_go_round(store, until) for _ in range(clients)))
            said = {"jobs": sum(rounds), "cpu": time.process_time() - cpu}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
