"""What customers submit: each request unlike any other, by chance, in three dialects."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from random import Random
from typing import Final

from trials.chaos.chance import chosen
from trials.chaos.client import Answer, Ask
from trials.chaos.ledger import Fate, Sent

KIB: Final = 1024
INLINE: Final = 256 * KIB  # jobstore's own limit
_JSON: Final = {"Content-Type": "application/json"}
_SIZES: Final = {
    0: 3,
    16: 6,
    2 * KIB: 4,
    INLINE - 1: 0.7,
    INLINE: 0.7,
    INLINE + 1: 2,
    2 * KIB * KIB + 7: 3,
}
_FEW_LARGE: Final = {
    0: 3,
    16: 8,
    2 * KIB: 4,
    INLINE: 0.2,
    INLINE + 1: 0.3,
    2 * KIB * KIB + 7: 0.3,
}
_MILLISECONDS: Final = {0: 4, 30: 6, 150: 4, 600: 1}
# How a job is asked for whose path and method may be any.
_KEYED_SHARE: Final = 0.4
_WAYS: Final = {"store": 12, "true": 3, "prefer": 4, "wait": 2, "native": 3, "kinetica": 3}


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a job, in one of the dialects.

    Args:
        way: how it is asked for.
        sent: what is to become a job.
        ask: what goes over the wire.
    """

    way: str
    sent: Sent
    ask: Ask

    def is_accepted(self, answer: Answer) -> bool:
        """Tell whether an answer says that the job is on the disk, or gives its result."""
        match self.way:
            case "kinetica":
                return answer.status == HTTPStatus.OK
            case "wait" if "jobstore-id" in answer.headers:
                return True
            case _:
                return answer.status == HTTPStatus.ACCEPTED

    def job_id(self, answer: Answer) -> int | None:
        """Read which job it became; None if that was not said."""
        match self.way:
            case "store":
                return int(answer.headers["x-arango-async-id"])
            case "true":
                return None
            case "kinetica":
                return int(json.loads(json.loads(answer.body)["data_str"])["job_id"])
            case "wait" if "jobstore-id" in answer.headers:
                return int(answer.headers["jobstore-id"])
            case _:
                return int(answer.headers["location"].rpartition("/")[2])


Work = Callable[[Random, int], Sent]


def submission(chance: Random, number: int, work: Work) -> Submission:
    """Make up a request for a job.

    Args:
        chance: what decides.
        number: what tells it from all others.
        work: what the job is.
    """
    way, sent = chosen(chance, _WAYS), work(chance, number)
    if way in {"native", "kinetica"} and not _can_be_written(way, sent):
        way = "store"
    if way == "kinetica":
        sent = replace(sent, method="POST")
    elif way != "true" and chance.random() < _KEYED_SHARE:
        sent = replace(sent, key=f"key-{number}")
    sent = replace(sent, wanted=way != "true")
    return Submission(way, sent, _asks(way, sent, chance))


def _can_be_written(way: str, sent: Sent) -> bool:
    """Tell whether a job can be asked for in JSON; Kinetica's are all asked with POST."""
    return sent.size <= INLINE and (way == "native" or not sent.path.startswith("/_api"))


def demo_work(chance: Random, number: int) -> Sent:
    """Choose what the demo is asked for."""
    kinds: Sequence[tuple[float, Sent]] = (
        (6, Sent(method="GET", path=f"/_api/version?n={number}")),
        (4, Sent(method="GET", path=f"/_admin/sleep?duration=0.05&n={number}")),
        (2, Sent(method="GET", path=f"/_admin/sleep?duration=0.3&n={number}")),
        (3, Sent(method="POST", path=f"/import?records=9&seconds=0.05&warnings=1&n={number}")),
        (1, Sent(method="HEAD", path=f"/echo?n={number}")),
        (14, _echo(chance, number)),
    )
    return chance.choices([sent for _, sent in kinds], [weight for weight, _ in kinds])[0]


def _echo(chance: Random, number: int) -> Sent:
    method = chosen(chance, {"POST": 5, "PUT": 4, "DELETE": 1})
    return Sent(method=method, path=f"/echo?n={number}", size=chosen(chance, _SIZES))


def echo_work(chance: Random, number: int) -> Sent:
    """Ask for an echo by a target that a cut connection may keep from answering."""
    return replace(_echo(chance, number), fate=Fate.EITHER)


def slow_work(chance: Random, number: int) -> Sent:
    """Ask for an echo that takes its time, by a target that always answers."""
    method = chosen(chance, {"GET": 5, "POST": 6, "PUT": 3})
    size = 0 if method == "GET" else chosen(chance, _FEW_LARGE)
    path = f"/echo/{chosen(chance, _MILLISECONDS)}?n={number}"
    return Sent(method=method, path=path, size=size)


def _asks(way: str, sent: Sent, chance: Random) -> Ask:
    key = {} if sent.key is None else {"Idempotency-Key": f'"{sent.key}"'}
    match way:
        case "native":
            return Ask("POST", "/_jobs", _JSON, json.dumps(_native(sent, chance)).encode())
        case "kinetica":
            return Ask("POST", "/create/job", _JSON, json.dumps(_kinetica(sent)).encode())
        case "prefer":
            asking = {"Prefer": "respond-async"}
        case "wait":
            asking = {"Prefer": "respond-async, wait=1"}
        case _:
            asking = {"x-arango-async": way}
    return Ask(sent.method, sent.path, {**asking, **key}, sent.body)


def _native(sent: Sent, chance: Random) -> dict[str, object]:
    return {
        "method": sent.method,
        "target": sent.path,
        "body": sent.body.decode(),
        "priority": chance.randrange(-2, 3),
        "delay": chosen(chance, {"0s": 2, "50ms": 1}),
        "idempotency_key": sent.key,
    }


def _kinetica(sent: Sent) -> dict[str, object]:
    return {
        "endpoint": sent.path,
        "request_encoding": "json",
        "data": "",
        "data_str": sent.body.decode(),
        "options": {},
    }
