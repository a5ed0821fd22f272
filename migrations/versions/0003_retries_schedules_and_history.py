"""Retries, delays, schedules and idempotency keys; the views that the history is asked by."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ENDS = "new.finished_at IS NOT NULL"
ERROR = "job.state = 'failed' OR (job.state = 'done' AND coalesce(job.status, 0) >= 400)"
TOOK = "coalesce(new.finished_at - new.started_at, 0)"


def iso(column: str) -> str:
    """Write a time as ISO 8601, in UTC with milliseconds, which are cut and not rounded."""
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000 / 1000.0, 'unixepoch')"


def text(value: str) -> str:
    """Write a text as one of that type: SQLite reads tables one by one that have the same types.

    https://www.sqlite.org/optoverview.html#subquery_flattening
    """
    return f"CAST({value} AS TEXT)"


STATEMENTS = (
    # How often it may be tried again, or null for what its target says; how often it was.
    "ALTER TABLE job ADD COLUMN retries INTEGER",
    "ALTER TABLE job ADD COLUMN retried INTEGER NOT NULL DEFAULT 0",
    # Queued, but not to run before this time.
    "ALTER TABLE job ADD COLUMN not_before INTEGER",
    # The next jobs of one target, but for those that wait for others or for their time.
    "DROP INDEX job_ready",
    """
    CREATE INDEX job_ready ON job (target, follows, not_before, priority, id)
        WHERE state = 'queued'
    """,
    # The jobs whose time comes next.
    """
    CREATE INDEX job_due ON job (not_before)
        WHERE state = 'queued' AND not_before IS NOT NULL
    """,
    # Attempts that were not the last one of their job; that one stands in the job's own row.
    """
    CREATE TABLE attempt (
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        ended_at INTEGER NOT NULL,
        status INTEGER,
        failure TEXT,
        detail TEXT,
        PRIMARY KEY (job_id, number)
    ) STRICT, WITHOUT ROWID
    """,
    # What was submitted under a key of its client's; the key lasts as long as the job's row.
    """
    CREATE TABLE idempotency (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (owner, key)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX idempotency_of_job ON idempotency (job_id)",
    "ALTER TABLE definition ADD COLUMN retries INTEGER",
    "ALTER TABLE definition ADD COLUMN cron TEXT",
    "ALTER TABLE definition ADD COLUMN time_zone TEXT",
    "ALTER TABLE definition ADD COLUMN catch_up TEXT",
    "ALTER TABLE definition ADD COLUMN overlap TEXT",
    "ALTER TABLE definition ADD COLUMN paused INTEGER NOT NULL DEFAULT 0",
    # When its schedule fires next; null if it has none, is paused or was deleted.
    "ALTER TABLE definition ADD COLUMN fires_at INTEGER",
    "CREATE INDEX definition_fires ON definition (fires_at) WHERE fires_at IS NOT NULL",
    # The runs of a definition that have not ended.
    """
    CREATE INDEX job_unended ON job (definition, id)
        WHERE definition IS NOT NULL AND finished_at IS NULL
    """,
    # A running server has to look at its schedules again.
    "INSERT INTO revision (of, number) VALUES ('schedules', 0)",
    *(
        f"""
        CREATE TRIGGER schedule_{verb.split()[0].lower()} AFTER {verb} ON definition BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'schedules';
        END
        """
        for verb in ("INSERT", "UPDATE OF cron, time_zone, catch_up, overlap, paused, deleted_at")
    ),
    # What was done on each day, UTC, which has 86400000000 microseconds; it outlives the jobs.
    # How long attempts took counts where there was an end to wait for: not with cancelled jobs.
    """
    CREATE TABLE day (
        day INTEGER NOT NULL PRIMARY KEY,
        submitted INTEGER NOT NULL DEFAULT 0,
        done INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        cancelled INTEGER NOT NULL DEFAULT 0,
        errors INTEGER NOT NULL DEFAULT 0,
        run_us INTEGER NOT NULL DEFAULT 0,
        longest_us INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    """
    CREATE TRIGGER day_submitted AFTER INSERT ON job BEGIN
        INSERT INTO day (day, submitted) VALUES (new.submitted_at / 86400000000, 1)
            ON CONFLICT DO UPDATE SET submitted = submitted + 1;
    END
    """,
    # The first is how jobs end here; the second is for those that were imported.
    *(
        f"""
        CREATE TRIGGER {name} BEGIN
            INSERT INTO day (day, done, failed, cancelled, errors, run_us, longest_us)
            VALUES (
                new.finished_at / 86400000000,
                new.state = 'done',
                new.state = 'failed',
                new.state = 'cancelled',
                new.state = 'failed' OR (new.state = 'done' AND coalesce(new.status, 0) >= 400),
                iif(new.state <> 'cancelled', max(0, {TOOK}), 0),
                iif(new.state <> 'cancelled', max(0, {TOOK}), 0)
            )
            ON CONFLICT DO UPDATE SET
                done = done + excluded.done,
                failed = failed + excluded.failed,
                cancelled = cancelled + excluded.cancelled,
                errors = errors + excluded.errors,
                run_us = run_us + excluded.run_us,
                longest_us = max(longest_us, excluded.longest_us);
        END
        """
        for name in (
            f"day_ended AFTER UPDATE OF state ON job WHEN {ENDS} AND old.finished_at IS NULL",
            f"day_imported AFTER INSERT ON job WHEN {ENDS}",
        )
    ),
    """
    INSERT INTO day (day, submitted)
        SELECT submitted_at / 86400000000, count(*) FROM job GROUP BY 1
    """,
    """
    INSERT INTO day (day, done, failed, cancelled, errors, run_us, longest_us)
        SELECT finished_at / 86400000000,
            sum(state = 'done'),
            sum(state = 'failed'),
            sum(state = 'cancelled'),
            sum(state = 'failed' OR (state = 'done' AND coalesce(status, 0) >= 400)),
            sum(iif(state <> 'cancelled', max(0, coalesce(finished_at - started_at, 0)), 0)),
            max(iif(state <> 'cancelled', max(0, coalesce(finished_at - started_at, 0)), 0))
        FROM job WHERE finished_at IS NOT NULL GROUP BY 1
        ON CONFLICT DO UPDATE SET
            done = excluded.done,
            failed = excluded.failed,
            cancelled = excluded.cancelled,
            errors = excluded.errors,
            run_us = excluded.run_us,
            longest_us = excluded.longest_us
    """,
    # The views are an interface: their columns keep their names and their meaning. For people and
    # tools, times are ISO 8601 in UTC with milliseconds, and durations are in milliseconds.
    "DROP VIEW timeline",
    # A row for each thing that happened to a job, in no order; the ordinary and the rare.
    f"""
    CREATE VIEW timeline AS
        SELECT
            job_id,
            at,  -- microseconds since 1970
            event,  -- submitted, started, done, failed, cancelled, fetched, retried, recovered, ...
            detail,
            {iso("at")} AS time
        FROM (
            SELECT id AS job_id, submitted_at AS at, {text("'submitted'")} AS event,
                {text("NULL")} AS detail FROM job
            UNION ALL
            SELECT job_id, started_at, {text("'started'")}, {text("'attempt ' || number")}
                FROM attempt
            UNION ALL
            SELECT id, started_at, {text("'started'")}, {text("'attempt ' || attempt")}
                FROM job WHERE started_at IS NOT NULL
            UNION ALL
            SELECT id, finished_at, state, {text("coalesce(detail, 'status ' || status)")}
                FROM job WHERE finished_at IS NOT NULL
            UNION ALL
            SELECT id, fetched_at, {text("'fetched'")}, {text("NULL")}
                FROM job WHERE fetched_at IS NOT NULL
            UNION ALL
            SELECT job_id, at, event, detail FROM event
        )
    """,
    # A row for each job.
    f"""
    CREATE VIEW history AS
        SELECT
            job.id AS job_id,
            job.state,  -- queued, running, done, failed or cancelled
            job.result,  -- none, held, taken, deleted, expired or unwanted
            job.dialect,  -- the API in which it was submitted
            job.owner,  -- who submitted it, or ''
            job.method,
            job.path,  -- with its query
            substr(job.path, 1, instr(job.path || '?', '?') - 1) AS endpoint,  -- without it
            job.target,  -- the prefix of the target that answers
            definition.name AS definition,  -- of which it is a run, or null
            job."trigger",  -- what started that run, or null
            job.tag,
            job.priority,  -- lower runs first
            job.attempt,  -- how often it was begun
            job.retried,  -- how many of these times because it had failed for a passing reason
            job.status,  -- of the answer, or of what stands in its place
            job.failure,  -- unreachable, timeout, broken, interrupted or null
            job.detail,  -- a sentence about the end, if there is something to say
            {ERROR} AS error,  -- 1 or 0
            {iso("job.submitted_at")} AS submitted,
            {iso("job.started_at")} AS started,  -- the last attempt
            {iso("job.finished_at")} AS finished,
            {iso("job.fetched_at")} AS fetched,
            {iso("job.cancel_asked_at")} AS cancel_asked,
            (job.started_at - job.submitted_at) / 1000.0 AS wait_ms,  -- until the last attempt
            (job.finished_at - job.started_at) / 1000.0 AS run_ms,  -- of the last attempt
            job.progress,  -- percent, as reported
            job.counters,  -- a JSON object, as reported
            job.warnings,  -- how many were reported
            job.submitted_at / 1000 AS submitted_ms,  -- milliseconds since 1970, as the next two
            job.started_at / 1000 AS started_ms,
            job.finished_at / 1000 AS finished_ms
        FROM job LEFT JOIN definition ON definition.id = job.definition
    """,
    # A row for each time a job was begun.
    f"""
    CREATE VIEW attempts AS
        SELECT
            job_id,
            number,  -- from 1
            {iso("started_at")} AS started,
            {iso("ended_at")} AS ended,  -- or when that was noticed; null while it runs
            (ended_at - started_at) / 1000.0 AS run_ms,
            status,
            failure,
            detail,
            started_at / 1000 AS started_ms,  -- milliseconds since 1970, as the next one
            ended_at / 1000 AS ended_ms
        FROM (
            SELECT job_id, number, started_at, ended_at, status, failure, detail FROM attempt
            UNION ALL
            SELECT id, attempt, started_at, finished_at, status, failure, detail
                FROM job WHERE started_at IS NOT NULL
        )
    """,
    # A row for each day, UTC, on which anything was submitted or ended; it outlives the jobs.
    """
    CREATE VIEW daily AS
        SELECT
            strftime('%Y-%m-%d', day * 86400, 'unixepoch') AS day,
            submitted,  -- jobs submitted on that day; those in the next four columns ended then
            done,
            failed,
            cancelled,
            errors,  -- failed, or answered with a status of 400 or more
            run_us / 1000.0 / nullif(done + failed, 0) AS mean_run_ms,
            longest_us / 1000.0 AS longest_run_ms
        FROM day
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
