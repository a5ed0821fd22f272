"""Chance that repeats itself: each who decides has a stream of their own, made of the seed."""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Final, TypeVar

LARGEST_SEED: Final = 2**32

T = TypeVar("T")


def stream(seed: int, *names: object) -> Random:
    """Make the stream of chance of whoever has these names."""
    return Random(" ".join(map(str, (seed, *names))))


def seeds(first: int) -> Iterator[int]:
    """Give the seeds of the rounds that follow from the first one's."""
    chance = stream(first, "rounds")
    yield first
    while True:
        yield chance.randrange(LARGEST_SEED)


def chosen(chance: Random, weights: Mapping[T, float]) -> T:
    """Choose one, the heavier the more likely."""
    return chance.choices(list(weights), list(weights.values()))[0]
