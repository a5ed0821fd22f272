"""Jobs, their messages, their events, and what is counted of them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Times are integers: microseconds since 1970-01-01T00:00:00Z.
STATEMENTS = (
    # One row for each start of a server; a claim carries the number of the start that made it.
    """
    CREATE TABLE boot (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        started_at INTEGER NOT NULL,
        pid INTEGER NOT NULL,
        version TEXT NOT NULL,
        ended_at INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE job (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        state TEXT NOT NULL
            CONSTRAINT known_state
            CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        result TEXT NOT NULL
            CONSTRAINT known_result
            CHECK (result IN ('none', 'held', 'taken', 'deleted', 'expired', 'unwanted')),
        dialect TEXT NOT NULL,
        owner TEXT NOT NULL,
        target TEXT NOT NULL,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        priority INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        boot INTEGER REFERENCES boot (id),
        submitted_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        fetched_at INTEGER,
        cancel_asked_at INTEGER,
        purgeable_at INTEGER,
        status INTEGER,
        failure TEXT,
        detail TEXT,
        progress REAL,
        counters TEXT,
        warnings INTEGER NOT NULL,
        CONSTRAINT finished_when_ended
            CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'failed', 'cancelled'))),
        CONSTRAINT started_when_running
            CHECK (state <> 'running' OR (started_at IS NOT NULL AND boot IS NOT NULL)),
        CONSTRAINT result_when_ended
            CHECK (CASE result
                WHEN 'none' THEN finished_at IS NULL
                WHEN 'held' THEN finished_at IS NOT NULL
                WHEN 'taken' THEN finished_at IS NOT NULL
                WHEN 'expired' THEN finished_at IS NOT NULL
                ELSE 1 END),
        CONSTRAINT fetched_when_taken
            CHECK ((fetched_at IS NOT NULL) = (result = 'taken'))
    ) STRICT
    """,
    # The next jobs of one target.
    "CREATE INDEX job_ready ON job (target, priority, id) WHERE state = 'queued'",
    # The claims that an earlier server left behind.
    "CREATE INDEX job_running ON job (boot, id) WHERE state = 'running'",
    # The list of pending jobs, and of those whose result can be fetched.
    "CREATE INDEX job_pending ON job (id) WHERE result = 'none'",
    "CREATE INDEX job_held ON job (id) WHERE result = 'held'",
    # Results that nobody fetched until a given time.
    "CREATE INDEX job_unfetched ON job (finished_at) WHERE result = 'held'",
    # Payloads that nobody can ask for any more.
    "CREATE INDEX job_purgeable ON job (purgeable_at) WHERE purgeable_at IS NOT NULL",
    # Small contents stand in the message's row; of a large one the row in "body" tells the size.
    """
    CREATE TABLE request (
        job_id INTEGER NOT NULL PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
        headers TEXT NOT NULL,
        secrets TEXT,
        content BLOB
    ) STRICT
    """,
    """
    CREATE TABLE response (
        job_id INTEGER NOT NULL PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
        reason TEXT,
        headers TEXT NOT NULL,
        content BLOB
    ) STRICT
    """,
    # A large content; without a job it is either still being written or waits to be swept away.
    """
    CREATE TABLE body (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER REFERENCES job (id) ON DELETE SET NULL,
        side TEXT NOT NULL CONSTRAINT known_side CHECK (side IN ('request', 'response')),
        size INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX body_of_job ON body (job_id, side) WHERE job_id IS NOT NULL",
    "CREATE INDEX body_orphan ON body (id) WHERE job_id IS NULL",
    """
    CREATE TABLE chunk (
        body_id INTEGER NOT NULL REFERENCES body (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (body_id, seq)
    ) STRICT
    """,
    # Only what is out of the ordinary; the ordinary is in the job's own times.
    """
    CREATE TABLE event (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        at INTEGER NOT NULL,
        event TEXT NOT NULL,
        detail TEXT
    ) STRICT
    """,
    "CREATE INDEX event_of_job ON event (job_id, at)",
    """
    CREATE TABLE counter (
        machine TEXT NOT NULL,
        state TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (machine, state)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO counter (machine, state, count) VALUES
        ('job', 'queued', 0), ('job', 'running', 0),
        ('job', 'done', 0), ('job', 'failed', 0), ('job', 'cancelled', 0),
        ('result', 'none', 0), ('result', 'held', 0), ('result', 'taken', 0),
        ('result', 'deleted', 0), ('result', 'expired', 0), ('result', 'unwanted', 0)
    """,
    """
    CREATE TRIGGER count_submitted AFTER INSERT ON job BEGIN
        UPDATE counter SET count = count + 1 WHERE machine = 'job' AND state = new.state;
        UPDATE counter SET count = count + 1 WHERE machine = 'result' AND state = new.result;
    END
    """,
    """
    CREATE TRIGGER count_state AFTER UPDATE OF state ON job WHEN old.state <> new.state BEGIN
        UPDATE counter SET count = count - 1 WHERE machine = 'job' AND state = old.state;
        UPDATE counter SET count = count + 1 WHERE machine = 'job' AND state = new.state;
    END
    """,
    """
    CREATE TRIGGER count_result AFTER UPDATE OF result ON job WHEN old.result <> new.result BEGIN
        UPDATE counter SET count = count - 1 WHERE machine = 'result' AND state = old.result;
        UPDATE counter SET count = count + 1 WHERE machine = 'result' AND state = new.result;
    END
    """,
    """
    CREATE TRIGGER count_purged AFTER DELETE ON job BEGIN
        UPDATE counter SET count = count - 1 WHERE machine = 'job' AND state = old.state;
        UPDATE counter SET count = count - 1 WHERE machine = 'result' AND state = old.result;
    END
    """,
    """
    CREATE VIEW timeline AS
        SELECT id AS job_id, submitted_at AS at, 'submitted' AS event, NULL AS detail FROM job
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
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
