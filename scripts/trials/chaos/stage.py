"""Where a round takes place: a store, servers that come and go, customers, and the ledger."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from trials.chaos import evidence, lives, worker
from trials.chaos.chance import stream
from trials.chaos.client import BrokenError, Client
from trials.chaos.customers import Customer
from trials.chaos.evidence import Execution, Place, Shared
from trials.chaos.ledger import Ledger, Sent
from trials.chaos.lives import Life, NotStartedError
from trials.chaos.rules import Terms
from trials.chaos.submissions import Work, demo_work
from trials.doomed import Clock, Doom

LIVES: Final = 12
FEWEST_CUSTOMERS: Final = 8
MOST_CUSTOMERS: Final = 16
# How long to rest before the next try to connect.
_REST_SECONDS: Final = 0.005

# Few slots, so that jobs wait as well; a short drain, so that some are left running.
_SETTINGS: Final = {
    "JOBSTORE_SERVER__DIALECTS": "kinetica,datameer",
    "JOBSTORE_EXECUTOR__CONCURRENCY": "4",
    "JOBSTORE_EXECUTOR__DRAIN": "100ms",
    "JOBSTORE_RETENTION__UNFETCHED": "never",
    "JOBSTORE_RETENTION__FETCHED": "24h",
    "JOBSTORE_RETENTION__HISTORY": "never",
    "JOBSTORE_RETENTION__INTERVAL": "50ms",
}


@dataclass(slots=True)
class Totals:
    """What a round was made of.

    Args:
        kills: how many servers were killed.
        stops: how many were asked to stop.
        cuts: how many connections were cut.
        powercuts: how many copies were opened as if after a power cut.
    """

    kills: int = 0
    stops: int = 0
    cuts: int = 0
    powercuts: int = 0


@dataclass(slots=True)
class Stage:
    """A round's store, and all that is done to it.

    Args:
        seed: what decides about everything.
        folder: where all files are.
        lives: of how many servers it is the end, more or less.
        crowd: how many customers there are; chance decides if it is 0.
        home: where the store is; in the folder, too, if nothing is said.
        shared: where it is instead, if it is in a database.
        work: what the customers' jobs are.
        settings: what is added to the servers' environment.
        target: the arguments that say who answers.
        terms: what the rules have to allow.
        complaints: what was wrong besides what the rules find.
        unread: how many results were marked as taken before anybody had read them.
        totals: what the round is made of.
        witnessed: what targets in other processes were asked to work for.
        ledger: what the customers were told.
    """

    seed: int
    folder: Path
    lives: int = LIVES
    crowd: int = 0
    home: Path = Path()
    shared: Shared | None = None
    work: Work = demo_work
    settings: dict[str, str] = field(default_factory=dict)
    target: Sequence[str] = ("--app", "trials.chaos.worker:create_app")
    terms: Terms = field(default_factory=Terms)
    complaints: list[str] = field(default_factory=list)
    unread: int = 0
    witnessed: Counter[Execution] = field(default_factory=Counter)
    totals: Totals = field(default_factory=Totals)
    ledger: Ledger = field(default_factory=Ledger)
    chance: Random = field(init=False)
    customers: list[Customer] = field(init=False)
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.chance = stream(self.seed, "faults")
        self.clock = Clock(self.folder / "clock")
        count = self.crowd or self.chance.randint(FEWEST_CUSTOMERS, MOST_CUSTOMERS)
        self.customers = [
            Customer(self.seed, number, self.ledger, self._work) for number in range(count)
        ]

    def _work(self, chance: Random, number: int) -> Sent:
        return self.work(chance, number)

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.folder / self.home / "jobs.db"

    @property
    def place(self) -> Place:
        """The store, whatever it is in."""
        return self.shared or self.store

    @property
    def log(self) -> Path:
        """What the servers have said."""
        return self.folder / "log"

    @property
    def logs(self) -> list[Path]:
        """The same, and what nodes have said that have logs of their own."""
        return sorted(self.folder.glob("log*"))

    @property
    def record(self) -> Path:
        """What the targets in process have put down."""
        return self.folder / "record"

    def executions(self) -> Counter[Execution]:
        """Count what the targets were asked to work for."""
        return evidence.recorded(self.record) + self.witnessed

    # --- servers --------------------------------------------------------------------------------

    async def start(
        self, doom: Doom | None = None, settings: Mapping[str, str] | None = None
    ) -> Life:
        """Start a server.

        Args:
            doom: when it kills itself.
            settings: what is added to its environment, for this life.

        Raises:
            NotStartedError: it has ended before it answered.
        """
        environment = {**self.settings, **(settings or {})}
        if doom:
            environment |= doom.environment()
        return await serve(self, self.place, self.record, environment)

    @asynccontextmanager
    async def life(self, doom: Doom | None = None) -> AsyncIterator[Life]:
        """Run a server that is killed when the context ends, if it has not been before."""
        life = await self.start(doom)
        try:
            yield life
        finally:
            life.kill()
            await life.ended()
            self.totals.kills += 1

    async def doomed(self, doom: Doom, answers: int) -> None:
        """Run a server until it kills itself, but not for more than so many answers."""
        try:
            async with self.life(doom) as life:
                await self.load(life, answers, life.kill)
        except NotStartedError:
            self.totals.kills += 1

    # --- customers ------------------------------------------------------------------------------

    async def load(
        self,
        life: Life,
        answers: int,
        then: Callable[[], object] | None = None,
        url: str | None = None,
    ) -> None:
        """Let the customers ask for anything until a server has answered so often, or is gone.

        Args:
            life: the server.
            answers: how many answers are seen.
            then: what is done then; if anything is, the customers go on until the server is gone.
            url: where the server is reached, if not directly.
        """
        left = answers

        def answered() -> bool:
            nonlocal left
            left -= 1
            if left == 0 and then:
                then()
            return left > 0 or then is not None

        where = url or life.url
        await asyncio.gather(
            *(self._custom(each, life, where, answered) for each in self.customers)
        )

    async def _custom(
        self, customer: Customer, life: Life, url: str, answered: Callable[[], bool]
    ) -> None:
        going_on = True

        def go_on() -> bool:
            nonlocal going_on
            going_on = answered()
            return going_on

        while going_on and not life.over.is_set():
            client = Client(url)
            try:
                await customer.go_on(client, go_on)
            except BrokenError:
                await asyncio.sleep(_REST_SECONDS)
            finally:
                client.close(reset=True)


async def serve(
    stage: Stage,
    store: Place,
    record: Path,
    environment: Mapping[str, str],
    log: Path | None = None,
) -> Life:
    """Start a server for a store of the stage, which has the stage's log or one of its own."""
    own = {**_SETTINGS, **stage.clock.environment(), worker.RECORD: str(record)}
    arguments = ["serve", "--port", "0", *stage.target]
    if isinstance(store, Shared):
        own["JOBSTORE_STORE__URL"] = store.url
    else:
        arguments += ["--store", str(store)]
    return await lives.start(arguments, {**own, **environment}, log or stage.log)
