"""What nodes tell one another, so that nobody has to look for it: by LISTEN and NOTIFY.

A notice is a hint and nothing more. It is sent after the commit, at most one at a time, from a
connection of its own, and none of it is promised to arrive: a node that hears nothing finds out by
itself at its next beat. So nothing waits for a notice, and a lost one costs only time.

A notice names the start of the node that sends it, which does not listen to itself; then what it is
about, and whose.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from threading import Event, Thread
from time import sleep
from typing import Final, TypeAlias

import psycopg
from psycopg import sql

from jobstore.model.errors import StoreError
from jobstore.store.about import About
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql.engine import Connection, Link, connect

# PostgreSQL takes 8,000 bytes: https://www.postgresql.org/docs/current/sql-notify.html
_MOST: Final = 400  # ids in one notice
_LOOK_SECONDS: Final = 1.0
_PAUSE: Final = 1.0

log = logging.getLogger(__name__)


Hear: TypeAlias = Callable[[About, Sequence[int]], None]


class Notices:
    """Tell the other nodes, and hear them.

    Args:
        side: where notices are sent.
        boot: this start of the node.
        hear: called on the loop with what another node has told.
    """

    def __init__(self, url: str, schema: str, side: Connection, boot: OwnBoot, hear: Hear) -> None:
        self._url = url
        self._schema = schema
        self._channel = f"jobstore_{schema}"[:63]
        self._side = side
        self._boot = boot
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._stopped = Event()
        self._listening = Thread(target=self._listen, name="jobstore-notices", daemon=True)
        self._waiting: dict[About, dict[int, None]] = {}
        self._sending: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to listen."""
        self._listening.start()

    async def end(self) -> None:
        """Listen no more, and forget what was not sent yet."""
        self._stopped.set()
        if self._sending is not None:
            self._sending.cancel()
        await asyncio.to_thread(self._listening.join)

    def tell(self, about: About, ids: Iterable[int] = ()) -> None:
        """Tell the other nodes, in a moment."""
        self._waiting.setdefault(about, {}).update(dict.fromkeys(ids))
        if self._sending is None:
            self._sending = self._loop.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._waiting:
                about, ids = self._waiting.popitem()
                some = [*ids]
                for start in range(0, max(len(some), 1), _MOST):
                    words = [self._boot.number, about, *some[start : start + _MOST]]
                    await self._side.call(self._notify, " ".join(map(str, words)))
        except StoreError as error:  # they find out by themselves
            log.debug("%s", error, extra={"action": "notify"})
            self._waiting.clear()
        finally:
            self._sending = None

    def _notify(self, link: Link, payload: str) -> None:
        link.execute("SELECT pg_notify(%s, %s)", (self._channel, payload))

    # --- in a thread of its own -----------------------------------------------------------------

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                link = connect(self._url, self._schema)
                with link:
                    link.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    while not self._stopped.is_set():
                        for notice in link.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                            self._loop.call_soon_threadsafe(self._heard, notice.payload)
            except psycopg.Error:
                sleep(_PAUSE)
            except RuntimeError:  # the loop is closed
                return

    def _heard(self, payload: str) -> None:
        boot, about, *ids = payload.split()
        if int(boot) != self._boot.number:
            self._hear(About(about), [int(job_id) for job_id in ids])
