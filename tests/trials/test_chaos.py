"""The chaos: a round with each fault, nodes under faults, and that the rules find what is wrong."""

import asyncio
import copy
import json
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import psycopg
import pytest

from jobstore.config import load
from jobstore.server import serving
from tests import engines
from tests.depth import DEEP
from trials.chaos import evidence, worker
from trials.chaos.chance import seeds, stream
from trials.chaos.client import Client
from trials.chaos.customers import Customer
from trials.chaos.evidence import Execution, Place, Shared
from trials.chaos.faults import FAULTS
from trials.chaos.ledger import Ledger, Reading
from trials.chaos.rules import RULES, Terms, violations
from trials.chaos.submissions import demo_work, submission
from trials.postgres import NoPostgres, Postgres, programs

ROOT: Final = Path(__file__).parents[2]
ROUNDS: Final = str(len(FAULTS))
LIVES: Final = "12" if DEEP else "6"
ANSWERS: Final = 200
# Of what a store on PostgreSQL cannot tell a lie: the database lets nobody write it.
OF_THE_FILE: Final = "the file is sound"


@pytest.mark.timeout(3600)  # by far more than it takes where nothing else runs
def test_a_round_of_each_fault_breaks_no_rule(tmp_path: Path) -> None:
    totals = tmp_path / "totals.json"
    done = subprocess.run(
        [ROOT / "scripts" / "chaos", "--rounds", ROUNDS, "--lives", LIVES, "--json", totals],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(totals.read_text())
    assert found["violations"] == []
    assert found["rounds"] == dict.fromkeys(FAULTS, 1), "each fault has its turn"


@pytest.mark.timeout(3600)
def test_faults_of_nodes_and_their_database_break_no_rule(tmp_path: Path) -> None:
    needs_postgresql()
    totals = tmp_path / "totals.json"
    faults = "200" if DEEP else "4"
    patient = ("--longest", "3600", "--away", "3600")  # with a machine however busy
    trial = ("--nodes", "2", "--store", "postgresql", "--faults", faults, *patient)
    done = subprocess.run(
        [ROOT / "scripts" / "chaos", *trial, "--json", totals],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(totals.read_text())
    assert found["violations"] == []
    assert found["faults"]
    assert found["jobs"] > 0, "customers asked meanwhile"


def test_the_same_seed_makes_the_same_choices() -> None:
    chosen = [
        [submission(stream(7, "customer", n), n, demo_work) for n in range(100)] for _ in range(2)
    ]
    assert chosen[0] == chosen[1]
    assert list(islice(seeds(7), 5)) == list(islice(seeds(7), 5))
    assert next(seeds(7)) == 7, "the first round's seed repeats it alone"


# --- that a lie is found ------------------------------------------------------------------------


@dataclass
class Case:
    """A ledger and a store that agree, until somebody lies.

    Args:
        ledger: what customers were told.
        store: where the store is.
        executions: what the target was asked to work for.
        log: the server's log.
    """

    ledger: Ledger
    store: Place
    executions: Counter[Execution]
    log: Path

    def broken(self) -> set[str]:
        """Name the rules that are broken."""
        tracebacks = evidence.logged_tracebacks(self.log)
        found = evidence.gathered(self.store, self.executions, tracebacks)
        return {each.rule for each in violations(self.ledger, found, Terms())}

    def change(self, statement: str, *values: object) -> None:
        """Change the store behind everybody's back."""
        if isinstance(self.store, Shared):
            change_shared(self.store, statement.replace("?", "%s"), values)
            return
        with closing(sqlite3.connect(self.store, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(statement, values)

    def miscount(self, table: str, number: str) -> None:
        """Add one to a number that is kept; nodes keep theirs in slots."""
        slots = "_slot" if isinstance(self.store, Shared) else ""
        self.change(f"UPDATE {table}{slots} SET {number} = {number} + 1")

    @property
    def read(self) -> int:
        """A job that was done, and whose result was read to its end."""
        return next(
            job_id for job_id, reading in self.ledger.readings.items() if reading.status == 200
        )

    @property
    def sent_once(self) -> Execution:
        """An execution of what may not be sent twice."""
        return next(each for each in self.executions if each.method == "POST")


def needs_postgresql() -> None:
    """Skip the test where there is none."""
    try:
        programs()
    except NoPostgres as error:
        pytest.skip(str(error))


def change_shared(store: Shared, statement: str, values: tuple[object, ...]) -> None:
    """Change a store on PostgreSQL, which would let nobody do so."""
    with psycopg.connect(store.url, autocommit=True) as link:
        link.execute(f"SET search_path TO {store.schema}".encode())
        for check in ("sound_state", "sound_result"):
            link.execute(f"ALTER TABLE job DROP CONSTRAINT IF EXISTS {check}".encode())
        link.execute(statement.encode(), values or None)


@pytest.fixture(scope="module", params=engines.ENGINES)
def truth(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    """Give a store with jobs that came to every end, and the ledger of its customers."""
    folder = tmp_path_factory.mktemp("truth")
    with pytest.MonkeyPatch.context() as patch, emptiness(folder, request.param) as store:
        patch.setenv(worker.RECORD, str(folder / "record"))
        ledger = asyncio.run(served(store))
        yield Case(ledger, store, evidence.recorded(folder / "record"), folder / "log")


@contextmanager
def emptiness(folder: Path, engine: str) -> Iterator[Place]:
    """Give a place where no store is yet."""
    if engine == "file":
        yield folder / "jobs.db"
        return
    needs_postgresql()
    with Postgres() as postgres:
        with psycopg.connect(postgres.url, autocommit=True) as link:
            link.execute("CREATE DATABASE truth")
        yield Shared(postgres.at("truth"))


async def served(store: Place) -> Ledger:
    """Let a customer ask for anything, and then read all that is left to read."""
    ledger = Ledger()
    left = iter(range(ANSWERS, -1, -1))
    sections = {
        "store": {"url": store.url} if isinstance(store, Shared) else {"path": store},
        "server": {"port": 0, "dialects": ["kinetica", "datameer"]},
        "target": {"app": "trials.chaos.worker:create_app"},
        "retention": {"unfetched": "never"},
    }
    async with serving(load(None, sections, environ={})) as server:
        client, customer = Client(server.url), Customer(7, 0, ledger, demo_work)
        await customer.go_on(client, lambda: next(left) > 0)
        await server.executor.drain(30)
        for job_id, path in evidence.rows(store, "SELECT id, path FROM job WHERE result = 'held'"):
            ledger.accept(job_id, ledger.sent[path])
            await customer.read_to_end(client, job_id)
        client.close()
        await server.store.upkeep.purge(2**62)
        await server.store.upkeep.sweep()
    return ledger


@pytest.fixture
def case(truth: Case, tmp_path: Path) -> Case:
    """Give a copy of it for one's own lies."""
    ledger, executions = copy.deepcopy(truth.ledger), truth.executions.copy()
    return Case(ledger, copied(truth.store, tmp_path), executions, tmp_path / "log")


def copied(store: Place, folder: Path) -> Place:
    """Copy a store that nobody uses."""
    if not isinstance(store, Shared):
        return Path(shutil.copy(store, folder))
    with psycopg.connect(store.url.replace("/truth?", "/postgres?"), autocommit=True) as link:
        link.execute("DROP DATABASE IF EXISTS lie")
        link.execute("CREATE DATABASE lie TEMPLATE truth")
    return Shared(store.url.replace("/truth?", "/lie?"))


def a_lost_job(case: Case) -> None:
    case.change("DELETE FROM job WHERE id = ?", case.read)


def a_job_that_is_not_found(case: Case) -> None:
    case.ledger.missed.append(case.read)


def another_job_under_its_id(case: Case) -> None:
    case.change("UPDATE job SET method = 'PATCH' WHERE id = ?", case.read)


def two_jobs_of_one_request(case: Case) -> None:
    case.change("UPDATE job SET path = (SELECT path FROM job ORDER BY id LIMIT 1)")


def two_jobs_for_one_key(case: Case) -> None:
    next(iter(case.ledger.keyed.values())).add(10**6)


def a_job_of_half_a_request(case: Case) -> None:
    case.ledger.halves.append(case.ledger.accepted[case.read].path)


def a_job_of_what_was_refused(case: Case) -> None:
    path = case.ledger.accepted[case.read].path
    case.ledger.refusals[path] = case.ledger.sends[path]


def a_job_that_runs_for_ever(case: Case) -> None:
    case.change("UPDATE job SET state = 'running', finished_at = NULL WHERE id = ?", case.read)


def a_failure_without_a_reason(case: Case) -> None:
    case.change("UPDATE job SET state = 'failed', failure = 'broken' WHERE id = ?", case.read)


def a_cancellation_that_nobody_asked_for(case: Case) -> None:
    job_id = next(iter(set(case.ledger.readings) - case.ledger.cancels))
    case.change("UPDATE job SET state = 'cancelled', status = 410 WHERE id = ?", job_id)


def a_result_that_is_held_again(case: Case) -> None:
    case.change("UPDATE job SET result = 'held', fetched_at = NULL WHERE id = ?", case.read)


def a_result_that_two_have_read(case: Case) -> None:
    case.ledger.whole[case.read] += 1


def a_result_that_went_by_itself(case: Case) -> None:
    case.ledger.tries.clear()


def a_result_of_another_job(case: Case) -> None:
    case.ledger.readings[case.read] = Reading(200, right=False)


def a_status_that_was_not_the_answers(case: Case) -> None:
    case.change("UPDATE job SET status = 201 WHERE id = ?", case.read)


def an_attempt_that_was_sent_twice(case: Case) -> None:
    case.executions[case.sent_once] += 1


def a_repeated_request_that_may_not_be(case: Case) -> None:
    case.executions[case.sent_once._replace(attempt=2)] += 1


def work_that_was_never_done(case: Case) -> None:
    case.executions.clear()


def an_attempt_that_the_store_does_not_know(case: Case) -> None:
    case.executions[next(iter(case.executions))._replace(attempt=9)] += 1


def an_end_without_a_beginning(case: Case) -> None:
    case.change("UPDATE job SET started_at = NULL, attempt = 0 WHERE id = ?", case.read)


def a_recovery_that_led_nowhere(case: Case) -> None:
    put = "INSERT INTO event (job_id, at, event) SELECT id, submitted_at, 'recovered' FROM job"
    case.change(f"{put} WHERE id = ?", case.read)


def a_result_that_was_fetched_when_it_had_expired(case: Case) -> None:
    put = "INSERT INTO event (job_id, at, event) SELECT id, finished_at, 'expired' FROM job"
    case.change(f"{put} WHERE id = ?", case.read)


def a_job_that_ended_before_it_began(case: Case) -> None:
    case.change("UPDATE job SET finished_at = submitted_at - 1 WHERE id = ?", case.read)


def a_wrong_counter(case: Case) -> None:
    case.miscount("counter", "count")


def an_account_that_has_more_than_it_is_said_to(case: Case) -> None:
    case.miscount("account_usage", "stored")


def a_day_on_which_more_was_done_than_is_known(case: Case) -> None:
    case.miscount("day", "submitted")


def a_damaged_file(case: Case) -> None:
    assert isinstance(case.store, Path)
    ((page,),) = evidence.rows(
        case.store, "SELECT rootpage FROM sqlite_schema WHERE name = 'job_tag'"
    )
    with case.store.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))


def a_reference_to_nothing(case: Case) -> None:
    case.change("UPDATE job SET boot = 99 WHERE id = ?", case.read)


def a_body_that_nobody_needs(case: Case) -> None:
    case.change("INSERT INTO body (side, size) VALUES ('request', 0)")


def an_answer_that_should_never_be_given(case: Case) -> None:
    case.ledger.odd.append("500 Internal Server Error")


def a_request_without_an_answer(case: Case) -> None:
    case.ledger.hung.append("GET /")


def an_error_that_nobody_had_thought_of(case: Case) -> None:
    case.log.write_text(
        "ERROR   asyncio: no answer\nTraceback (most recent call last):\n"
        '  File "store.py", line 1, in <module>\nKeyError: 7\nINFO    jobstore: draining\n'
    )


LIES: Final[dict[str, list[Callable[[Case], None]]]] = {
    "no acknowledged job is lost": [
        a_lost_job,
        a_job_that_is_not_found,
        another_job_under_its_id,
    ],
    "one submission is one job": [
        two_jobs_of_one_request,
        two_jobs_for_one_key,
        a_job_of_half_a_request,
        a_job_of_what_was_refused,
    ],
    "every job ends": [a_job_that_runs_for_ever],
    "every end has its reason": [
        a_failure_without_a_reason,
        a_cancellation_that_nobody_asked_for,
    ],
    "no result is read twice": [a_result_that_is_held_again, a_result_that_two_have_read],
    "results go where they are told": [a_result_that_went_by_itself],
    "results are the target's": [a_result_of_another_job, a_status_that_was_not_the_answers],
    "nothing is sent twice": [an_attempt_that_was_sent_twice, a_repeated_request_that_may_not_be],
    "executions are counted": [
        work_that_was_never_done,
        an_attempt_that_the_store_does_not_know,
    ],
    "timelines are legal": [
        an_end_without_a_beginning,
        a_recovery_that_led_nowhere,
        a_result_that_was_fetched_when_it_had_expired,
        a_job_that_ended_before_it_began,
    ],
    "counters equal counts": [
        a_wrong_counter,
        an_account_that_has_more_than_it_is_said_to,
        a_day_on_which_more_was_done_than_is_known,
    ],
    OF_THE_FILE: [a_damaged_file, a_reference_to_nothing],
    "nothing is left over": [a_body_that_nobody_needs],
    "answers are as documented": [
        an_answer_that_should_never_be_given,
        a_request_without_an_answer,
    ],
    "no error is a surprise": [an_error_that_nobody_had_thought_of],
}


def test_the_truth_breaks_no_rule(case: Case) -> None:
    assert case.broken() == set()


@pytest.mark.parametrize(
    ("rule", "lie"),
    [pytest.param(rule, lie, id=lie.__name__) for rule, lies in LIES.items() for lie in lies],
)
def test_a_lie_is_found(case: Case, rule: str, lie: Callable[[Case], None]) -> None:
    if rule == OF_THE_FILE and isinstance(case.store, Shared):
        pytest.skip("PostgreSQL lets nobody write this")
    lie(case)
    assert rule in case.broken()


def test_there_is_a_lie_for_each_rule() -> None:
    assert set(LIES) == set(RULES)
