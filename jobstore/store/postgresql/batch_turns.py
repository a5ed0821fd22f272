"""The operations of a batch, in groups, and those of a group in their turns."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from jobstore.model.errors import JobstoreError
from jobstore.store.postgresql.abreast import walk
from jobstore.store.postgresql.transaction import NodeTransaction, Shared
from jobstore.store.transaction import Outcome
from jobstore.store.writer import Entry, Turn


def groups(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Group the operations: those that run side by side together, each other one alone."""
    for abreast, some in groupby(entries, key=lambda entry: entry.abreast is not Turn.ALONE):
        group = [*some]
        yield from [group] if abreast else ([each] for each in group)


async def by_turns(shared: Shared, entries: Sequence[Entry]) -> list[Outcome]:
    """Run operations side by side, turn after turn."""
    outcomes: dict[int, Outcome] = {}
    for turn in sorted({each.abreast for each in entries}):
        places = [place for place, each in enumerate(entries) if each.abreast == turn]
        ways = [partial(_outcome, shared, entries[place]) for place in places]
        done = await walk(shared.journeys, ways, shared.left, shared.foreseen)
        outcomes |= zip(places, done, strict=True)
    return [outcomes[place] for place in range(len(entries))]


def _outcome(shared: Shared, entry: Entry) -> Outcome:
    """Run an operation; a refusal that changed nothing does not undo the others."""
    tx = NodeTransaction(shared)
    try:
        return Outcome(entry.operation(tx))
    except JobstoreError as error:
        if tx.effects:
            raise
        return Outcome.refused(error)
