"""What a round gives, and the row that many rounds give."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of a row has given.

    Args:
        value: the figure.
        cpu: how much processor time the server has used for one operation, in microseconds.
        p50: the median time that an operation took, in milliseconds.
        p99: the time that 99 in 100 stayed below.
        more: further figures, by their names.
    """

    value: float
    cpu: float | None = None
    p50: float | None = None
    p99: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Range:
    """A figure over all rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Self:
        """Condense the figures of all rounds."""
        return cls(statistics.median(values), min(values), max(values))

    def meets(self, other: "Range") -> bool:
        """Tell whether two ranges have anything in common."""
        return self.least <= other.most and other.least <= self.most


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        key: by which it is chosen.
        name: what was done.
        unit: of the value.
        value: the figure itself, which depends on the machine and on the hour.
        to: the name of the row that the ratio is to.
        ratio: what counts: round by round, the figure in relation to that of the other row.
        cpu: how much processor time the server has used for one operation, in microseconds.
        p50: the median over the rounds of the median time, in milliseconds.
        p99: the same of the time that 99 in 100 stayed below.
        more: further figures, the medians over the rounds.
    """

    key: str
    name: str
    unit: str
    value: Range
    to: str | None
    ratio: Range | None
    cpu: Range | None
    p50: float | None
    p99: float | None
    more: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Give what stands in the file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what stands in the file."""
        ranges = {
            name: values[name] and Range(**values[name]) for name in ("value", "ratio", "cpu")
        }
        return cls(**{**values, **ranges})


@dataclass(frozen=True, slots=True)
class Case:
    """A row that is still to be measured.

    Args:
        measure: does one round.
        base: the name of the case that the ratio is to.
    """

    key: str
    name: str
    unit: str
    measure: Callable[[], Sample]
    base: str | None = None

    def to(self, base: Self) -> Self:
        """Make its ratio one to another case."""
        return replace(self, base=base.name)


def interleaved(cases: Sequence[Case], rounds: int) -> Iterator[Row]:
    """Measure cases side by side, round by round; of several, one more before them warms up."""
    samples: dict[str, list[Sample]] = {case.name: [] for case in cases}
    for _ in range(rounds + 1 if rounds > 1 else rounds):
        for case in cases:
            samples[case.name].append(case.measure())
    samples = {name: given[-rounds:] for name, given in samples.items()}
    for case in cases:
        yield row(case, samples[case.name], samples[case.base] if case.base else None)


def row(case: Case, samples: Sequence[Sample], base: Sequence[Sample] | None = None) -> Row:
    """Condense the rounds of a case, in relation to those of another one."""
    pairs = zip(samples, base or (), strict=base is not None)
    return Row(
        key=case.key,
        name=case.name,
        unit=case.unit,
        value=Range.over([sample.value for sample in samples]),
        to=case.base,
        ratio=Range.over([one.value / other.value for one, other in pairs]) if base else None,
        cpu=_over([sample.cpu for sample in samples]),
        p50=_median([sample.p50 for sample in samples]),
        p99=_median([sample.p99 for sample in samples]),
        more={
            name: statistics.median([sample.more[name] for sample in samples])
            for name in samples[0].more
        },
    )


def _over(values: Sequence[float | None]) -> Range | None:
    known = [value for value in values if value is not None]
    return Range.over(known) if known else None


def _median(values: Sequence[float | None]) -> float | None:
    known = _over(values)
    return known.median if known else None
