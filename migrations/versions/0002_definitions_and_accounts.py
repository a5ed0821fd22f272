"""Definitions and their runs, accounts and their tokens; jobs that wait for others, and tags."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    # What was deleted stays, without its contents, as long as the history has a run of it.
    """
    CREATE TABLE definition (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        file_id INTEGER NOT NULL UNIQUE,
        uuid TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        path TEXT NOT NULL,
        owner TEXT NOT NULL,
        method TEXT NOT NULL,
        request_target TEXT NOT NULL,
        headers TEXT NOT NULL,
        secrets TEXT,
        content BLOB NOT NULL,
        timeout REAL,
        replay TEXT,
        created_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        deleted_at INTEGER
    ) STRICT
    """,
    # The definition at a path.
    "CREATE UNIQUE INDEX definition_path ON definition (path) WHERE deleted_at IS NULL",
    # Definitions that may leave with the last of their runs.
    "CREATE INDEX definition_deleted ON definition (id) WHERE deleted_at IS NOT NULL",
    "ALTER TABLE job ADD COLUMN timeout REAL",
    "ALTER TABLE job ADD COLUMN replay TEXT",
    "ALTER TABLE job ADD COLUMN tag TEXT",
    "ALTER TABLE job ADD COLUMN once INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN definition INTEGER REFERENCES definition (id)",
    'ALTER TABLE job ADD COLUMN "trigger" TEXT',
    # The job whose success this one waits for, while it is queued.
    "ALTER TABLE job ADD COLUMN follows INTEGER",
    # The next jobs of one target, but for those that wait for others.
    "DROP INDEX job_ready",
    "CREATE INDEX job_ready ON job (target, follows, priority, id) WHERE state = 'queued'",
    # What the end of a job has consequences for.
    "CREATE INDEX job_following ON job (follows) WHERE follows IS NOT NULL",
    # The runs of a definition, and the latest of them.
    "CREATE INDEX job_of_definition ON job (definition, id) WHERE definition IS NOT NULL",
    # The job with a tag.
    "CREATE INDEX job_tag ON job (tag) WHERE tag IS NOT NULL",
    # The same lists as before, now also for one owner without a look at the jobs of the others.
    "DROP INDEX job_pending",
    "CREATE INDEX job_pending ON job (id, owner) WHERE result = 'none'",
    "DROP INDEX job_held",
    "CREATE INDEX job_held ON job (id, owner) WHERE result = 'held'",
    "DROP INDEX job_unfetched",
    "CREATE INDEX job_unfetched ON job (finished_at, owner) WHERE result = 'held'",
    """
    CREATE TABLE account (
        name TEXT NOT NULL PRIMARY KEY,
        role TEXT NOT NULL CONSTRAINT known_role CHECK (role IN ('admin', 'user', 'reader')),
        password TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE token (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL REFERENCES account (name) ON DELETE CASCADE,
        label TEXT NOT NULL,
        digest TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL
    ) STRICT
    """,
    # How often something has changed that a running server keeps in memory.
    """
    CREATE TABLE revision (
        of TEXT NOT NULL PRIMARY KEY,
        number INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "INSERT INTO revision (of, number) VALUES ('accounts', 0), ('queue', 0)",
    *(
        f"""
        CREATE TRIGGER {table}_{verb.lower()} AFTER {verb} ON {table} BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'accounts';
        END
        """
        for table in ("account", "token")
        for verb in ("INSERT", "UPDATE", "DELETE")
    ),
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
