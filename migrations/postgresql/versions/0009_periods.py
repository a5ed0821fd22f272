"""What jobs did in quarters of an hour, hours and days; one node at a time counts them."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE period (
        seconds BIGINT NOT NULL,
        kind TEXT NOT NULL,
        start BIGINT NOT NULL,
        name TEXT NOT NULL,
        done BIGINT NOT NULL,
        failed BIGINT NOT NULL,
        cancelled BIGINT NOT NULL,
        errors BIGINT NOT NULL,
        waits TEXT NOT NULL,
        runs TEXT NOT NULL,
        longest_us BIGINT NOT NULL,
        PRIMARY KEY (seconds, kind, start, name),
        CONSTRAINT sound_period
            CHECK (seconds IN (900, 3600, 86400)
                AND kind IN ('all', 'route', 'definition', 'owner', 'target')
                AND start % (seconds * 1000000) = 0)
    )
    """,
    "CREATE TABLE uncounted (job_id BIGINT PRIMARY KEY)",
    "INSERT INTO revision (of, number) VALUES ('counted', 0)",
    # What went wrong, the newest first.
    """
    CREATE INDEX job_bad ON job (id)
        WHERE state = 'failed' OR state = 'done' AND status >= 400
    """,
    # Nodes of version 7 and 8 can go on beside this one: they do not know these tables. What they
    # remove from the history before a node of this version has counted it stays uncounted.
    "UPDATE meta SET schema_version = 9",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
