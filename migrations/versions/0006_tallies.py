"""Operations count what they do to jobs, once for all of a transaction, where triggers did it.

The numbers stay as they are. What triggers tell a running server, of accounts and of schedules,
stays as well.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = tuple(
    f"DROP TRIGGER {name}"
    for name in (
        "count_submitted",
        "count_state",
        "count_result",
        "count_purged",
        "day_submitted",
        "day_ended",
        "day_imported",
        "usage_submitted",
        "usage_queued",
        "usage_stored",
        "usage_purged",
    )
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
