"""What jobs did in quarters of an hour, hours and days, and which of them went wrong.

`period` outlives the jobs, as `day` does. Up to the job whose id stands in `revision`, all that had
ended were counted there; those that had not are in `uncounted`, and are counted later.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE period (
        seconds INTEGER NOT NULL,
        kind TEXT NOT NULL,
        start INTEGER NOT NULL,
        name TEXT NOT NULL,
        done INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        cancelled INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        waits TEXT NOT NULL,
        runs TEXT NOT NULL,
        longest_us INTEGER NOT NULL,
        PRIMARY KEY (seconds, kind, start, name),
        CONSTRAINT sound_period
            CHECK (seconds IN (900, 3600, 86400)
                AND kind IN ('all', 'route', 'definition', 'owner', 'target')
                AND start % (seconds * 1000000) = 0)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE uncounted (
        job_id INTEGER NOT NULL PRIMARY KEY
    ) STRICT, WITHOUT ROWID
    """,
    "INSERT INTO revision (of, number) VALUES ('counted', 0)",
    # What went wrong, the newest first.
    """
    CREATE INDEX job_bad ON job (id)
        WHERE state = 'failed' OR state = 'done' AND status >= 400
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
