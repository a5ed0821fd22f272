"""One of the nodes: its process, its way to the database, and how long its clients wait."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from trials.chaos.client import Answer, Ask, Client
from trials.chaos.evidence import Shared
from trials.chaos.lives import Life, NotStartedError
from trials.chaos.nodes.waits import Wait, Waits
from trials.chaos.proxy import Proxy
from trials.chaos.stage import Stage, serve

# How long to rest before the next try to start a node whose database is away.
_REST_SECONDS: Final = 0.2


@dataclass(slots=True)
class Node:
    """A node that is started again whenever it ends.

    Args:
        number: which one it is.
        stage: says how it is configured.
        proxy: its way to the database.
        life: its process; None while there is none.
        struck: what is being done to it, or "".
        frozen: whether its process stands still.
        freezes: how often it did.
    """

    number: int
    stage: Stage
    proxy: Proxy
    life: Life | None = None
    struck: str = ""
    frozen: bool = False
    freezes: int = 0

    @property
    def name(self) -> str:
        """What it is called."""
        return f"node-{self.number}"

    async def start(self) -> None:
        """Start it, as soon as there is a database."""
        store = Shared(f"postgresql://postgres@127.0.0.1:{urlsplit(self.proxy.url).port}/postgres")
        environment = {**self.stage.settings, "JOBSTORE_STORE__NAME": self.name}
        log = self.stage.folder / f"log-{self.number}"
        while self.life is None:
            try:
                self.life = await serve(self.stage, store, self.stage.record, environment, log)
            except NotStartedError:
                await asyncio.sleep(_REST_SECONDS)

    async def kill(self) -> None:
        """Kill it as kill -9 does."""
        life, self.life = self.life, None
        if life is not None:
            life.kill()
            await life.ended()

    async def stop(self) -> None:
        """Ask it to stop, and complain unless it does so properly."""
        life, self.life = self.life, None
        if life is not None and (code := await life.stop()):
            self.stage.complaints.append(f"{self.name} was asked to stop, and ended with {code}")
        self.stage.totals.stops += 1

    async def revive(self) -> None:
        """Start it again if it has ended by itself, and complain."""
        if self.life is not None and self.life.over.is_set():
            life, self.life = self.life, None
            self.stage.complaints.append(f"{self.name} ended by itself, with {await life.ended()}")
            await self.start()

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Let its process stand still while the context lasts."""
        assert self.life is not None
        self.freezes += 1
        self.frozen = True
        self.life.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.life.process.send_signal(signal.SIGCONT)
            self.frozen = False


class NodeClient(Client):
    """A client of a node that notes how long it waits.

    Args:
        node: the node, whose process it is the client of.
        waits: where it notes that.
        patience: as of any client.

    Attributes:
        refused: whether the last answer was to come again.
    """

    def __init__(self, node: Node, waits: Waits, patience: float | None) -> None:
        assert node.life is not None
        super().__init__(node.life.url, patience)
        self.refused = False
        self._node = node
        self._waits = waits

    async def ask(self, ask: Ask) -> Answer:
        """Send a request and read its answer to the end."""
        node, waits = self._node, self._waits
        began, late = waits.clock(), waits.late
        freezes = None if node.frozen else node.freezes
        answer = await super().ask(ask)
        self.refused = answer.is_for_now
        if freezes == node.freezes:
            waits.all.append(
                Wait(
                    ask=ask,
                    node=node.name,
                    began=began,
                    took=waits.clock() - began,
                    status=answer.status,
                    away=answer.is_for_now or answer.is_unsure,
                    late=waits.late - late,
                )
            )
        return answer
