"""What the store needs to keep its promises to strangers, neighbours and odd clocks."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    # The newest job of an owner with a tag, which may be used again.
    "CREATE INDEX job_tag_of_owner ON job (owner, tag) WHERE tag IS NOT NULL",
    # The address that a job was submitted from.
    "ALTER TABLE job ADD COLUMN source TEXT",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
