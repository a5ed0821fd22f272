"""What a call of a handler costs in process, beside the same over a socket.

``python -m trials.bench.calls N`` calls N times, and prints how many microseconds one call took.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from aiohttp import web

from jobstore.model.handle import AttemptHandle
from jobstore.model.message import Request
from jobstore.targets.inprocess import InProcess
from trials.bench import loads
from trials.bench.bare import create_app
from trials.bench.figures import Case, Row, Sample, interleaved
from trials.bench.plan import Plan, Yard
from trials.serving import Server

KEYS: Final = ("inprocess",)
_CALLS: Final = 20_000


def rows(plan: Plan) -> Iterator[Row]:
    """Measure both, side by side."""
    if plan.wants(*KEYS):
        with plan.yard() as yard:
            over_loopback = partial(_over_loopback, plan, yard.bare())
            base = Case("inprocess", "call of a handler over loopback", "µs", over_loopback)
            in_process = partial(_in_process, yard, str(plan.many(_CALLS)))
            case = Case("inprocess", "call of a handler in process", "µs", in_process).to(base)
            yield from interleaved([base, case], plan.rounds)


def _over_loopback(plan: Plan, server: Server) -> Sample:
    load = loads.direct().on(server.port).lasting(plan.seconds)
    return Sample(1e6 / plan.drive(load).per_second)


def _in_process(yard: Yard, calls: str) -> Sample:
    return Sample(float(yard.python("-m", "trials.bench.calls", calls)))


async def _call(calls: int) -> float:
    """Call a handler so often; return how many microseconds one call took."""
    runner = web.AppRunner(create_app())
    await runner.setup()
    assert runner.server is not None
    target = InProcess(runner.server)
    request = Request(method="POST", path="/echo", body=loads.body(loads.KIB))
    start = time.perf_counter()
    for _ in range(calls):
        async with target.send(request, AttemptHandle()) as response:
            assert isinstance(response.body, bytes)
    seconds = time.perf_counter() - start
    await runner.cleanup()
    return seconds / calls * 1e6


if __name__ == "__main__":
    print(asyncio.run(_call(int(sys.argv[1]))))
