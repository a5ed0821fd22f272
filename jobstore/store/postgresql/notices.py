"""Notifications between nodes, by LISTEN and NOTIFY, so that nobody has to poll.

A notice is a hint and nothing more. It is sent after the commit, at most one at a time, from a
connection of its own, and it may get lost: a node that misses it finds out at its next beat. So
nothing waits for a notice, and a lost one only costs time.

A notice names the start of the node that sends it, which ignores its own; then its subject and
the id that it is about.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

import psycopg
from psycopg import sql

from jobstore.store.about import About
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql.engine import DatabaseConnection

# PostgreSQL takes 8,000 bytes: https://www.postgresql.org/docs/current/sql-notify.html
_MOST: Final = 400  # ids in one notice
_PAUSE: Final = 1.0
# It is a commit, and nobody has to wait until a hint is on the disk.
_NOTIFY: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)"

Hear: TypeAlias = Callable[[About, Sequence[int]], Awaitable[None]]

log = logging.getLogger(__name__)


class Notices:
    """Notify the other nodes, and listen to them.

    Args:
        telling: the connection for sending.
        listening: the connection for listening.
        boot: this start of the node.
        hear: called with each notice of another node.
        company: returns whether there are other nodes.
    """

    def __init__(
        self,
        schema: str,
        telling: DatabaseConnection,
        listening: DatabaseConnection,
        boot: OwnBoot,
        *,
        hear: Hear,
        company: Callable[[], bool] = lambda: True,
    ) -> None:
        self._channel = f"jobstore_{schema}"[:63]
        self._telling = telling
        self._listening = listening
        self._boot = boot
        self._hear = hear
        self._company = company
        self._waiting: dict[About, dict[int, None]] = {}
        self._sending: asyncio.Task[None] | None = None

    def tell(self, about: About, ids: Iterable[int] = ()) -> None:
        """Notify the other nodes in a moment, if there are any."""
        if about is not About.HERE and not self._company():
            return
        self._waiting.setdefault(about, {}).update(dict.fromkeys(ids))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._waiting:
                about, ids = self._waiting.popitem()
                some = [*ids]
                for start in range(0, max(len(some), 1), _MOST):
                    words = [self._boot.number, about, *some[start : start + _MOST]]
                    link = await self._telling.link()
                    text = " ".join(map(str, words))
                    await link.execute(_NOTIFY, (self._channel, text))
        except psycopg.Error as error:  # they find out by themselves
            log.debug("%s", error, extra={"action": "notify"})
            self._waiting.clear()
        finally:
            self._sending = None

    async def close(self) -> None:
        """Send the remaining notices."""
        if self._sending is not None:
            await asyncio.wait([self._sending])

    async def listen(self) -> None:
        """Listen to other nodes, until cancelled."""
        while True:
            try:
                link = await self._listening.link()
                await link.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                self.tell(About.HERE)
                async for notice in link.notifies():
                    await self._heard(notice.payload)
            except psycopg.Error as error:
                log.debug("%s", error, extra={"action": "listen"})
                await self._listening.drop()
                await asyncio.sleep(_PAUSE)

    async def _heard(self, payload: str) -> None:
        boot, about, *ids = payload.split()
        if about not in set(About):  # a newer node says what is news to nobody here
            return
        if int(boot) != self._boot.number:
            await self._hear(About(about), [int(job_id) for job_id in ids])
