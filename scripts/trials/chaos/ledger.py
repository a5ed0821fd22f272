"""What clients of a server have been told, put down where no crash of the server reaches it."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Final

_EXCERPT: Final = 100
_NUMBER: Final = re.compile(r"[?&]n=(\d+)")


class Fate(StrEnum):
    """What a job's target does with it, if nothing comes in between."""

    ANSWERED = "answered"
    FAILED = "failed"  # by a target that gives no answer, or no valid one
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request that a job was to be made of.

    Args:
        method: as its target sees it.
        path: likewise; no other one has the same.
        size: of the body, in bytes.
        fate: what its target makes of it.
        wanted: whether its result is kept.
        key: under which it is submitted, or None.
    """

    method: str
    path: str
    size: int = 0
    fate: Fate = Fate.ANSWERED
    wanted: bool = True
    key: str | None = None

    @property
    def body(self) -> bytes:
        """The body, which is that of no other request unless it is empty."""
        found = _NUMBER.search(self.path)
        block = b"%16d" % int(found[1]) if found else b""
        return (block * (self.size // 16 + 1))[: self.size]

    def is_answered_by(self, status: int, body: bytes) -> bool:
        """Tell whether this is what the target answers to it."""
        if status != HTTPStatus.OK:  # the one success that the targets know
            return False
        if self.path.startswith(("/echo", "/lie")):
            return body == (b"" if self.method == "HEAD" else self.body)
        return b'"server":"arango"' in body or b'"code":200' in body


@dataclass(frozen=True, slots=True)
class Reading:
    """A result that was read to its end.

    Args:
        status: the status of the answer.
        right: whether it was what the target had answered.
        said: the beginning of the body, if it was not.
    """

    status: int
    right: bool
    said: str = ""


@dataclass(slots=True)
class Ledger:
    """What was asked of a server, and what it has answered; jobs are told by their ids.

    Args:
        sent: each request of which a job was to be made, by its path.
        accepted: what was answered 202, by the job that it became.
        unnamed: the paths of what was answered 202 without an id.
        sent_at: when that was done for the first time, in seconds since 1970.
        sends: how often each path was sent to its end.
        refusals: how often each was answered that nothing was taken in.
        halves: the paths of requests that were never sent to their end.
        keyed: the jobs that were answered for each idempotency key.
        whole: how often each result was read to its end.
        readings: what was read.
        tries: how often anybody has tried to take each result.
        cancels: the jobs that somebody tried to cancel.
        deletes: those that somebody tried to delete.
        stamps: up to when results were told to expire, in seconds since 1970.
        restored: those whose results were held again by the operator.
        missed: those that were not found although nothing had been done to them.
        odd: answers that should never be given.
        hung: requests that were never answered.
    """

    sent: dict[str, Sent] = field(default_factory=dict)
    accepted: dict[int, Sent] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    sent_at: dict[str, float] = field(default_factory=dict)
    sends: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    halves: list[str] = field(default_factory=list)
    keyed: dict[str, set[int]] = field(default_factory=dict)
    whole: Counter[int] = field(default_factory=Counter)
    readings: dict[int, Reading] = field(default_factory=dict)
    tries: Counter[int] = field(default_factory=Counter)
    cancels: set[int] = field(default_factory=set)
    deletes: set[int] = field(default_factory=set)
    stamps: list[float] = field(default_factory=list)
    restored: set[int] = field(default_factory=set)
    missed: list[int] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)

    def send(self, sent: Sent) -> None:
        """Put down that a request is about to be sent."""
        self.sent[sent.path] = sent
        self.sent_at.setdefault(sent.path, time.time())
        self.sends[sent.path] += 1

    def accept(self, job_id: int, sent: Sent) -> None:
        """Put down a 202 with its job's id."""
        self.accepted[job_id] = sent
        if sent.key is not None:
            self.keyed.setdefault(sent.key, set()).add(job_id)

    def read(self, job_id: int, sent: Sent, status: int, body: bytes) -> None:
        """Put down that a result was read to its end."""
        self.whole[job_id] += 1
        right = sent.is_answered_by(status, body)
        said = "" if right else body[:_EXCERPT].decode("latin-1")
        self.readings[job_id] = Reading(status, right, said)

    def not_found(self, job_id: int, *, tried: int) -> None:
        """Put down that a job was not found, if somebody could have asked for its result.

        Args:
            tried: how many of the tries to take its result were those of who asks now.
        """
        expirable = self.sent_at[self.accepted[job_id].path] < max(self.stamps, default=0.0)
        if self.tries[job_id] == tried and job_id not in self.deletes and not expirable:
            self.missed.append(job_id)

    @property
    def refused(self) -> list[str]:
        """The paths of which no job may have come."""
        never = [path for path, times in self.refusals.items() if times == self.sends[path]]
        return [*never, *self.halves]

    def write(self, path: Path) -> None:
        """Write all of it down for people."""
        path.write_text(json.dumps(_plain(asdict(self)), indent=1))


def _plain(value: object) -> object:
    """Turn what JSON does not know into what it does."""
    match value:
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case set() | list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return value
