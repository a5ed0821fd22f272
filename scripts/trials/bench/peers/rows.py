"""The same HTTP work on peers, side by side with jobstore."""

import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from trials.bench import loads
from trials.bench.figures import Case, Row, interleaved
from trials.bench.peers import daemons
from trials.bench.peers.daemons import Daemon
from trials.bench.plan import Plan, Yard
from trials.bench.rates import bare, label, rate
from trials.bench.scripts import Load


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else who does the work.

    Args:
        what: its name, and what makes a submission durable there.
        packages: what has to be installed from PyPI.
        daemon: the server that it needs.
        load: how clients best ask for results there.
    """

    what: str
    packages: tuple[str, ...]
    daemon: Daemon
    load: Load

    def missing(self, folder: Path) -> str:
        """Tell what it lacks in a folder, or ""."""
        packages = [f"the package {name}" for name in self.packages if not find_spec(name)]
        return ", ".join(filter(None, [*packages, self.daemon.missing(folder)]))


PEERS: Final = {
    "huey": Peer("huey, SQLite with fsync", ("huey",), daemons.NONE, loads.waiting_cycle()),
    "saq": Peer("SAQ, Redis with fsync", ("saq", "redis"), daemons.REDIS, loads.cycle()),
    "arq": Peer("arq, Redis with fsync", ("arq",), daemons.REDIS, loads.waiting_cycle()),
    "procrastinate": Peer(
        "procrastinate, PostgreSQL",
        ("procrastinate", "psycopg", "psycopg_pool"),
        daemons.POSTGRES,
        loads.waiting_cycle(),
    ),
}
KEYS: Final = tuple(PEERS)


def rows(plan: Plan) -> Iterator[Row]:
    """Measure the peers that are wanted and installed, and jobstore beside them."""
    chosen = {key: PEERS[key] for key in PEERS if plan.wants(key)}
    for key, peer in [*chosen.items()]:
        if missing := peer.missing(plan.folder):
            print(f"{key} is left out, for want of {missing}")
            del chosen[key]
    if chosen:
        with plan.yard() as yard:
            yield from list(interleaved([*_cases(plan, yard, chosen)], plan.rounds))[1:]


def _cases(plan: Plan, yard: Yard, chosen: dict[str, Peer]) -> Iterator[Case]:
    base = bare(plan, yard.bare(), plan.most)
    yield base
    load = loads.waiting_cycle().by(plan.most)
    name = label("beside its peers: jobstore", plan.most)
    yield rate(plan, yard.jobstore("jobs"), "longpoll", name, load).to(base)
    for key, peer in chosen.items():
        yield _case(plan, yard, key, peer).to(base)


def _case(plan: Plan, yard: Yard, key: str, peer: Peer) -> Case:
    place = peer.daemon.start(yard)
    module = ("-m", "trials.bench.peers.front", key)
    front = yard.program(*module, "front", place.where)
    worker = daemons.running([sys.executable, *module, "work", place.where], signal.SIGKILL)
    pids = (front.pid, yard.stack.enter_context(worker).pid, *place.pids)
    load = peer.load.on(front.port).by(plan.most).lasting(plan.seconds)
    name = label(f"the peer {peer.what}", plan.most)
    return Case(key, name, "/s", partial(plan.rate, load, *pids))
