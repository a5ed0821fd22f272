"""Retries, delays, schedules and idempotency keys; the views that the history is asked by."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

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
    # What was submitted under a key of its client's.
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
    "CREATE INDEX idempotency_age ON idempotency (created_at)",
    "ALTER TABLE definition ADD COLUMN retries INTEGER",
    "ALTER TABLE definition ADD COLUMN cron TEXT",
    "ALTER TABLE definition ADD COLUMN time_zone TEXT",
    "ALTER TABLE definition ADD COLUMN catch_up TEXT",
    "ALTER TABLE definition ADD COLUMN overlap TEXT",
    "ALTER TABLE definition ADD COLUMN paused INTEGER NOT NULL DEFAULT 0",
    # When its schedule fires next; null if it has none, is paused or was deleted.
    "ALTER TABLE definition ADD COLUMN fires_at INTEGER",
    "CREATE INDEX definition_fires ON definition (fires_at) WHERE fires_at IS NOT NULL",
    # What was done on each day, UTC, which has 86400000000 microseconds; it outlives the jobs.
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
    """
    CREATE TRIGGER day_ended AFTER UPDATE OF state ON job
    WHEN new.finished_at IS NOT NULL AND old.finished_at IS NULL BEGIN
        INSERT INTO day (day, done, failed, cancelled, errors, run_us, longest_us)
        VALUES (
            new.finished_at / 86400000000,
            new.state = 'done',
            new.state = 'failed',
            new.state = 'cancelled',
            new.state = 'failed' OR (new.state = 'done' AND new.status >= 400),
            max(0, coalesce(new.finished_at - new.started_at, 0)),
            max(0, coalesce(new.finished_at - new.started_at, 0))
        )
        ON CONFLICT DO UPDATE SET
            done = done + excluded.done,
            failed = failed + excluded.failed,
            cancelled = cancelled + excluded.cancelled,
            errors = errors + excluded.errors,
            run_us = run_us + excluded.run_us,
            longest_us = max(longest_us, excluded.longest_us);
    END
    """,
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
            sum(state = 'failed' OR (state = 'done' AND status >= 400)),
            sum(max(0, coalesce(finished_at - started_at, 0))),
            max(max(0, coalesce(finished_at - started_at, 0)))
        FROM job WHERE finished_at IS NOT NULL GROUP BY 1
        ON CONFLICT DO UPDATE SET
            done = excluded.done,
            failed = excluded.failed,
            cancelled = excluded.cancelled,
            errors = excluded.errors,
            run_us = excluded.run_us,
            longest_us = excluded.longest_us
    """,
    "DROP VIEW timeline",
    """
    CREATE VIEW timeline AS
        SELECT id AS job_id, submitted_at AS at, 'submitted' AS event, NULL AS detail FROM job
        UNION ALL
        SELECT job_id, started_at, 'started', 'attempt ' || number FROM attempt
        UNION ALL
        SELECT id, started_at, 'started', 'attempt ' || attempt
            FROM job WHERE started_at IS NOT NULL
        UNION ALL
        SELECT id, finished_at, state, coalesce(detail, 'status ' || status)
            FROM job WHERE finished_at IS NOT NULL
        UNION ALL
        SELECT id, fetched_at, 'fetched', NULL FROM job WHERE fetched_at IS NOT NULL
        UNION ALL
        SELECT job_id, at, event, detail FROM event
    """,
    # Times as ISO 8601, in UTC, for people and tools; durations in milliseconds.
    """
    CREATE VIEW history AS
        SELECT
            job.id AS job_id,
            job.state,
            job.result,
            job.dialect,
            job.owner,
            job.method,
            job.path,
            job.target,
            definition.name AS definition,
            job."trigger",
            job.tag,
            job.attempt,
            job.status,
            job.failure,
            job.detail,
            strftime('%Y-%m-%dT%H:%M:%fZ', job.submitted_at / 1000000.0, 'unixepoch')
                AS submitted,
            strftime('%Y-%m-%dT%H:%M:%fZ', job.started_at / 1000000.0, 'unixepoch') AS started,
            strftime('%Y-%m-%dT%H:%M:%fZ', job.finished_at / 1000000.0, 'unixepoch') AS finished,
            strftime('%Y-%m-%dT%H:%M:%fZ', job.fetched_at / 1000000.0, 'unixepoch') AS fetched,
            (job.started_at - job.submitted_at) / 1000.0 AS wait_ms,
            (job.finished_at - job.started_at) / 1000.0 AS run_ms,
            job.progress,
            job.counters,
            job.warnings,
            job.submitted_at / 1000 AS submitted_ms,
            job.finished_at / 1000 AS finished_ms
        FROM job LEFT JOIN definition ON definition.id = job.definition
    """,
    """
    CREATE VIEW attempts AS
        SELECT
            job_id,
            number,
            strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000000.0, 'unixepoch') AS started,
            strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1000000.0, 'unixepoch') AS ended,
            (ended_at - started_at) / 1000.0 AS run_ms,
            status,
            failure,
            detail
        FROM attempt
        UNION ALL
        SELECT
            id,
            attempt,
            strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000000.0, 'unixepoch'),
            strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1000000.0, 'unixepoch'),
            (finished_at - started_at) / 1000.0,
            status,
            failure,
            detail
        FROM job WHERE started_at IS NOT NULL
    """,
    """
    CREATE VIEW daily AS
        SELECT
            strftime('%Y-%m-%d', day * 86400, 'unixepoch') AS day,
            submitted,
            done,
            failed,
            cancelled,
            errors,
            run_us / 1000.0 / nullif(done + failed, 0) AS mean_run_ms,
            longest_us / 1000.0 AS longest_run_ms
        FROM day
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
