"""What the store needs to keep its promises to strangers, neighbours and odd clocks."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    # For how many microseconds a queued job waits from when it was put in, or from when its last
    # attempt ended; others whose time has to come wait for a time that was named. The row stays.
    """
    CREATE TABLE delay (
        job_id INTEGER NOT NULL PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
        length INTEGER NOT NULL
    ) STRICT
    """,
    """
    INSERT INTO delay (job_id, length)
        SELECT id, not_before - ended_at
        FROM job JOIN (SELECT job_id, max(ended_at) AS ended_at FROM attempt GROUP BY job_id)
            ON job_id = id
        WHERE state = 'queued' AND not_before IS NOT NULL AND retried > 0
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
