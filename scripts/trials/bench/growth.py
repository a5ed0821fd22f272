"""How fast jobstore still is with many finished jobs in its file."""

from collections.abc import Iterator
from typing import Final

from trials.bench import loads, stock
from trials.bench.figures import Case, Row, interleaved
from trials.bench.plan import Plan, Yard
from trials.bench.rates import label, rate

KEYS: Final = ("growth",)


def rows(plan: Plan) -> Iterator[Row]:
    """Measure full cycles in files of different sizes, side by side."""
    if plan.wants(*KEYS):
        with plan.yard() as yard:
            yield from interleaved([*_cases(plan, yard)], plan.rounds)


def _cases(plan: Plan, yard: Yard) -> Iterator[Case]:
    first: Case | None = None
    for count in (count and plan.many(count) for count in plan.growth):
        store = f"after-{count}"
        if count:
            stock.taken(plan, yard, store, count)
        name = label(f"full cycle after {count:,} jobs", plan.most)
        case = rate(plan, yard.jobstore(store), "growth", name, loads.cycle().by(plan.most))
        yield case.to(first) if first else case
        first = first or case
