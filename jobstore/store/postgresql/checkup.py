"""Check a store in a database: what PostgreSQL does not check by itself."""

from collections.abc import Callable
from typing import Final

from sqlalchemy import text

from jobstore.model.errors import StoreError
from jobstore.store.checks import LOGICAL, LOOSE, Check, CheckReport, jobs_in
from jobstore.store.counters import COUNTERS
from jobstore.store.expressions import Statement
from jobstore.store.history import History
from jobstore.store.postgresql.migrate import SCHEMA_VERSION
from jobstore.store.sequences import COUNTED

_UNKNOWN_STATES: Final = """
    SELECT 'job', state, count(*) FROM job
        WHERE state NOT IN (SELECT state FROM counter WHERE machine = 'job') GROUP BY state
    UNION ALL
    SELECT 'result', result, count(*) FROM job
        WHERE result NOT IN (SELECT state FROM counter WHERE machine = 'result') GROUP BY result
"""
_SEQUENCES: Final = " UNION ALL ".join(
    f"SELECT '{table}', max(id), last FROM {table},"  # noqa: S608 - the names are ours
    f" (SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last FROM {table}_id_seq) AS given"
    " GROUP BY last HAVING max(id) > last"
    for table in COUNTED
)
_INDEXES: Final = """
    SELECT relname FROM pg_catalog.pg_index JOIN pg_catalog.pg_class AS c ON c.oid = indexrelid
    WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND NOT indisvalid
"""
_CHECKS: Final = (
    *LOGICAL,
    Check(
        "counters",
        Statement(text(_UNKNOWN_STATES)),
        "there is no counter of the state {1} of the {0}s, but there are {2}",
    ),
    Check(
        "ids",
        Statement(text(_SEQUENCES)),
        "the last row of {0} is {1}, but its sequence stands at {2}: ids would be given again",
    ),
    Check("indexes", Statement(text(_INDEXES)), "the index {} is not valid; REINDEX mends it"),
)
_SIZE: Final = Statement(
    text(
        "SELECT CAST(coalesce(sum(pg_total_relation_size(c.oid)), 0) AS BIGINT)"
        " FROM pg_catalog.pg_class AS c"
        " WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relkind = 'r'"
    )
)


async def check(history: History, progress: Callable[[str, int, int], object]) -> CheckReport:
    """Check the consistency of a store, beside its nodes or without any.

    Pages, references and transactions are left to PostgreSQL.

    Args:
        progress: called with the name of the next check, how many are done, and how many there are.
    """
    problems: list[str] = []
    for done, each in enumerate(_CHECKS):
        progress(each.name, done, len(_CHECKS))
        problems += await _problems(history, each)
    if problems:
        return CheckReport(problems=tuple(problems), schema_version=SCHEMA_VERSION)
    ((size,),) = await history.rows(_SIZE)
    ((loose,),) = await history.rows(LOOSE)
    jobs = jobs_in(await history.rows(COUNTERS))
    return CheckReport(size=size, loose=loose, jobs=jobs, schema_version=SCHEMA_VERSION)


async def _problems(history: History, check: Check) -> list[str]:
    try:
        return check.problems(await history.rows(check.statement))
    except StoreError as error:
        return [f"cannot check the {check.name}: {error.problem}"]
