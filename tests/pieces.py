"""A body that arrives in pieces."""

from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass
class Pieces:
    """A body that arrives in pieces, and may break off.

    Args:
        piece: each of them.
        number: how many.
        size: how many bytes are announced, if that is known beforehand.
        error: what breaks it off after the last one.
        given: how many were asked for.
    """

    piece: bytes
    number: int
    size: int | None = None
    error: Exception | None = None
    given: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.number):
            self.given += 1
            yield self.piece
        if self.error:
            raise self.error
