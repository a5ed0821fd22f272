"""What clients of a server have been told, put down where no crash of the server reaches it."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

from aiohttp import ClientSession

from tests.jobs import Answer, call

LARGE: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was submitted."""

    method: str
    path: str
    block: bytes
    times: int = 1

    @property
    def body(self) -> bytes:
        """The body: the same block, so many times."""
        return self.block * self.times

    def is_answered_by(self, answer: Answer) -> bool:
        """Tell whether an answer is what the target gives to this request."""
        if answer.status != 200:
            return False
        if self.path.startswith("/echo"):
            return answer.body == self.body
        return b'"server":"arango"' in answer.body or b'"code":200' in answer.body


@dataclass
class Ledger:
    """What was asked of a server, and what it has answered.

    Args:
        accepted: each job that was answered 202 with its id.
        unnamed: the paths of those whose 202 has no id.
        whole: how often the result of each job was read to its end.
        answers: the status of each, and whether it was what the target had answered.
        fetches: the jobs that anybody tried to fetch, and so on.
        stamps: up to when results were told to expire, in seconds since 1970.
        missed: the jobs that were not found although nothing had been done to them.
    """

    accepted: dict[int, Sent] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    whole: Counter[int] = field(default_factory=Counter)
    answers: dict[int, tuple[int, bool]] = field(default_factory=dict)
    fetches: set[int] = field(default_factory=set)
    cancels: set[int] = field(default_factory=set)
    deletes: set[int] = field(default_factory=set)
    stamps: list[float] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    number: int = 0

    def next_number(self) -> int:
        """Count the submissions, so that no two have the same path."""
        self.number += 1
        return self.number


class Customer:
    """A client that asks for anything at random, and puts down what it was told.

    Args:
        ledger: where.
        chance: what decides.
        http: what it sends requests with.
        url: the server's.
        answered: told of each answer.
    """

    def __init__(
        self,
        ledger: Ledger,
        chance: random.Random,
        http: ClientSession,
        url: str,
        answered: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._chance = chance
        self._http = http
        self._url = url
        self._answered = answered

    async def go_on(self) -> None:
        """Ask for one thing after another, until the server is gone."""
        wishes = {
            self._submit: 40,
            self._fetch: 30,
            self._leave_a_fetch: 5,
            self._cancel: 10,
            self._delete: 8,
            self._expire: 1,
            self._list: 5,
        }
        while True:
            (wish,) = self._chance.choices([*wishes], [*wishes.values()])
            await (wish() if self._ledger.accepted else self._submit())
            self._answered()

    async def fetch(self, job_id: int) -> int:
        """Ask for a result, read it to its end, and return the answer's status."""
        spared = not self._touched(job_id)
        self._ledger.fetches.add(job_id)
        answer = await call(self._http, "PUT", f"{self._url}/_api/job/{job_id}")
        if "x-arango-async-id" in answer.headers:
            self._ledger.whole[job_id] += 1
            right = self._ledger.accepted[job_id].is_answered_by(answer)
            self._ledger.answers[job_id] = answer.status, right
        elif answer.status == 404 and spared:
            self._ledger.missed.append(job_id)
        return answer.status

    def _touched(self, job_id: int) -> bool:
        ledger = self._ledger
        return job_id in ledger.fetches | ledger.deletes or bool(ledger.stamps)

    async def _submit(self) -> None:
        sent, wanted = self._wish(), self._chance.random() < 0.85
        answer = await call(
            self._http,
            sent.method,
            self._url + sent.path,
            data=BytesIO(sent.body) if sent.block else None,
            headers={"x-arango-async": "store" if wanted else "true"},
        )
        assert answer.status == 202, answer
        if wanted:
            self._ledger.accepted[int(answer.headers["x-arango-async-id"])] = sent
        else:
            self._ledger.unnamed.append(sent.path)

    def _wish(self) -> Sent:
        number = self._ledger.next_number()
        block = b"%16d" % number
        kinds = {
            Sent("GET", f"/_api/version?n={number}", b""): 6,
            Sent("GET", f"/_admin/sleep?duration=0.05&n={number}", b""): 4,
            Sent("PUT", f"/echo?n={number}", block): 5,
            Sent("PUT", f"/echo?n={number}", block, LARGE // 16): 2,
            Sent("POST", f"/echo?n={number}", block): 5,
            Sent("POST", f"/echo?n={number}", block, LARGE // 16): 2,
            Sent("POST", f"/import?records=9&seconds=0.05&n={number}", b""): 4,
        }
        return self._chance.choices([*kinds], [*kinds.values()])[0]

    def _any_job(self) -> int:
        """Choose a job, of the latest ones rather than of the others."""
        ids = [*self._ledger.accepted]
        return self._chance.choice(ids[-20:] if self._chance.random() < 0.8 else ids)

    async def _fetch(self) -> None:
        await self.fetch(self._any_job())

    async def _leave_a_fetch(self) -> None:
        job_id = self._any_job()
        self._ledger.fetches.add(job_id)
        url = f"{self._url}/_api/job/{job_id}"
        async with self._http.put(url) as answer:
            await answer.content.readany()
            answer.close()

    async def _cancel(self) -> None:
        job_id = self._any_job()
        self._ledger.cancels.add(job_id)
        await call(self._http, "PUT", f"{self._url}/_api/job/{job_id}/cancel")

    async def _delete(self) -> None:
        job_id = self._any_job()
        self._ledger.deletes.add(job_id)
        await call(self._http, "DELETE", f"{self._url}/_api/job/{job_id}")

    async def _expire(self) -> None:
        stamp = time.time() - 3
        self._ledger.stamps.append(stamp)
        await call(self._http, "DELETE", f"{self._url}/_api/job/expired?stamp={stamp:f}")

    async def _list(self) -> None:
        kind = self._chance.choice(["pending", "done"])
        await call(self._http, "GET", f"{self._url}/_api/job/{kind}")
