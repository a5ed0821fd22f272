"""Whether a store can be written: for the log, for health checks, and for the writer itself.

*Troubled* is a store whose disk has failed: it is tried again until something was committed. *Lost*
is one whose files were removed or replaced: it stays lost until the server is restarted, since
nobody knows what others have done to the files meanwhile.
"""

import logging
from collections.abc import Iterable

from jobstore.model.errors import StoreError, StoreFailing, StoreLost, StoreUnsure
from jobstore.store.sqlite.presence import Presence

log = logging.getLogger(__name__)


class Condition:
    """The condition of the store that one process writes to.

    Args:
        presence: checks the files before and after each transaction; None for no check.

    Attributes:
        trouble: why nothing can be written, by the last try; None if it can.
    """

    def __init__(self, presence: Presence | None) -> None:
        self._presence = presence
        self.trouble: StoreError | None = None

    @property
    def lost(self) -> bool:
        """Whether nothing is written any more."""
        return isinstance(self.trouble, StoreLost)

    @property
    def rescuable(self) -> bool:
        """Whether the WAL of a lost store may still be checkpointed into its file."""
        return self._presence is not None and not self._presence.replaced

    @property
    def in_place(self) -> bool:
        """Whether the files are in place."""
        try:
            if self._presence is not None:
                self._presence.require()
        except StoreLost:
            return False
        return True

    def require(self) -> None:
        """Ensure that the files are in place, and note it if they are not.

        Raises:
            StoreLost: they are not, or were not at some time.
        """
        if self.trouble is not None and self.lost:
            raise self.trouble
        if self._presence is not None:
            try:
                self._presence.require()
            except StoreLost as error:
                self.note([error])
                raise

    def note(self, errors: Iterable[Exception]) -> None:
        """Note the error of a transaction, and log it once."""
        for error in errors:
            if isinstance(error, StoreFailing | StoreUnsure | StoreLost) and not self.lost:
                if self.trouble is None or isinstance(error, StoreLost):
                    log.error("%s", error, extra={"action": "write"})
                self.trouble = error

    def committed(self) -> None:
        """Note that something was committed and synced."""
        if self.trouble is not None and not self.lost:
            log.info("the store can be written again", extra={"action": "write"})
            self.trouble = None
