"""Everything that a server does by itself, from its start to its end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from jobstore.live.executor import Executor
from jobstore.live.janitor import Janitor
from jobstore.live.scheduler import Scheduler
from jobstore.live.store import Store
from jobstore.model.errors import StoreError, StoreLost

# How long to wait before trying again what is done in the background, if the store fails.
RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def background(
    store: Store, executor: Executor, scheduler: Scheduler, janitor: Janitor
) -> AsyncIterator[None]:
    """Recover, run jobs and clean up while the context lasts."""
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(executor.run()),
            tasks.create_task(_recover_and_go_on(store, executor, scheduler)),
            tasks.create_task(_persist("watch", executor.watch)),
            tasks.create_task(_persist("come due", store.come_due)),
            tasks.create_task(_persist("keep time", store.timekeeping.run)),
            tasks.create_task(_persist("clean", janitor.run)),
            tasks.create_task(_persist("show signs of life", store.pulse.run)),
            tasks.create_task(_persist("checkpoint", store.file.keep_wal_short)),
        ]
        try:
            await executor.begun.wait()  # who asks about a target must find it
            yield
        finally:
            for task in running:
                task.cancel()


async def _recover_and_go_on(store: Store, executor: Executor, scheduler: Scheduler) -> None:
    """Recover what an earlier start left behind; then schedules may start, as they depend on it."""
    await _persist("recover", executor.recover)
    operate = partial(store.operations.run, scheduler.target_of)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_persist("schedule", scheduler.run))
        tasks.create_task(_persist("operate", operate))


async def _persist(action: str, work: Callable[[], Awaitable[object]]) -> None:
    """Run a background loop, and start it again if it fails.

    An error in one of these loops must not end the others, nor the server.
    """
    while True:
        try:
            await work()
        except StoreLost:  # it has been said, and there is nothing more to do
            return
        except StoreError as error:
            log.warning("will try again: %s", error, extra={"action": action})
        except Exception:
            log.exception("will try again", extra={"action": action})
        else:
            return
        await asyncio.sleep(RETRY_SECONDS)
