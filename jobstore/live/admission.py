"""Why a submission is refused: a full queue, a server that is stopping, an owner at a limit.

What can be decided at once is refused at once, before a body is read. What has to be exact is
decided again in the transaction, which counts everything that came before.
"""

from jobstore.live.dispatch import Dispatcher
from jobstore.live.owners import Owners
from jobstore.model.errors import QueueFull, ShuttingDown, TooDeep
from jobstore.model.handle import depth_here
from jobstore.store import submitting
from jobstore.store.transaction import Transaction


class Admission:
    """Accept jobs, or say why not.

    Args:
        dispatcher: knows how many jobs wait.
        owners: the limits of one owner; None for commands, which run with access to the file.
        queue: how many jobs may be queued.
        depth: the longest chain of jobs that submit jobs.
        shared: whether other nodes accept jobs too.

    Attributes:
        open: whether any jobs are accepted.
        limit: how many jobs may be queued.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        owners: Owners | None,
        queue: int,
        depth: int,
        *,
        shared: bool = False,
    ) -> None:
        self._shared = shared
        self.open = True
        self._dispatcher = dispatcher
        self._owners = owners
        self.limit = queue
        self._depth = depth

    def check(self, account: int, jobs: int = 1) -> None:
        """Refuse what can be refused before its body is read.

        Raises:
            NotAccepting: the queue is full, or the server is shutting down.
            OwnerLimit: the account has submitted too many jobs lately.
            TooDeep: the chain of jobs that submit jobs is too long.
        """
        self.check_open(jobs)
        if depth_here() > self._depth:
            raise TooDeep(self._depth)
        if self._owners is not None:
            self._owners.check_rate(account, jobs)

    def check_open(self, jobs: int = 1) -> None:
        """Refuse everything while the queue is full or the server drains."""
        if not self.open:
            raise ShuttingDown
        if self._dispatcher.queued + jobs > self.limit:
            raise QueueFull(self.limit)

    @property
    def bounded(self) -> bool:
        """Whether an account's usage has to be read."""
        owners = self._owners
        return owners is not None and (owners.bounded or (self._shared and owners.rated))

    def check_room(self, tx: Transaction, account: int, jobs: int = 1) -> None:
        """Refuse jobs that exceed a limit now.

        Raises:
            NotAccepting: the queue is full.
            OwnerLimit: the account has too many queued jobs, or too many bytes stored.
        """
        if self._dispatcher.waiting(tx) + jobs > self.limit:
            raise QueueFull(self.limit)
        self.check_usage(tx, account, jobs)
        if tx.shared and self._owners is not None:
            self._owners.check_rate_of_all(tx, account, jobs)

    def check_usage(self, tx: Transaction, account: int, jobs: int) -> None:
        """Refuse what exceeds the limits of an owner.

        Raises:
            OwnerLimit: the account has too many queued jobs, or too many bytes stored.
        """
        if self._owners is not None and self._owners.bounded:
            self._owners.check_usage(*submitting.usage(tx, account), jobs)

    def room(self, tx: Transaction) -> int:
        """Return how many jobs a transaction may accept."""
        return self.limit - self._dispatcher.waiting(tx) if self.open else 0
