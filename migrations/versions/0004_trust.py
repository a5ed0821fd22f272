"""What the store needs to keep its promises to strangers, neighbours and odd clocks."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What belonged to a name belongs to the account that has the name now; the accounts in their order.
ACCOUNT_OF_OWNER = "(SELECT id FROM account WHERE name = owner)"
OF_ACCOUNTS = "owner IN (SELECT name FROM account)"

# How many bytes are kept of the bodies of a job.
KEPT = """
    coalesce(
        (SELECT length(content) FROM {table} WHERE job_id = job.id),
        (SELECT size FROM body WHERE job_id = job.id AND side = '{table}'),
        0
    )
"""

STATEMENTS: tuple[str, ...] = (
    # Jobs belong to an account, not to a name: ids are never given out twice.
    """
    CREATE TABLE new_account (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL CONSTRAINT known_role CHECK (role IN ('admin', 'user', 'reader')),
        password TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL
    ) STRICT
    """,
    """
    INSERT INTO new_account (name, role, password, created_at, changed_at)
        SELECT name, role, password, created_at, changed_at FROM account ORDER BY created_at, name
    """,
    # Tokens would leave with the old table of accounts, which they refer to.
    """
    CREATE TABLE new_token (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL REFERENCES new_account (name) ON DELETE CASCADE,
        label TEXT NOT NULL,
        digest TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO new_token SELECT id, account, label, digest, created_at FROM token",
    # Nor are the ids of tokens given out twice.
    "DELETE FROM sqlite_sequence WHERE name = 'new_token'",
    """
    INSERT INTO sqlite_sequence (name, seq)
        SELECT 'new_token', seq FROM sqlite_sequence WHERE name = 'token'
    """,
    "DROP TABLE token",
    "DROP TABLE account",
    "ALTER TABLE new_account RENAME TO account",
    "ALTER TABLE new_token RENAME TO token",
    *(
        f"""
        CREATE TRIGGER {table}_{verb.lower()} AFTER {verb} ON {table} BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'accounts';
        END
        """
        for table in ("account", "token")
        for verb in ("INSERT", "UPDATE", "DELETE")
    ),
    # 0 is nobody's: submitted without accounts. Negative ones are made of names that the
    # application vouches for in which jobstore is embedded.
    *(
        statement
        for table in ("job", "definition")
        for statement in (
            f"ALTER TABLE {table} ADD COLUMN account INTEGER NOT NULL DEFAULT 0",
            f"UPDATE {table} SET account = {ACCOUNT_OF_OWNER} WHERE {OF_ACCOUNTS}",
        )
    ),
    "ALTER TABLE idempotency RENAME TO old_idempotency",
    "DROP INDEX idempotency_of_job",
    """
    CREATE TABLE idempotency (
        account INTEGER NOT NULL,
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (account, owner, key)
    ) STRICT, WITHOUT ROWID
    """,
    f"""
    INSERT INTO idempotency
        SELECT coalesce({ACCOUNT_OF_OWNER}, 0), owner, key, fingerprint, job_id, created_at
        FROM old_idempotency
    """,
    "DROP TABLE old_idempotency",
    "CREATE INDEX idempotency_of_job ON idempotency (job_id)",
    # The same lists as before, for one account.
    *(
        statement
        for name, first, result in (
            ("pending", "id", "none"),
            ("held", "id", "held"),
            ("unfetched", "finished_at", "held"),
        )
        for statement in (
            f"DROP INDEX job_{name}",
            f"CREATE INDEX job_{name} ON job ({first}, account) WHERE result = '{result}'",
        )
    ),
    # Each owner has a path of their own; it tells nobody what others have.
    "DROP INDEX definition_path",
    "CREATE UNIQUE INDEX definition_path ON definition (path, account) WHERE deleted_at IS NULL",
    # How many jobs made one another before this one was made.
    "ALTER TABLE job ADD COLUMN depth INTEGER NOT NULL DEFAULT 0",
    # How many bytes of its bodies are kept.
    "ALTER TABLE job ADD COLUMN stored INTEGER NOT NULL DEFAULT 0",
    f"""
    UPDATE job SET stored = {KEPT.format(table="request")} + {KEPT.format(table="response")}
        WHERE id IN (SELECT job_id FROM request)
    """,
    # The next jobs of one target and account.
    "DROP INDEX job_ready",
    """
    CREATE INDEX job_ready ON job (target, follows, not_before, account, priority, id)
        WHERE state = 'queued'
    """,
    # How many jobs of an account wait, and how many bytes are kept of its bodies.
    """
    CREATE TABLE account_usage (
        account INTEGER NOT NULL PRIMARY KEY,
        queued INTEGER NOT NULL,
        stored INTEGER NOT NULL
    ) STRICT
    """,
    """
    INSERT INTO account_usage (account, queued, stored)
        SELECT account, sum(state = 'queued'), sum(stored) FROM job GROUP BY account
    """,
    # A job that runs at once, and whose bodies are empty, changes nothing here.
    *(
        f"""
        CREATE TRIGGER {name} BEGIN
            INSERT INTO account_usage (account, queued, stored)
                VALUES (new.account, {queued}, {stored})
                ON CONFLICT DO UPDATE SET
                    queued = queued + excluded.queued, stored = stored + excluded.stored;
        END
        """
        for name, queued, stored in (
            (
                "usage_submitted AFTER INSERT ON job WHEN new.state = 'queued' OR new.stored <> 0",
                "new.state = 'queued'",
                "new.stored",
            ),
            (
                "usage_queued AFTER UPDATE OF state ON job WHEN 'queued' IN (old.state, new.state)",
                "(new.state = 'queued') - (old.state = 'queued')",
                "0",
            ),
            (
                "usage_stored AFTER UPDATE OF stored ON job WHEN old.stored <> new.stored",
                "0",
                "new.stored - old.stored",
            ),
        )
    ),
    """
    CREATE TRIGGER usage_purged AFTER DELETE ON job
        WHEN old.stored <> 0 OR old.state = 'queued' BEGIN
        UPDATE account_usage
            SET queued = queued - (old.state = 'queued'), stored = stored - old.stored
            WHERE account = old.account;
    END
    """,
    # The newest job of an owner with a tag, which may be used again.
    "CREATE INDEX job_tag_of_owner ON job (account, owner, tag) WHERE tag IS NOT NULL",
    # The address that a job was submitted from.
    "ALTER TABLE job ADD COLUMN source TEXT",
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
