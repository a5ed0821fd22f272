"""Customers, who ask for anything by chance, and put down what they were told."""

import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from trials.chaos.chance import chosen, stream
from trials.chaos.client import Answer, Ask, BrokenError, Client, HungError
from trials.chaos.ledger import Ledger
from trials.chaos.submissions import Submission, Work, submission

# So many steps has no customer in one round.
_MOST_STEPS: Final = 1_000_000
_RECENT_SHARE: Final = 0.8  # of what is asked about
_STAMP_AGE: Final = 2.0  # seconds
_LEAVE_AFTER: Final = {0: 2, 1: 1, 1000: 1, 300_000: 1, 1_500_000: 1, 10_000_000: 1}
# What is told who shall come again.
_LATER: Final = {202, 204, 503}
_DELIVERED: Final = ("x-arango-async-id", "jobstore-id")

Wish = Callable[[Random], Awaitable[None]]


class Customer:
    """A client of a server that is restarted now and then.

    What it does at each step depends on nothing but the seed, its number and that of the step; with
    which job it does so, on which there are.

    Args:
        seed: of the round.
        number: which customer it is.
        ledger: where it puts down what it was told.
        work: what its jobs are.
    """

    def __init__(self, seed: int, number: int, ledger: Ledger, work: Work) -> None:
        self._seed = seed
        self._number = number
        self._ledger = ledger
        self._work = work
        self._steps = 0
        self._unanswered: list[Submission] = []
        self._client = Client("")
        self._wishes: dict[Wish, float] = {
            self._submit: 40,
            self._repeat: 10,
            self._offer_half: 2,
            self._fetch: 28,
            self._leave: 6,
            self._look: 6,
            self._cancel: 6,
            self._delete: 5,
            self._expire: 0.3,
            self._list: 4,
            self._report: 2,
        }

    async def go_on(self, client: Client, answered: Callable[[], bool]) -> None:
        """Ask for one thing after another, until it is enough or the connection breaks.

        Args:
            client: asks.
            answered: told of each answer; says whether to go on.

        Raises:
            BrokenError: the connection has broken.
        """
        self._client = client
        going_on = True
        while going_on:
            self._steps += 1
            chance = stream(self._seed, "customer", self._number, self._steps)
            wish = chosen(chance, self._wishes)
            await (wish(chance) if self._ledger.accepted else self._submit(chance))
            going_on = answered()

    async def read_to_end(self, client: Client, job_id: int) -> None:
        """Take a result that is held, and put down what came.

        Raises:
            BrokenError: the connection has broken.
        """
        self._client = client
        while await self._take(Ask("PUT", f"/_api/job/{job_id}"), job_id):
            pass

    async def try_to_read(self, client: Client, job_id: int) -> None:
        """Take a result if it is there.

        Raises:
            BrokenError: the connection has broken.
        """
        self._client = client
        await self._take(Ask("PUT", f"/_api/job/{job_id}"), job_id)

    async def begin_to_read(self, client: Client, job_id: int, after: int) -> None:
        """Take a result, but read only so many bytes of it.

        Raises:
            BrokenError: the connection has broken.
        """
        self._client = client
        await self._begin(Ask("PUT", f"/_api/job/{job_id}"), job_id, after)

    async def have_done(self, client: Client, submission: Submission) -> int:
        """Have a job done, and return its id.

        Raises:
            BrokenError: the connection has broken.
        """
        self._client = client
        await self._send(submission)
        (job_id,) = (
            job_id for job_id, sent in self._ledger.accepted.items() if sent == submission.sent
        )
        while (
            await self._ask(Ask("GET", f"/_api/job/{job_id}"), {200, 204, 404})
        ).status in _LATER:
            pass
        return job_id

    async def put_in(self, client: Client, submission: Submission) -> None:
        """Submit a job.

        Raises:
            BrokenError: the connection has broken.
        """
        self._client = client
        await self._send(submission)

    async def restore(self, client: Client, job_id: int) -> None:
        """Have a result held again, as an operator may.

        Raises:
            BrokenError: the connection has broken.
        """
        self._client = client
        self._ledger.restored.add(job_id)
        await self._ask(Ask("POST", f"/_jobs/{job_id}/restore"), {200})

    # --- submitting -----------------------------------------------------------------------------

    async def _submit(self, chance: Random) -> None:
        await self._send(submission(chance, self._next_number(), self._work))

    async def _repeat(self, chance: Random) -> None:
        """Send a request again whose answer never came, under the same key."""
        if self._unanswered:
            await self._send(self._unanswered.pop())
        else:
            await self._submit(chance)

    async def _send(self, submission: Submission) -> None:
        self._ledger.send(submission.sent)
        try:
            answer = await self._ask(submission.ask, None)
        except BrokenError:
            if submission.sent.key:
                self._unanswered.append(submission)
            raise
        self._answered(submission, answer)

    def _answered(self, submission: Submission, answer: Answer) -> None:
        if submission.is_accepted(answer):
            job_id = submission.job_id(answer)
            if job_id is None:
                self._ledger.unnamed.append(submission.sent.path)
            else:
                self._accepted(submission, job_id, answer)
        elif answer.is_for_now:
            self._ledger.refusals[submission.sent.path] += 1
        elif answer.is_unsure:
            if submission.sent.key:
                self._unanswered.append(submission)
        else:
            self._ledger.odd.append(f"{submission.ask.head()!r}: {answer}")

    def _accepted(self, submission: Submission, job_id: int, answer: Answer) -> None:
        self._ledger.accept(job_id, submission.sent)
        if submission.way == "wait":  # which is a try to take the result as well
            self._ledger.tries[job_id] += self._ledger.sends[submission.sent.path]
            self._delivered(job_id, answer)

    async def _offer_half(self, chance: Random) -> None:
        offered = submission(chance, self._next_number(), self._work)
        if not offered.ask.body:
            return
        self._ledger.halves.append(offered.sent.path)
        size = chance.randrange(len(offered.ask.body))
        await self._client.stop_half_way(offered.ask, size, reset=bool(chance.getrandbits(1)))

    def _next_number(self) -> int:
        return self._number * _MOST_STEPS + self._steps

    # --- fetching -------------------------------------------------------------------------------

    async def _fetch(self, chance: Random) -> None:
        job_id = self._any_job(chance)
        await self._take(_taking(chance, job_id), job_id)

    async def _leave(self, chance: Random) -> None:
        """Begin to fetch a result, and hang up."""
        job_id, after = self._any_job(chance), chosen(chance, _LEAVE_AFTER)
        ask, reset = _taking(chance, job_id), bool(chance.getrandbits(1))
        try:
            await self._begin(ask, job_id, after)
        finally:
            self._client.close(reset=reset)

    async def _begin(self, ask: Ask, job_id: int, after: int) -> None:
        self._ledger.tries[job_id] += 1
        answer = await self._client.begin(ask, after)
        if len(answer.body) == answer.body_size(ask.method):
            self._delivered(job_id, answer)

    async def _take(self, ask: Ask, job_id: int) -> bool:
        """Ask for a result, and tell whether there may be one later."""
        self._ledger.tries[job_id] += 1
        answer = await self._ask(ask, None)
        if self._delivered(job_id, answer):
            return False
        if answer.is_for_now:  # so that nothing was taken
            self._ledger.tries[job_id] -= 1
        self._check(ask, answer, {202, 204, 404, 409, 410})
        self._if_missing(job_id, answer, tried=1)
        return answer.status in _LATER

    def _delivered(self, job_id: int, answer: Answer) -> bool:
        """Put down that a result was read, if it was."""
        delivered = any(name in answer.headers for name in _DELIVERED)
        if delivered:
            sent = self._ledger.accepted[job_id]
            self._ledger.read(job_id, sent, answer.status, answer.body)
        return delivered

    def _if_missing(self, job_id: int, answer: Answer, tried: int) -> None:
        if answer.status in {404, 410}:
            self._ledger.not_found(job_id, tried=tried)

    # --- the rest -------------------------------------------------------------------------------

    async def _look(self, chance: Random) -> None:
        job_id = self._any_job(chance)
        waiting = {"Prefer": "wait=1"}
        kinetica = b'{"job_id": %d, "options": {}}' % job_id
        ask = chance.choice(
            [
                Ask("GET", f"/_api/job/{job_id}"),
                Ask("GET", f"/_jobs/{job_id}", waiting),
                Ask("GET", f"/_jobs/{job_id}/timeline"),
                Ask("POST", "/get/job", {"Content-Type": "application/json"}, kinetica),
            ]
        )
        answer = await self._ask(ask, {200, 204, 400, 404})
        self._if_missing(job_id, answer, tried=0)

    async def _cancel(self, chance: Random) -> None:
        job_id = self._any_job(chance)
        self._ledger.cancels.add(job_id)
        body = b'{"job_ids": [%d], "action": "cancel", "options": {}}' % job_id
        ask = chance.choice(
            [
                Ask("PUT", f"/_api/job/{job_id}/cancel"),
                Ask("POST", f"/_jobs/{job_id}/cancel"),
                Ask("POST", "/admin/alter/jobs", {"Content-Type": "application/json"}, body),
            ]
        )
        await self._ask(ask, {200, 202, 404, 409, 410})

    async def _delete(self, chance: Random) -> None:
        job_id = self._any_job(chance)
        self._ledger.deletes.add(job_id)
        base = chance.choice(["/_api/job", "/_jobs"])
        await self._ask(Ask("DELETE", f"{base}/{job_id}"), {200, 204, 404, 409, 410})

    async def _expire(self, chance: Random) -> None:
        del chance
        stamp = time.time() - _STAMP_AGE
        self._ledger.stamps.append(stamp)
        await self._ask(Ask("DELETE", f"/_api/job/expired?stamp={stamp:f}"), {200})

    async def _list(self, chance: Random) -> None:
        paths = ["/_api/job/pending", "/_api/job/done", "/_jobs?limit=20", "/_jobs/statistics"]
        await self._ask(Ask("GET", chance.choice(paths)), {200})

    async def _report(self, chance: Random) -> None:
        """Report on a job as the service would that works for it."""
        path = f"/_jobs/{self._any_job(chance)}/report"
        body = b'{"progress": %d, "warnings": ["slow"]}' % chance.randrange(100)
        await self._ask(Ask("POST", path, {"Jobstore-Attempt": "1"}, body), {200, 404, 409, 410})

    def _any_job(self, chance: Random) -> int:
        """Choose a job, of the latest ones rather than of the others."""
        ids = list(self._ledger.accepted)
        recent = ids[-20:] if chance.random() < _RECENT_SHARE else ids
        return recent[int(chance.random() * len(recent))]

    async def _ask(self, ask: Ask, expected: set[int] | None) -> Answer:
        try:
            answer = await self._client.ask(ask)
        except HungError:
            self._ledger.hung.append(f"{ask.method} {ask.path}")
            raise
        if expected is not None:
            self._check(ask, answer, expected)
        return answer

    def _check(self, ask: Ask, answer: Answer, expected: set[int]) -> None:
        if not (answer.status in expected or answer.is_for_now or answer.is_unsure):
            self._ledger.odd.append(f"{ask.method} {ask.path}: {answer}")


def _taking(chance: Random, job_id: int) -> Ask:
    ways = [
        Ask("PUT", f"/_api/job/{job_id}"),
        Ask("PUT", f"/_api/job/{job_id}", {"Prefer": "wait=1"}),
        Ask("POST", f"/_jobs/{job_id}/take"),
    ]
    return chance.choice(ways)
