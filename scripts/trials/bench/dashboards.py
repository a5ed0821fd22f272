"""What it costs that people look: full cycles beside as many open pages of the dashboard."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from select import EPOLLIN, epoll
from threading import Event, Thread
from typing import Final

from trials.bench import loads
from trials.bench.figures import Row, interleaved
from trials.bench.plan import Plan
from trials.bench.rates import label, rate
from trials.bench.scripts import message

KEYS: Final = ("dashboards",)
_PAGES: Final = 50
_FEED: Final = message("GET", "/_jobs/ui/feed")
_READ: Final = 64 * 1024
_LOOK: Final = 0.2  # how often to look whether to go on, in seconds


def rows(plan: Plan) -> Iterator[Row]:
    """Measure both, side by side."""
    if not plan.wants(*KEYS):
        return
    with plan.yard() as yard:
        alone, watched = yard.jobstore("alone"), yard.jobstore("watched")
        load = loads.waiting_cycle().by(plan.most)
        base = rate(plan, alone, "dashboards", label("cycle, nobody looks", plan.most), load)
        yard.stack.enter_context(looking(watched.port, _PAGES))
        name = label(f"cycle, {_PAGES} pages open", plan.most)
        case = rate(plan, watched, "dashboards", name, load).to(base)
        yield from interleaved([base, case], plan.rounds)


@contextmanager
def looking(port: int, pages: int) -> Iterator[None]:
    """Be told what pages are told, and throw it away."""
    over = Event()
    with ExitStack() as stack:
        waiting = stack.enter_context(epoll())
        sockets = {}
        for _ in range(pages):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            each.sendall(_FEED)
            waiting.register(each, EPOLLIN)
            sockets[each.fileno()] = each
        thread = Thread(target=partial(_read, waiting, sockets, over), daemon=True)
        thread.start()
        yield
        over.set()
        thread.join()


def _read(waiting: epoll, sockets: dict[int, socket.socket], over: Event) -> None:
    while not over.is_set():
        for number, _ in waiting.poll(_LOOK):
            if not sockets[number].recv(_READ):
                raise ConnectionResetError("the server tells pages nothing any more")
