"""Rates side by side: durable submits, full cycles and what passes through, in many ways."""

import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Final

from trials.bench import loads
from trials.bench.figures import Case, Row, interleaved
from trials.bench.loads import KIB
from trials.bench.plan import Plan, Yard
from trials.bench.scripts import Load
from trials.serving import Server

_SIZES: Final = (0, KIB, 64 * KIB)
# How many definitions stand in the file of one row.
_DEFINITIONS: Final = 10_000
_DEFINITION: Final = """
[[definition]]
name = "number {0}"
path = "/bench/{0}"
target = "/echo"
"""
_CELLS: Final = ("bare", "submit")
_CYCLES: Final = ("cycle", "longpoll")
_WAYS: Final = (
    "upstream",
    "upstream-longpoll",
    "kinetica",
    "password",
    "token",
    "definitions",
)
_PASSING: Final = ("passthrough",)
_METRICS: Final = ("metrics",)
KEYS: Final = (*_CELLS, *_CYCLES, *_WAYS, *_PASSING, *_METRICS)


def rows(plan: Plan) -> Iterator[Row]:
    """Measure all rates that are wanted."""
    if plan.wants(*_CELLS):
        for connections, size in product(plan.connections, _SIZES):
            yield from _group(plan, _CELLS, _cell, connections, size)
    if plan.wants(*_CYCLES):
        for connections in plan.connections:
            yield from _group(plan, _CYCLES, _cycles, connections)
    if plan.wants(*_WAYS):
        yield from _group(plan, _WAYS, _ways)
    if plan.wants(*_PASSING):
        yield from _group(plan, _PASSING, _passing)
    if plan.wants(*_METRICS):
        yield from _group(plan, _METRICS, _counting)


def _group(
    plan: Plan,
    keys: Sequence[str],
    cases: Callable[..., Iterator[Case]],
    *arguments: int,
) -> Iterator[Row]:
    """Measure cases side by side, of which those are shown that have one of the keys."""
    with plan.yard() as yard:
        chosen = [
            case for case in cases(plan, yard, *arguments) if plan.wants(case.key) or not case.base
        ]
        yield from (
            row
            for row in interleaved(chosen, plan.rounds)
            if row.key in keys and plan.wants(row.key)
        )


def label(what: str, connections: int, size: int = KIB) -> str:
    """Name a row."""
    length = f"{size // KIB} KiB" if size else "no body"
    return f"{what}, {connections} connection{'s' * (connections > 1)}, {length}"


def rate(plan: Plan, server: Server, key: str, name: str, load: Load) -> Case:
    """Make a case of a load on a server."""
    lasting = load.on(server.port).lasting(plan.seconds)
    return Case(key, name, "/s", partial(plan.rate, lasting, server.pid))


def bare(plan: Plan, server: Server, connections: int, size: int = KIB) -> Case:
    """Make the case that the others are a ratio to."""
    name = label("bare 202", connections, size)
    return rate(plan, server, "bare", name, loads.bare(size).by(connections))


def _cell(plan: Plan, yard: Yard, connections: int, size: int) -> Iterator[Case]:
    base = bare(plan, yard.bare(), connections, size)
    yield base
    if plan.wants("submit"):
        name = label("durable submit", connections, size)
        load = loads.submit(size).by(connections)
        yield rate(plan, _queue(plan, yard), "submit", name, load).to(base)


def _queue(plan: Plan, yard: Yard) -> Server:
    """Start a server that only takes jobs in: its one slot is taken for good."""
    server = yard.jobstore("queue", executor__concurrency=1, executor__queue_limit=10**9)
    plan.drive(loads.sleeper("GET").on(server.port))
    return server


def _cycles(plan: Plan, yard: Yard, connections: int) -> Iterator[Case]:
    server, base = yard.jobstore("cycle"), bare(plan, yard.bare(), connections)
    yield base
    for key, what, load in (
        ("cycle", "full cycle, polling", loads.cycle()),
        ("longpoll", "full cycle, long-polling", loads.waiting_cycle()),
    ):
        name = label(what, connections)
        yield rate(plan, server, key, name, load.by(connections)).to(base)


def _ways(plan: Plan, yard: Yard) -> Iterator[Case]:
    limit = yard.bare()
    base = bare(plan, limit, plan.most)
    yield base
    for key, what, server, load in _other_ways(plan, yard, limit):
        yield rate(plan, server, key, label(what, plan.most), load.by(plan.most)).to(base)


def _other_ways(plan: Plan, yard: Yard, limit: Server) -> Iterator[tuple[str, str, Server, Load]]:
    through = "cycle through an upstream"
    if plan.wants("upstream", "upstream-longpoll"):
        server = yard.jobstore("upstream", "--upstream", limit.url)
        yield "upstream", f"{through}, polling", server, loads.cycle()
        yield "upstream-longpoll", f"{through}, long-polling", server, loads.waiting_cycle()
    if plan.wants("kinetica"):
        yield "kinetica", "cycle in Kinetica's dialect", yard.jobstore("dialect"), loads.kinetica()
    if plan.wants("password", "token"):
        server, password, token = _account(yard)
        yield "password", "cycle with a password", server, loads.cycle(password)
        yield "token", "cycle with a token", server, loads.cycle(token)
    if plan.wants("definitions"):
        many = plan.many(_DEFINITIONS)
        server = _with_definitions(yard, many)
        yield "definitions", f"cycle beside {many:,} definitions", server, loads.cycle()


def _account(yard: Yard) -> tuple[Server, str, str]:
    """Start a server with an account; give the headers with its password and with a token."""
    store, password = ("--store", str(yard.file("account"))), secrets.token_urlsafe()
    yard.says("user", "add", "bench", "--password-stdin", *store, given=f"{password}\n")
    token = yard.says("user", "token", "bench", *store).strip()
    basic = b64encode(f"bench:{password}".encode()).decode()
    server = yard.jobstore("account")
    return server, f"Authorization: Basic {basic}\r\n", f"Authorization: Bearer {token}\r\n"


def _with_definitions(yard: Yard, many: int) -> Server:
    written = yard.folder / "many.toml"
    written.write_text("".join(_DEFINITION.format(number) for number in range(many)))
    yard.says("define", str(written), "--store", str(yard.file("many")))
    return yard.jobstore("many")


def _passing(plan: Plan, yard: Yard) -> Iterator[Case]:
    upstream = yard.bare()
    through = yard.jobstore("through", "--upstream", upstream.url)
    for connections, size in product(sorted({1, plan.most}), (KIB, 64 * KIB)):
        load = loads.direct(size).by(connections)
        name = label("the upstream itself", connections, size)
        base = rate(plan, upstream, "passthrough", name, load)
        yield base
        passing = label("pass-through", connections, size)
        yield rate(plan, through, "passthrough", passing, load).to(base)


def _counting(plan: Plan, yard: Yard) -> Iterator[Case]:
    """Measure what it costs that all is counted for Prometheus."""
    off = {"metrics__enabled": "false"}
    queue = {"executor__concurrency": 1, "executor__queue_limit": 10**9}
    for what, load, settings in (
        ("durable submit", loads.submit(), queue),
        ("full cycle", loads.waiting_cycle(), {}),
    ):
        name = what.split()[-1]
        silent = yard.jobstore(f"{name}-off", **settings, **off)
        counting = yard.jobstore(f"{name}-on", **settings)
        if settings:  # as for `_queue`: the one slot is taken for good
            for server in (silent, counting):
                plan.drive(loads.sleeper("GET").on(server.port))
        by = load.by(plan.most)
        base = rate(plan, silent, "metrics", label(f"{what} without metrics", plan.most), by)
        yield base
        with_metrics = label(f"{what} with metrics", plan.most)
        yield rate(plan, counting, "metrics", with_metrics, by).to(base)
