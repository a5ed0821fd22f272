"""The one place that receives committed facts, and passes each one to those who need it."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from jobstore.store.facts import Changes

F = TypeVar("F")
_NOT_TOLD: Final = "a component failed to process a change; see the traceback"

log = logging.getLogger(__name__)


class Subscribers:
    """Pass facts on in their order; a subscriber that fails does not affect the others.

    It is called between two batches of the writer, so when the next one begins, everybody knows.
    """

    def __init__(self) -> None:
        self._of: Final[dict[type, Sequence[Callable[[Any], None]]]] = {}
        self._settling: Final[list[Callable[[Changes], None]]] = []

    def subscribe(self, kind: type[F], *hear: Callable[[F], None]) -> None:
        """Subscribe to facts of a kind."""
        self._of[kind] = (*self._of.get(kind, ()), *hear)

    def settle(self, hear: Callable[[Changes], None]) -> None:
        """Subscribe to whole batches, after all of their facts."""
        self._settling.append(hear)

    def committed(self, changes: Changes) -> None:
        """Pass on the facts of a batch."""
        for fact in changes.facts:
            for hear in self._of.get(type(fact), ()):
                try:
                    hear(fact)
                except Exception:
                    log.exception(_NOT_TOLD, extra={"action": "tell"})
        for settle in self._settling:
            try:
                settle(changes)
            except Exception:
                log.exception(_NOT_TOLD, extra={"action": "tell"})
