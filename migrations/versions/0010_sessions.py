"""Sessions of people at the pages, by the digest of what their browsers send."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE session (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        digest TEXT NOT NULL UNIQUE,
        account TEXT NOT NULL REFERENCES account (name) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL,
        until INTEGER NOT NULL,
        label TEXT NOT NULL
    ) STRICT
    """,
    # Whoever changes a password wants everybody out who came in by the old one.
    """
    CREATE TRIGGER account_sessions AFTER UPDATE OF password, role ON account BEGIN
        DELETE FROM session WHERE account = new.name;
    END
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
