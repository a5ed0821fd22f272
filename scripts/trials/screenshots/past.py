"""A past for a store: jobs of the last 30 days, as the lines of an export that can be imported.

It is made up, and the same each time: routes with their usual rates and durations, more of them by
day than by night, an hour in which exports failed, and a definition that runs each night.
"""

import json
import math
import random
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobstore import __version__
from jobstore.model.clock import SECOND

HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR
_SEED: Final = 14
# How many jobs there are in an hour at noon, of the last day and of each day before.
_LAST_DAY: Final = 150
_EARLIER: Final = 12
_KEPT: Final = 30 * DAY
_BURST: Final = range(4, 6)  # hours ago: then there were more exports, of which most failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Requests of one kind.

    Args:
        share: how many of all there are.
        seconds: how long half of them take at most.
        wrong: which share is answered with an error, and which one.
    """

    method: str
    path: str
    owner: str
    target: str
    share: int
    seconds: float
    wrong: float = 0.002
    status: int = 500


KINDS: Final = (
    Kind(method="POST", path="/v1/embeddings", owner="etl", target="/v1", share=44, seconds=1.3),
    Kind(
        method="POST",
        path="/v1/summaries?lang=de",
        owner="alice",
        target="/v1",
        share=9,
        seconds=8.0,
    ),
    Kind(method="PUT", path="/thumbnails/{}", owner="shop", target="/", share=26, seconds=0.4),
    Kind(
        method="GET",
        path="/reports/revenue?region=emea&granularity=day",
        owner="dashboards",
        target="/reports",
        share=10,
        seconds=9.0,
        wrong=0.02,
        status=422,
    ),
    Kind(
        method="POST",
        path="/exports/orders?month=2026-10&format=xlsx",
        owner="shop",
        target="/exports",
        share=7,
        seconds=14.0,
        wrong=0.01,
        status=503,
    ),
    Kind(
        method="POST",
        path="/exports/invoices?batch={}",
        owner="billing",
        target="/exports",
        share=4,
        seconds=3.0,
    ),
)


def lines(definitions: Sequence[Mapping[str, Any]], now: int, share: float = 1) -> Iterator[str]:
    """Write the lines of an export.

    Args:
        definitions: those that have runs, as the API tells of them.
        now: the time up to which there are jobs, in microseconds since 1970.
        share: how many there are of the usual number.
    """
    chance = random.Random(_SEED)
    jobs = sorted(
        [*_ordinary(chance, now, share), *_runs(chance, definitions, now)],
        key=lambda job: job["submitted_at"],
    )
    last = {"job": len(jobs), "definition": 1000}
    head = {"jobstore": "history", "format": 1, "version": __version__, "origin": 1}
    yield json.dumps(head | {"exported_at": now, "last_ids": last})
    for definition in definitions:
        yield json.dumps({"definition": _definition(definition, now)})
    for number, job in enumerate(jobs, 1):
        yield json.dumps({"job": job | {"id": number}})
    yield json.dumps({"end": {"jobs": len(jobs)}})


def _definition(described: Mapping[str, Any], now: int) -> Mapping[str, Any]:
    same = {name: described[name] for name in ("id", "uuid", "name", "path", "owner", "method")}
    times = {"created_at": now - _KEPT, "changed_at": now - _KEPT}
    return same | times | {"request_target": described["target"]}


# --- jobs -----------------------------------------------------------------------------------------


def _ordinary(chance: random.Random, now: int, share: float) -> Iterator[dict[str, Any]]:
    for hours in range(1, _KEPT // HOUR):
        noon = 0.45 + 0.55 * math.sin((now - hours * HOUR) % DAY / DAY * 2 * math.pi - 1.9)
        rate = (_LAST_DAY if hours < 25 else _EARLIER) * max(0.3, noon + 0.3)
        more = 8 if hours in _BURST else 1
        for _ in range(int(share * rate * chance.uniform(0.9, 1.1) * math.sqrt(more))):
            shares = [each.share * (more if "export" in each.path else 1) for each in KINDS]
            kind = chance.choices(KINDS, shares)[0]
            yield _job(chance, kind, now - hours * HOUR + chance.randrange(HOUR), hours, now)


def _runs(
    chance: random.Random, definitions: Sequence[Mapping[str, Any]], now: int
) -> Iterator[dict[str, Any]]:
    for place, definition in enumerate(definitions):
        kind = Kind(
            method=definition["method"],
            path=definition["target"],
            owner=definition["owner"] or "ops",
            target="/" + definition["target"].split("/")[1],
            share=1,
            seconds=(70.0, 4.0, 25.0)[place % 3],
            wrong=(0.1, 0.0, 0.2)[place % 3],
            status=503,
        )
        every = (DAY, HOUR, 7 * DAY)[place % 3]
        for ago in range(every // 3, 29 * DAY if every > HOUR else DAY, every):
            job = _job(chance, kind, now - ago - ago % every // 7, 100, now)
            yield job | {"definition": definition["id"], "trigger": "SCHEDULE", "owner": kind.owner}


def _job(chance: random.Random, kind: Kind, at: int, hours: int, now: int) -> dict[str, Any]:
    took = int(kind.seconds * chance.lognormvariate(0, 0.45) * SECOND)
    burst = kind.target == "/exports" and hours in _BURST and chance.random() < 0.6
    cancelled = not burst and chance.random() < 0.004
    waited = int(chance.expovariate(1 / 0.02) * SECOND)
    attempts = _attempts(at + waited) if burst else []
    started = attempts[-1]["ended_at"] + 4_300_000 if attempts else at + waited
    took = 60 * SECOND if burst else took
    job = _empty(kind.path.replace("{}", str(chance.randrange(10_000, 99_999))), kind)
    job |= {"submitted_at": at, "started_at": started, "finished_at": min(started + took, now)}
    if burst:
        job |= {"state": "failed", "failure": "timeout", "status": 504, "retried": 2, "attempt": 3}
        job |= {"detail": "no answer within 60 s", "attempts": attempts}
    elif cancelled:
        job |= {"state": "cancelled", "status": 410, "cancel_asked_at": job["finished_at"]}
        asked = {"at": job["finished_at"], "event": "cancel asked", "detail": f"by {kind.owner}"}
        job |= {"events": [asked]}
    elif chance.random() < kind.wrong:
        job |= {"status": kind.status}
    taken = job["status"] == 200 and chance.random() < 0.97
    if taken:
        fetched = min(job["finished_at"] + int(chance.expovariate(0.5) * SECOND), now)
        return job | {"result": "taken", "fetched_at": fetched, "purgeable_at": fetched}
    return job | _answered(job)


def _attempts(at: int) -> list[dict[str, Any]]:
    """Make the attempts before the last one at a job that failed."""
    first, second = at + 4_100_000, at + 6_300_000 + 53_500_000
    spans = (at, first), (first + 2_200_000, second)
    answered = {"status": 503, "failure": None, "detail": "503 Service Unavailable"}
    return [
        {"number": number, "started_at": start, "ended_at": end, **answered}
        for number, (start, end) in enumerate(spans, 1)
    ]


def _answered(job: dict[str, Any]) -> dict[str, Any]:
    """Give a job an answer that is held."""
    problem = {"type": "about:blank", "status": job["status"], "detail": job["detail"]}
    body = problem if job["status"] >= 400 else {"rows": 412, "ok": True}
    kind = "application/problem+json" if job["status"] >= 400 else "application/json"
    answer = _message(body, kind)
    return {"result": "held", "purgeable_at": job["finished_at"], "response": answer}


def _message(body: object, kind: str = "application/json") -> dict[str, Any]:
    written = json.dumps(body, indent=1).encode()
    return {
        "headers": [["Content-Type", kind]],
        "body": b64encode(written).decode(),
        "size": len(written),
    }


def _empty(path: str, kind: Kind) -> dict[str, Any]:
    order = {"month": "2026-10", "format": "xlsx", "columns": ["order_id", "total", "vat"]}
    asked = order | {"notify": None, "max_rows": 9007199254740993}
    nothing = (
        *("fetched_at", "cancel_asked_at", "purgeable_at", "failure", "detail", "progress"),
        *("counters", "timeout", "replay", "tag", "definition", "trigger", "follows"),
        *("retries", "not_before", "response"),
    )
    whole = dict.fromkeys(("priority", "warnings", "once", "retried"), 0)
    return {
        **dict.fromkeys(nothing),
        **whole,
        "state": "done",
        "result": "held",
        "status": 200,
        "attempt": 1,
        "dialect": "arango",
        "owner": kind.owner,
        "target": kind.target,
        "method": kind.method,
        "path": path,
        "request": _message(asked),
        "events": [],
        "attempts": [],
    }
