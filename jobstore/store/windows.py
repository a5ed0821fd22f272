"""Walk through the history, the newest jobs first, a bounded number of jobs per statement.

A statement that looks at many rows is a long read transaction, and while it lasts the log cannot be
truncated. So the history is read in windows of a fixed number of jobs, whether they match or not.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.store import jobs
from jobstore.store import search as search_sql
from jobstore.store.budget import Budget, TimeIsUp
from jobstore.store.codec import decode_job
from jobstore.store.expressions import Statement
from jobstore.store.reading import Searcher
from jobstore.store.search import Search

# How many jobs one statement looks at, found or not: each is a read transaction, and while one
# lasts, the WAL cannot be cut back.
WINDOW: Final = 2000
# Where nothing is found, the next one may be larger, up to this: it is read in some 20 ms.
WIDEST: Final = 10 * WINDOW
# How many jobs a page looks at first, however long that takes: on a disk that has to be asked for
# each page of the file it is a dozen of them.
FIRST: Final = 128


@frozen
class Page:
    """A page of matching jobs.

    Args:
        jobs: the newest first.
        searched_to: all jobs down to this id have been searched; None if all jobs have.
    """

    jobs: list[Job]
    searched_to: int | None


class Windows:
    """The history as a sequence of windows.

    Args:
        searcher: a separate connection for searches, so that point reads need not wait for
            them; None for the same connection.
    """

    def __init__(self, reader: Searcher, searcher: Searcher | None = None) -> None:
        self._reader = reader
        self.searcher = searcher or reader

    async def page(self, search: Search, limit: int, before: int, budget: Budget) -> Page:
        """List a page of matching jobs, the newest first.

        Args:
            limit: how many at most.
            before: list only jobs with a smaller id.
            budget: how long to search; a page may be empty although older jobs match.
        """
        values, jobs, reached = search.values, list[Job](), before
        statement = search_sql.looked_for(frozenset(values))
        try:
            async for window in self._windows(values, FIRST, before, budget):
                left = limit - len(jobs)
                rows = await self._searched(
                    budget, statement, **window.bounds, limit=left, **values
                )
                jobs += [decode_job(row) for row in rows]
                if len(rows) == left:
                    return Page(jobs, jobs[-1].id)
                reached, window.found = window.first, False  # the next one may always be larger
                budget.begin()
        except TimeIsUp:
            return Page(jobs, reached if reached > 1 else None)
        return Page(jobs, None)

    async def submitted_to(self, searched_to: int) -> int | None:
        """Return the submission time of the oldest job that a search has looked at."""
        rows = await self._searched(None, search_sql.SUBMITTED_TO, last=searched_to)
        return int(rows[0][0]) if rows else None

    async def pages(
        self, search: Search, limit: int | None = None, before: int = jobs.LARGEST_ID
    ) -> AsyncIterator[list[Job]]:
        """Go through the history, the newest jobs first.

        Ids are in order of submission, so the search ends where everything is too old. A clock
        that was set back by less than a window of jobs takes hides none of them.

        Args:
            limit: how many at most, or None for all.
            before: only jobs with a smaller id.
        """
        values, left = search.values, limit
        statement = search_sql.looked_for(frozenset(values))
        async for window in self._windows(values, before=before):
            size = window.size if left is None else min(left, window.size)
            rows = await self._searched(None, statement, **window.bounds, limit=size, **values)
            window.found = bool(rows)
            if rows:
                yield [decode_job(row) for row in rows]
            left = None if left is None else left - len(rows)
            if left == 0:
                return

    async def parts(
        self,
        statement: Statement,
        search: Search,
        changing: Mapping[str, object] | None = None,
        *,
        widest: int = WIDEST,
        **values: object,
    ) -> AsyncIterator[list[Any]]:
        """Execute a statement for the history, part by part, the newest first.

        Args:
            statement: made by `search.in_window` for this search.
            changing: parameters that the caller may change between two parts.
            widest: how many jobs each part has at most.
            values: further parameters.

        Yields:
            the rows of each part.
        """
        looked_for = search.values
        async for window in self._windows(looked_for, widest):
            now = changing or {}
            yield await self._searched(
                None, statement, **window.bounds, **looked_for, **values, **now
            )

    async def recent(
        self, statement: Statement, search: Search, after: int, budget: Budget
    ) -> AsyncIterator[list[Any]]:
        """Execute a statement for the jobs after an id, part by part, the newest first.

        Args:
            statement: made by `search.in_window` for this search.
            after: the id; 0 for all jobs.

        Yields:
            the rows of each part, few enough to be processed without delaying the loop.

        Raises:
            TimeIsUp: the budget is used up.
        """
        values = search.values
        async for window in self._windows(values, FIRST, budget=budget):
            if window.last <= after:
                return
            bounds = {"first": max(window.first, after + 1), "last": window.last}
            rows = await self._searched(budget, statement, **bounds, **values)
            window.found, window.size = len(rows) > FIRST, min(window.size, WINDOW)
            yield rows

    async def whole(self, statement: Statement, up_to: int, **values: object) -> list[Any]:
        """Execute a statement at once that reads few jobs, wherever in the history they are.

        Args:
            statement: made by `search.in_window`.
            up_to: the highest id to look at.
        """
        return await self._searched(None, statement, first=0, last=up_to, **values)

    async def all(
        self,
        statement: Statement,
        *,
        up_to: int = jobs.LARGEST_ID,
        size: int = WINDOW,
        **values: object,
    ) -> list[Any]:
        """Execute a statement for all jobs, part by part, whatever their submission times.

        Each job is looked at once. Reading 100,000 jobs with one statement takes 0.2 s, and would
        sometimes delay the writer for all of that time.

        Args:
            statement: made by `search.in_window`.
            up_to: the highest id to look at.

        Returns:
            its rows, those of the oldest jobs first.
        """
        parts, last = list[list[Any]](), up_to
        while True:
            ((first, _),) = await self._searched(None, search_sql.WINDOW, last=last, limit=size)
            if first is None:
                return [row for part in reversed(parts) for row in part]
            parts.append(await self._searched(None, statement, first=first, last=last, **values))
            last = first - 1

    async def together(self, statements: Sequence[Statement], **values: object) -> list[list[Any]]:
        """Execute statements that see the store at one moment; return their rows."""
        return await self._reader.together(statements, **values)

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement that reads a bounded number of rows."""
        return await self._reader.rows(statement, **values)

    async def _windows(
        self,
        values: Mapping[str, Any],
        size: int = WINDOW,
        before: int = jobs.LARGEST_ID,
        budget: Budget | None = None,
    ) -> AsyncIterator["_Window"]:
        last = before - 1
        while True:
            if "since" in values:
                ((first, newest),) = await self._searched(
                    budget, search_sql.WINDOW, last=last, limit=size
                )
                if first is None or newest < values["since"]:
                    return
            else:  # then an id tells all there is to know, and nothing has to be looked at twice
                newest = await self._newest(values, last, budget)
                if newest is None:
                    return
                first = newest - size + 1
            yield (window := _Window(first, last, size))
            last, size = first - 1, window.next_size

    async def _newest(
        self, values: Mapping[str, Any], last: int, budget: Budget | None
    ) -> int | None:
        """Return the newest candidate up to an id, as far as an index can tell."""
        if "definition" in values:
            run = values["definition"]
            found = self._searched(budget, search_sql.NEWEST_RUN, last=last, definition=run)
        elif "errors" in values:
            found = self._searched(budget, search_sql.NEWEST_WRONG, last=last)
        else:
            found = self._searched(budget, search_sql.NEWEST, last=last)
        ((newest,),) = await found
        return None if newest is None else int(newest)

    async def _row(self, statement: Statement, **values: object) -> Any:
        return next(iter(await self.rows(statement, **values)), None)

    async def _searched(
        self, budget: Budget | None, statement: Statement, /, **values: object
    ) -> list[Any]:
        """Execute a statement that reads many rows.

        Raises:
            TimeIsUp: the budget is used up.
        """
        left = budget.left() if budget else None
        return await self.searcher.within(left, statement, **values)


@dataclass(slots=True)
class _Window:
    """A range of jobs in the history.

    Args:
        first: the lowest id.
        last: the highest id.
        size: how many jobs it has at most.
        found: whether any of them matches.
    """

    first: int
    last: int
    size: int
    found: bool = True

    @property
    def bounds(self) -> dict[str, int]:
        return {"first": self.first, "last": self.last}

    @property
    def next_size(self) -> int:
        return self.size if self.found else min(2 * self.size, WIDEST)
