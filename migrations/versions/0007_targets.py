"""What operators have said of targets, what servers find them to be, and who did what when.

`target_state` outlives servers, and counts its changes for those that run. `served` is what each
start of a server says of its targets. `audit` is about anything that operators do to more than one
job.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE target_state (
        name TEXT NOT NULL PRIMARY KEY,
        paused_at INTEGER,
        paused_by TEXT,
        reason TEXT,
        concurrency INTEGER,
        changed_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE served (
        boot INTEGER NOT NULL REFERENCES boot (id),
        target TEXT NOT NULL,
        concurrency INTEGER NOT NULL,
        held_at INTEGER,
        held_why TEXT,
        PRIMARY KEY (boot, target)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE audit (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT
    ) STRICT
    """,
    "INSERT INTO revision (of, number) VALUES ('targets', 0)",
    *(
        f"""
        CREATE TRIGGER target_state_{verb.lower()} AFTER {verb} ON target_state BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'targets';
        END
        """
        for verb in ("INSERT", "UPDATE", "DELETE")
    ),
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
