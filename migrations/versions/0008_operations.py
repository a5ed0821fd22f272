"""Operations on many jobs, each with the ids that it was made for."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE operation (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        action TEXT NOT NULL,
        filter TEXT,
        owner TEXT NOT NULL,
        account INTEGER NOT NULL,
        scope INTEGER,
        without_secrets INTEGER NOT NULL,
        state TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        finished_at INTEGER,
        stopped_by TEXT,
        total INTEGER NOT NULL,
        done INTEGER NOT NULL,
        skipped INTEGER NOT NULL,
        reasons TEXT NOT NULL,
        waits TEXT,
        part INTEGER NOT NULL,
        place INTEGER NOT NULL,
        CONSTRAINT sound_operation
            CHECK (CASE state
                WHEN 'running' THEN finished_at IS NULL
                WHEN 'done' THEN finished_at IS NOT NULL
                WHEN 'stopped' THEN finished_at IS NOT NULL
                ELSE 0 END)
    ) STRICT
    """,
    """
    CREATE TABLE operation_part (
        operation INTEGER NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
        part INTEGER NOT NULL,
        ids TEXT NOT NULL,
        PRIMARY KEY (operation, part)
    ) STRICT, WITHOUT ROWID
    """,
    # What a server goes on with.
    "CREATE INDEX operation_running ON operation (id) WHERE state = 'running'",
    # What is forgotten one day.
    "CREATE INDEX operation_over ON operation (finished_at) WHERE finished_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
