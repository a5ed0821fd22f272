"""One, two and three nodes on PostgreSQL, beside one server on a file in the same run."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from typing import Final

from trials.bench import loads
from trials.bench.figures import Case, Row, Sample, interleaved
from trials.bench.plan import Plan, Yard, processor_time
from trials.bench.rates import label
from trials.postgres import NoPostgres, Postgres, programs

KEYS: Final = ("nodes-store", "nodes", "nodes-slots", "nodes-wakeup")
_MOST: Final = 3
# What a job is that takes its time, where slots are what there is too little of.
_MILLISECONDS: Final = 100
_SLOTS: Final = 16
_CLIENTS: Final = 24  # of each node
_READINGS: Final = 20


def rows(plan: Plan) -> Iterator[Row]:
    """Measure what is wanted, if there is a PostgreSQL."""
    if not plan.wants(*KEYS):
        return
    try:
        programs()
    except NoPostgres as error:
        print(f"{', '.join(KEYS)} are left out: {error}")
        return
    with Postgres(durable=True) as postgres:
        for key, cases in zip(KEYS, (_stores, _cycles, _slots, _wakeups), strict=True):
            if plan.wants(key):
                with plan.yard() as yard:
                    yield from interleaved([*cases(plan, yard, postgres)], plan.rounds)


def _name(nodes: int) -> str:
    return f"{nodes} node{'s' * (nodes > 1)}"


# --- the store alone ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stores:
    """Processes that have a store in common, and nothing to do with HTTP."""

    processes: Sequence["subprocess.Popen[str]"]
    servers: Sequence[int]

    def measure(self, seconds: float) -> Sample:
        """Let all of them go round for so long."""
        before, began = processor_time(self.servers), time.perf_counter()
        for each in self.processes:
            assert each.stdin
            each.stdin.write(f"{seconds}\n")
            each.stdin.flush()
        said = [json.loads(each.stdout.readline()) for each in self.processes if each.stdout]
        took, cpu = time.perf_counter() - began, processor_time(self.servers) - before
        jobs, own = (sum(each[name] for each in said) for name in ("jobs", "cpu"))
        return Sample(jobs / took, own / jobs * 1e6, more={"database_cpu_us": cpu / jobs * 1e6})


def _stores(plan: Plan, yard: Yard, postgres: Postgres) -> Iterator[Case]:
    what = f"the store alone: cycles, {plan.most} clients, "
    base = _stored(plan, yard, what + "a file", [str(yard.file("alone"))], [])
    yield base
    for nodes in range(1, _MOST + 1):
        where = [f"{postgres.url} store_{nodes}"] * nodes
        yield _stored(plan, yard, what + _name(nodes), where, [postgres.pid]).to(base)


def _stored(
    plan: Plan, yard: Yard, name: str, where: Sequence[str], servers: Sequence[int]
) -> Case:
    clients = max(1, plan.most // len(where))
    processes = [yard.stack.enter_context(_storing(yard, each, clients)) for each in where]
    measure = partial(_Stores(processes, servers).measure, plan.seconds)
    return Case("nodes-store", name, "/s", measure)


@contextmanager
def _storing(yard: Yard, where: str, clients: int) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "trials.bench.stored", where, str(clients)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=yard.folder,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            if process.stdout.readline() != "ready\n":
                raise ChildProcessError(f"{where} cannot be opened")
            yield process
        finally:
            process.stdin.close()  # which ends it


# --- over HTTP ------------------------------------------------------------------------------------


def _servers(
    yard: Yard, postgres: Postgres, schema: str, nodes: int, **settings: object
) -> tuple[list[int], list[int]]:
    """Start nodes; give their ports and their numbers."""
    servers = [yard.node(postgres.url, store__schema=schema, **settings) for _ in range(nodes)]
    return [each.port for each in servers], [each.pid for each in servers]


def _cycles(plan: Plan, yard: Yard, postgres: Postgres) -> Iterator[Case]:
    load = loads.waiting_cycle().by(plan.most).lasting(plan.seconds)
    what = "full cycle, long-polling, "
    server = yard.jobstore("beside")
    measure = partial(plan.rate, load.on(server.port), server.pid)
    base = Case("nodes", label(what + "a file", plan.most), "/s", measure)
    yield base
    for nodes in range(1, _MOST + 1):
        ports, pids = _servers(yard, postgres, f"cycle_{nodes}", nodes)
        measure = partial(plan.rate, load.on(*ports), *pids, postgres.pid)
        yield Case("nodes", label(what + _name(nodes), plan.most), "/s", measure).to(base)


def _slots(plan: Plan, yard: Yard, postgres: Postgres) -> Iterator[Case]:
    base = None
    for nodes in range(1, _MOST + 1):
        few = {"executor__concurrency": _SLOTS}
        ports, pids = _servers(yard, postgres, f"slots_{nodes}", nodes, **few)
        load = loads.sleeping_cycle(_MILLISECONDS, _answer_size(ports[0]))
        load = load.on(*ports).by(nodes * _CLIENTS).lasting(plan.seconds)
        name = f"jobs of {_MILLISECONDS} ms, {_SLOTS} slots and {_CLIENTS} clients a node, "
        measure = partial(plan.rate, load, *pids, postgres.pid)
        case = Case("nodes-slots", name + _name(nodes), "/s", measure)
        yield case.to(base) if base else case
        base = base or case


def _answer_size(port: int) -> int:
    """Ask the target itself how long its answer is."""
    status, body = _asked(port, "POST", f"/_admin/sleep?duration={_MILLISECONDS / 1000}", {})[:2]
    assert status == 200, body
    return len(body)


# --- who waits elsewhere --------------------------------------------------------------------------


def _wakeups(plan: Plan, yard: Yard, postgres: Postgres) -> Iterator[Case]:
    del plan
    (one, other), _ = _servers(yard, postgres, "wakeup", 2)
    what = f"from the end of a job of {_MILLISECONDS} ms to who waits at "
    here = Case("nodes-wakeup", what + "its node", "ms", partial(_woken, one, one))
    yield here
    yield Case("nodes-wakeup", what + "another node", "ms", partial(_woken, one, other)).to(here)


def _woken(submitted: int, read: int) -> Sample:
    """Submit at one node and wait at another; tell how long that takes more than the job."""
    took = sorted(_reading(submitted, read) for _ in range(_READINGS))
    return Sample(took[len(took) // 2], more={"worst_ms": took[-1]})


def _reading(submitted: int, read: int) -> float:
    path = f"/_admin/sleep?duration={_MILLISECONDS / 1000}"
    began = time.perf_counter()
    job_id = _asked(submitted, "POST", path, {"x-arango-async": "store"})[2]
    status = _asked(read, "PUT", f"/_api/job/{job_id}", {"Prefer": "wait=30"})[0]
    assert status == 200, status
    return (time.perf_counter() - began) * 1000 - _MILLISECONDS


def _asked(port: int, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes, str]:
    connection = HTTPConnection("127.0.0.1", port)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), response.getheader("x-arango-async-id", "")
    finally:
        connection.close()
