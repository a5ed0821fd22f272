"""What has to be true of every store, whatever happened to its server: ledger against evidence.

Each rule is a function that yields a sentence for each violation, and does nothing else.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from jobstore.model.job import CANCELLED_STATUS, Failure
from jobstore.model.lifecycle import ENDED, Result, State
from jobstore.model.retry import IDEMPOTENT
from trials.chaos import timelines
from trials.chaos.evidence import ON_DAY, Evidence, Execution, Job
from trials.chaos.ledger import Fate, Ledger, Sent

MAX_ATTEMPTS: Final = 3  # jobstore's default


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a round's faults and settings allow.

    Args:
        forgetting: ended jobs leave the history.
        stepped: the clock is set while the server runs, so that times say nothing.
        over_sockets: targets are asked over connections, on which aiohttp's client repeats an
            idempotent request by itself, once, if one that was kept turns out to be closed.
        cut: connections of clients are cut, so that an answer may never come.
        older: the jobs that stood in the store before the round, by their ids.
    """

    forgetting: bool = False
    stepped: bool = False
    over_sockets: bool = False
    cut: bool = False
    older: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, and how."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


Rule: TypeAlias = Callable[[Ledger, Evidence, Terms], Iterator[str]]


def violations(ledger: Ledger, evidence: Evidence, terms: Terms) -> list[Violation]:
    """Hold a ledger against a store, by every rule."""
    return [
        Violation(name, what)
        for name, rule in RULES.items()
        for what in rule(ledger, evidence, terms)
    ]


def taken_unread(ledger: Ledger, evidence: Evidence) -> list[int]:
    """List the jobs whose results are taken but were read by nobody: an operator can restore them.

    This is no violation: the server marks a result before its last byte leaves.
    """
    return [
        job.id
        for job in evidence.jobs.values()
        if job.result == Result.TAKEN and job.id in ledger.accepted and not ledger.whole[job.id]
    ]


# --- jobs ---------------------------------------------------------------------------------------


def _none_is_lost(ledger: Ledger, evidence: Evidence, terms: Terms) -> Iterator[str]:
    for job_id, sent in ledger.accepted.items():
        job = evidence.jobs.get(job_id)
        if job is None:
            if not (terms.forgetting and _is_done_with(ledger, job_id)):
                yield f"job {job_id}, {sent.method} {sent.path}, was answered 202 and is gone"
        elif (job.method, job.path) != (sent.method, sent.path):
            yield f"job {job_id} is {job.method} {job.path}, but was {sent.method} {sent.path}"
    stored = {job.path for job in evidence.jobs.values()}
    for path in ledger.unnamed:
        if path not in stored and not terms.forgetting:
            yield f"{path} was answered 202 and is gone"
    # When the clock is set, any result may have expired that a client takes for a later one.
    for job_id in [] if terms.stepped else ledger.missed:
        yield f"job {job_id} was not found although nothing had been done to it"


def _is_done_with(ledger: Ledger, job_id: int) -> bool:
    """Tell whether a job may have left the history, since somebody may have had its result."""
    return bool(ledger.tries[job_id] or job_id in ledger.deletes or ledger.stamps)


def _one_submission_is_one_job(ledger: Ledger, evidence: Evidence, _: Terms) -> Iterator[str]:
    stored = Counter(job.path for job in evidence.jobs.values())
    for path, times in stored.items():
        if times > 1:
            yield f"{path} became {times} jobs"
    for key, ids in ledger.keyed.items():
        if len(ids) > 1:
            yield f"the key {key} became the jobs {sorted(ids)}"
    for path in ledger.refused:
        if stored[path]:
            yield f"{path} was refused, or never sent to its end, and is a job"


def _every_job_ends(_: Ledger, evidence: Evidence, __: Terms) -> Iterator[str]:
    for job in evidence.jobs.values():
        if job.state not in ENDED:
            yield f"job {job.id} is {job.state}"


def _every_end_has_its_reason(ledger: Ledger, evidence: Evidence, _: Terms) -> Iterator[str]:
    for job in evidence.jobs.values():
        sent = ledger.sent.get(job.path)
        if sent and not _is_reasonable(job, sent, ledger):
            yield f"{job} was {sent}"


def _is_reasonable(job: Job, sent: Sent, ledger: Ledger) -> bool:
    match job.state:
        case State.DONE:
            return sent.fate is not Fate.FAILED
        case State.CANCELLED:
            asked = job.id in ledger.cancels or job.id not in ledger.accepted
            return asked and job.status == CANCELLED_STATUS
        case State.FAILED if sent.fate is Fate.ANSWERED:
            last = job.method not in IDEMPOTENT or job.attempt >= MAX_ATTEMPTS
            return job.failure == Failure.INTERRUPTED and last
        case _:
            return True


# --- results ------------------------------------------------------------------------------------


def _none_is_read_twice(ledger: Ledger, evidence: Evidence, _: Terms) -> Iterator[str]:
    for job_id, times in ledger.whole.items():
        if times > 1:
            yield f"the result of job {job_id} was read whole {times} times"
        job = evidence.jobs.get(job_id)
        if job and job.result not in {Result.TAKEN, Result.DELETED}:
            yield f"the result of job {job_id} was read whole, and is {job.result}"


def _results_go_where_they_are_told(
    ledger: Ledger, evidence: Evidence, terms: Terms
) -> Iterator[str]:
    latest = max(ledger.stamps, default=0.0) * 1e6
    for job_id in ledger.accepted.keys() & evidence.jobs.keys():
        job = evidence.jobs[job_id]
        match job.result:
            case Result.TAKEN:
                told = ledger.tries[job_id] > 0
            case Result.DELETED:
                told = job_id in ledger.deletes
            case Result.EXPIRED:
                told = (terms.stepped and latest > 0) or (job.finished_at or 0) < latest
            case _:
                told = job.result == Result.HELD
        if not told:
            yield f"the result of job {job_id} is {job.result}, which nobody asked for"


def _results_are_the_targets(ledger: Ledger, evidence: Evidence, _: Terms) -> Iterator[str]:
    for job_id, reading in ledger.readings.items():
        job = evidence.jobs.get(job_id)
        if job is None:
            continue
        if reading.status != job.status:
            yield f"the answer {reading.status} was read for {job}"
        elif job.state == State.DONE and not reading.right:
            said = f"it began with {reading.said!r}"
            yield f"what was read is not what the target has answered, for {job}: {said}"


# --- executions ---------------------------------------------------------------------------------


def _nothing_is_sent_twice(_: Ledger, evidence: Evidence, terms: Terms) -> Iterator[str]:
    attempts: dict[tuple[str, int], set[int]] = defaultdict(set)
    for execution, times in evidence.executions.items():
        attempts[execution.method, execution.job_id].add(execution.attempt)
        if times > _allowed(execution, terms):
            yield f"{execution} was sent {times} times"
    for (method, job_id), numbers in attempts.items():
        if method not in IDEMPOTENT and len(numbers) > 1:
            yield f"job {job_id}, {method}, was sent as the attempts {sorted(numbers)}"


def _allowed(execution: Execution, terms: Terms) -> int:
    return 2 if terms.over_sockets and execution.method in IDEMPOTENT else 1


def _executions_are_counted(_: Ledger, evidence: Evidence, terms: Terms) -> Iterator[str]:
    executed = {execution.job_id for execution in evidence.executions}
    for execution in evidence.executions:
        job = evidence.jobs.get(execution.job_id)
        if job and execution.attempt > job.attempt:
            yield f"{execution} was sent, but the store knows of {job.attempt} attempts"
    for job in evidence.jobs.values():
        if job.state == State.DONE and job.id not in executed | terms.older:
            yield f"{job} was never sent"


# --- the store ----------------------------------------------------------------------------------


def _timelines_are_legal(_: Ledger, evidence: Evidence, terms: Terms) -> Iterator[str]:
    for story in timelines.stories(evidence):
        yield from timelines.faults(story)
        if not terms.stepped:
            yield from timelines.disorder(story)


def _counters_equal_counts(_: Ledger, evidence: Evidence, terms: Terms) -> Iterator[str]:
    # A day keeps what it has counted of jobs that are gone, or whose times were put right.
    daily = not (terms.forgetting or terms.stepped or terms.older)
    for name in sorted(evidence.counted.keys() | evidence.kept.keys()):
        if name[0].endswith(ON_DAY) and not daily:
            continue
        counted, kept = evidence.counted.get(name, 0), evidence.kept.get(name, 0)
        if counted != kept:
            yield f"the counter of {' '.join(name)} is {kept}, but there are {counted}"


def _the_file_is_sound(_: Ledger, evidence: Evidence, __: Terms) -> Iterator[str]:
    yield from evidence.problems


def _nothing_is_left_over(_: Ledger, evidence: Evidence, __: Terms) -> Iterator[str]:
    for table, count in evidence.leftovers.items():
        if count:
            yield f"{count} rows of {table} belong to nobody"


def _answers_are_as_documented(ledger: Ledger, _: Evidence, terms: Terms) -> Iterator[str]:
    yield from ledger.odd
    if not terms.cut:
        yield from (f"{asked} was never answered" for asked in ledger.hung)


def _no_error_is_a_surprise(_: Ledger, evidence: Evidence, __: Terms) -> Iterator[str]:
    yield from (f"the server's log has a traceback: {last}" for last in evidence.tracebacks)


RULES: Final[Mapping[str, Rule]] = {
    "no acknowledged job is lost": _none_is_lost,
    "one submission is one job": _one_submission_is_one_job,
    "every job ends": _every_job_ends,
    "every end has its reason": _every_end_has_its_reason,
    "no result is read twice": _none_is_read_twice,
    "results go where they are told": _results_go_where_they_are_told,
    "results are the target's": _results_are_the_targets,
    "nothing is sent twice": _nothing_is_sent_twice,
    "executions are counted": _executions_are_counted,
    "timelines are legal": _timelines_are_legal,
    "counters equal counts": _counters_equal_counts,
    "the file is sound": _the_file_is_sound,
    "nothing is left over": _nothing_is_left_over,
    "answers are as documented": _answers_are_as_documented,
    "no error is a surprise": _no_error_is_a_surprise,
}
