"""What a service manager is told while the server starts, works and stops."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from jobstore.live import Store
from jobstore.model import clock
from jobstore.model.clock import SECOND, iso
from jobstore.service.meanwhile import meanwhile
from jobstore.service.systemd import Supervisor

log = logging.getLogger(__name__)

# How often to say what is going on, in seconds, and for how long to be waited for meanwhile.
_STATUS_SECONDS: Final = 10.0
_PATIENCE_SECONDS: Final = 60.0


@asynccontextmanager
async def starting(supervisor: Supervisor) -> AsyncIterator[None]:
    """Ask for more time while the context lasts: upgrading a large file takes long."""
    async with _if_heard(supervisor, _ask_for_patience(supervisor)):
        yield


@asynccontextmanager
async def attended(supervisor: Supervisor, store: Store) -> AsyncIterator[None]:
    """Report that the server is ready, and then send signs of life, while the context lasts.

    They do not follow a clock: each one follows a successful round of the store's writer.
    """
    supervisor.status(words_of(store))
    supervisor.ready()
    async with _if_heard(supervisor, _attend(supervisor, store)):
        yield


def words_of(store: Store) -> str:
    """Return a short description of the queue."""
    return f"{store.dispatcher.queued:,} queued, {len(store.running):,} running"


def reloaded(
    reload: Callable[[], None], asked: asyncio.Event, supervisor: Supervisor
) -> AbstractAsyncContextManager[None]:
    """Reload the configuration on request, while the context lasts."""
    return meanwhile(_reload(reload, asked, supervisor))


async def _reload(reload: Callable[[], None], asked: asyncio.Event, supervisor: Supervisor) -> None:
    while await asked.wait():
        asked.clear()
        supervisor.reloading()
        try:
            reload()
        except Exception:  # what runs goes on running
            log.exception("the configuration was not reloaded", extra={"action": "reload"})
        supervisor.ready()


def drain_words(store: Store, seconds: float) -> str:
    """Describe which jobs a stopping server waits for, until when, and what happens to others."""
    running, queued = len(store.running), store.dispatcher.queued
    jobs = "1 job is running" if running == 1 else f"{running:,} jobs are running"
    until = iso(clock.now() + int(seconds * SECOND))
    words = f"{jobs}; waiting for them until {until}" if running else "no jobs are running"
    stay = "; 1 queued job stays" if queued == 1 else f"; {queued:,} queued jobs stay"
    return f"{words}{f'{stay} for the next start' if queued else ''}"


@asynccontextmanager
async def _if_heard(supervisor: Supervisor, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something while the context lasts, if there is a service manager."""
    if not supervisor.listens:
        work.close()
        yield
        return
    async with meanwhile(work):
        yield


async def _ask_for_patience(supervisor: Supervisor) -> None:
    while True:
        supervisor.patience(_PATIENCE_SECONDS)
        await asyncio.sleep(_PATIENCE_SECONDS / 3)


async def _attend(supervisor: Supervisor, store: Store) -> None:
    while True:
        await store.pulse.beat()
        if supervisor.pulse is not None:
            supervisor.alive()
        supervisor.status(words_of(store))
        await asyncio.sleep(min(supervisor.pulse or _STATUS_SECONDS, _STATUS_SECONDS))
