-- Written by `python -m pages` from what the migrations make of an empty file.
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE boot (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        started_at INTEGER NOT NULL,
        pid INTEGER NOT NULL,
        version TEXT NOT NULL,
        ended_at INTEGER
    ) STRICT
    ;
CREATE TABLE job (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        state TEXT NOT NULL,
        result TEXT NOT NULL,
        dialect TEXT NOT NULL,
        owner TEXT NOT NULL,
        target TEXT NOT NULL,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        priority INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        boot INTEGER REFERENCES boot (id),
        submitted_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        fetched_at INTEGER,
        cancel_asked_at INTEGER,
        purgeable_at INTEGER,
        status INTEGER,
        failure TEXT,
        detail TEXT,
        progress REAL,
        counters TEXT,
        warnings INTEGER NOT NULL, timeout REAL, replay TEXT, tag TEXT, once INTEGER NOT NULL DEFAULT 0, definition INTEGER REFERENCES definition (id), "trigger" TEXT, follows INTEGER, retries INTEGER, retried INTEGER NOT NULL DEFAULT 0, not_before INTEGER, account INTEGER NOT NULL DEFAULT 0, depth INTEGER NOT NULL DEFAULT 0, stored INTEGER NOT NULL DEFAULT 0, source TEXT,
        CONSTRAINT sound_state
            CHECK (CASE state
                WHEN 'queued' THEN finished_at IS NULL
                WHEN 'running'
                    THEN finished_at IS NULL AND started_at IS NOT NULL AND boot IS NOT NULL
                WHEN 'done' THEN finished_at IS NOT NULL
                WHEN 'failed' THEN finished_at IS NOT NULL
                WHEN 'cancelled' THEN finished_at IS NOT NULL
                ELSE 0 END),
        CONSTRAINT sound_result
            CHECK (CASE result
                WHEN 'none' THEN finished_at IS NULL AND fetched_at IS NULL
                WHEN 'held' THEN finished_at IS NOT NULL AND fetched_at IS NULL
                WHEN 'taken' THEN finished_at IS NOT NULL AND fetched_at IS NOT NULL
                WHEN 'expired' THEN finished_at IS NOT NULL AND fetched_at IS NULL
                WHEN 'deleted' THEN fetched_at IS NULL
                WHEN 'unwanted' THEN fetched_at IS NULL
                ELSE 0 END)
    ) STRICT
    ;
CREATE INDEX job_running ON job (boot, id) WHERE state = 'running';
CREATE INDEX job_purgeable ON job (purgeable_at) WHERE purgeable_at IS NOT NULL;
CREATE TABLE request (
        job_id INTEGER NOT NULL PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
        headers TEXT NOT NULL,
        secrets TEXT,
        content BLOB
    ) STRICT
    ;
CREATE TABLE response (
        job_id INTEGER NOT NULL PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
        reason TEXT,
        headers TEXT NOT NULL,
        content BLOB
    ) STRICT
    ;
CREATE TABLE body (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER REFERENCES job (id) ON DELETE SET NULL,
        side TEXT NOT NULL CONSTRAINT known_side CHECK (side IN ('request', 'response')),
        size INTEGER NOT NULL
    ) STRICT
    ;
CREATE UNIQUE INDEX body_of_job ON body (job_id, side) WHERE job_id IS NOT NULL;
CREATE INDEX body_orphan ON body (id) WHERE job_id IS NULL;
CREATE TABLE chunk (
        body_id INTEGER NOT NULL REFERENCES body (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (body_id, seq)
    ) STRICT
    ;
CREATE TABLE event (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        at INTEGER NOT NULL,
        event TEXT NOT NULL,
        detail TEXT
    ) STRICT
    ;
CREATE INDEX event_of_job ON event (job_id, at);
CREATE TABLE counter (
        machine TEXT NOT NULL,
        state TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (machine, state)
    ) STRICT, WITHOUT ROWID
    ;
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
    , retries INTEGER, cron TEXT, time_zone TEXT, catch_up TEXT, overlap TEXT, paused INTEGER NOT NULL DEFAULT 0, fires_at INTEGER, account INTEGER NOT NULL DEFAULT 0) STRICT
    ;
CREATE INDEX definition_deleted ON definition (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX job_following ON job (follows) WHERE follows IS NOT NULL;
CREATE INDEX job_of_definition ON job (definition, id) WHERE definition IS NOT NULL;
CREATE INDEX job_tag ON job (tag) WHERE tag IS NOT NULL;
CREATE TABLE revision (
        of TEXT NOT NULL PRIMARY KEY,
        number INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    ;
CREATE INDEX job_due ON job (not_before)
        WHERE state = 'queued' AND not_before IS NOT NULL
    ;
CREATE TABLE attempt (
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        ended_at INTEGER NOT NULL,
        status INTEGER,
        failure TEXT,
        detail TEXT,
        PRIMARY KEY (job_id, number)
    ) STRICT, WITHOUT ROWID
    ;
CREATE INDEX definition_fires ON definition (fires_at) WHERE fires_at IS NOT NULL;
CREATE INDEX job_unended ON job (definition, id)
        WHERE definition IS NOT NULL AND finished_at IS NULL
    ;
CREATE TRIGGER schedule_insert AFTER INSERT ON definition BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'schedules';
        END;
CREATE TRIGGER schedule_update AFTER UPDATE OF cron, time_zone, catch_up, overlap, paused, deleted_at ON definition BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'schedules';
        END;
CREATE TABLE day (
        day INTEGER NOT NULL PRIMARY KEY,
        submitted INTEGER NOT NULL DEFAULT 0,
        done INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        cancelled INTEGER NOT NULL DEFAULT 0,
        errors INTEGER NOT NULL DEFAULT 0,
        run_us INTEGER NOT NULL DEFAULT 0,
        longest_us INTEGER NOT NULL DEFAULT 0
    ) STRICT
    ;
CREATE VIEW timeline AS
        SELECT
            job_id,
            at,  -- microseconds since 1970
            event,  -- submitted, started, done, failed, cancelled, fetched, retried, recovered, ...
            detail,
            strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000 / 1000.0, 'unixepoch') AS time
        FROM (
            SELECT id AS job_id, submitted_at AS at, CAST('submitted' AS TEXT) AS event,
                CAST(NULL AS TEXT) AS detail FROM job
            UNION ALL
            SELECT job_id, started_at, CAST('started' AS TEXT), CAST('attempt ' || number AS TEXT)
                FROM attempt
            UNION ALL
            SELECT id, started_at, CAST('started' AS TEXT), CAST('attempt ' || attempt AS TEXT)
                FROM job WHERE started_at IS NOT NULL
            UNION ALL
            SELECT id, finished_at, state, CAST(coalesce(detail, 'status ' || status) AS TEXT)
                FROM job WHERE finished_at IS NOT NULL
            UNION ALL
            SELECT id, fetched_at, CAST('fetched' AS TEXT), CAST(NULL AS TEXT)
                FROM job WHERE fetched_at IS NOT NULL
            UNION ALL
            SELECT job_id, at, event, detail FROM event
        );
CREATE VIEW history AS
        SELECT
            job.id AS job_id,
            job.state,  -- queued, running, done, failed or cancelled
            job.result,  -- none, held, taken, deleted, expired or unwanted
            job.dialect,  -- the API in which it was submitted
            job.owner,  -- who submitted it, or ''
            job.method,
            job.path,  -- with its query
            substr(job.path, 1, instr(job.path || '?', '?') - 1) AS endpoint,  -- without it
            job.target,  -- the prefix of the target that answers
            definition.name AS definition,  -- of which it is a run, or null
            job."trigger",  -- what started that run, or null
            job.tag,
            job.priority,  -- lower runs first
            job.attempt,  -- how often it was begun
            job.retried,  -- how many of these times because it had failed for a passing reason
            job.status,  -- of the answer, or of what stands in its place
            job.failure,  -- unreachable, timeout, broken, interrupted or null
            job.detail,  -- a sentence about the end, if there is something to say
            job.state = 'failed' OR (job.state = 'done' AND coalesce(job.status, 0) >= 400) AS error,  -- 1 or 0
            strftime('%Y-%m-%dT%H:%M:%fZ', job.submitted_at / 1000 / 1000.0, 'unixepoch') AS submitted,
            strftime('%Y-%m-%dT%H:%M:%fZ', job.started_at / 1000 / 1000.0, 'unixepoch') AS started,  -- the last attempt
            strftime('%Y-%m-%dT%H:%M:%fZ', job.finished_at / 1000 / 1000.0, 'unixepoch') AS finished,
            strftime('%Y-%m-%dT%H:%M:%fZ', job.fetched_at / 1000 / 1000.0, 'unixepoch') AS fetched,
            strftime('%Y-%m-%dT%H:%M:%fZ', job.cancel_asked_at / 1000 / 1000.0, 'unixepoch') AS cancel_asked,
            (job.started_at - job.submitted_at) / 1000.0 AS wait_ms,  -- until the last attempt
            (job.finished_at - job.started_at) / 1000.0 AS run_ms,  -- of the last attempt
            job.progress,  -- percent, as reported
            job.counters,  -- a JSON object, as reported
            job.warnings,  -- how many were reported
            job.submitted_at / 1000 AS submitted_ms,  -- milliseconds since 1970, as the next two
            job.started_at / 1000 AS started_ms,
            job.finished_at / 1000 AS finished_ms
        FROM job LEFT JOIN definition ON definition.id = job.definition;
CREATE VIEW attempts AS
        SELECT
            job_id,
            number,  -- from 1
            strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000 / 1000.0, 'unixepoch') AS started,
            strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1000 / 1000.0, 'unixepoch') AS ended,  -- or when that was noticed; null while it runs
            (ended_at - started_at) / 1000.0 AS run_ms,
            status,
            failure,
            detail,
            started_at / 1000 AS started_ms,  -- milliseconds since 1970, as the next one
            ended_at / 1000 AS ended_ms
        FROM (
            SELECT job_id, number, started_at, ended_at, status, failure, detail FROM attempt
            UNION ALL
            SELECT id, attempt, started_at, finished_at, status, failure, detail
                FROM job WHERE started_at IS NOT NULL
        );
CREATE VIEW daily AS
        SELECT
            strftime('%Y-%m-%d', day * 86400, 'unixepoch') AS day,
            submitted,  -- jobs submitted on that day; those in the next four columns ended then
            done,
            failed,
            cancelled,
            errors,  -- failed, or answered with a status of 400 or more
            run_us / 1000.0 / nullif(done + failed, 0) AS mean_run_ms,
            longest_us / 1000.0 AS longest_run_ms
        FROM day;
CREATE TABLE "account" (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL CONSTRAINT known_role CHECK (role IN ('admin', 'user', 'reader')),
        password TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL
    ) STRICT
    ;
CREATE TABLE "token" (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL REFERENCES "account" (name) ON DELETE CASCADE,
        label TEXT NOT NULL,
        digest TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL
    ) STRICT
    ;
CREATE TRIGGER account_insert AFTER INSERT ON account BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'accounts';
        END;
CREATE TRIGGER account_update AFTER UPDATE ON account BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'accounts';
        END;
CREATE TRIGGER account_delete AFTER DELETE ON account BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'accounts';
        END;
CREATE TRIGGER token_insert AFTER INSERT ON token BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'accounts';
        END;
CREATE TRIGGER token_update AFTER UPDATE ON token BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'accounts';
        END;
CREATE TRIGGER token_delete AFTER DELETE ON token BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'accounts';
        END;
CREATE TABLE idempotency (
        account INTEGER NOT NULL,
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (account, owner, key)
    ) STRICT, WITHOUT ROWID
    ;
CREATE INDEX idempotency_of_job ON idempotency (job_id);
CREATE INDEX job_pending ON job (id, account) WHERE result = 'none';
CREATE INDEX job_held ON job (id, account) WHERE result = 'held';
CREATE INDEX job_unfetched ON job (finished_at, account) WHERE result = 'held';
CREATE UNIQUE INDEX definition_path ON definition (path, account) WHERE deleted_at IS NULL;
CREATE INDEX job_ready ON job (target, follows, not_before, account, priority, id)
        WHERE state = 'queued'
    ;
CREATE TABLE account_usage (
        account INTEGER NOT NULL PRIMARY KEY,
        queued INTEGER NOT NULL,
        stored INTEGER NOT NULL
    ) STRICT
    ;
CREATE INDEX job_tag_of_owner ON job (account, owner, tag) WHERE tag IS NOT NULL;
CREATE TABLE delay (
        job_id INTEGER NOT NULL PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
        length INTEGER NOT NULL
    ) STRICT
    ;
CREATE TABLE target_state (
        name TEXT NOT NULL PRIMARY KEY,
        paused_at INTEGER,
        paused_by TEXT,
        reason TEXT,
        concurrency INTEGER,
        changed_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    ;
CREATE TABLE served (
        boot INTEGER NOT NULL REFERENCES boot (id),
        target TEXT NOT NULL,
        concurrency INTEGER NOT NULL,
        held_at INTEGER,
        held_why TEXT,
        PRIMARY KEY (boot, target)
    ) STRICT, WITHOUT ROWID
    ;
CREATE TABLE audit (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT
    ) STRICT
    ;
CREATE TRIGGER target_state_insert AFTER INSERT ON target_state BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'targets';
        END;
CREATE TRIGGER target_state_update AFTER UPDATE ON target_state BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'targets';
        END;
CREATE TRIGGER target_state_delete AFTER DELETE ON target_state BEGIN
            UPDATE revision SET number = number + 1 WHERE of = 'targets';
        END;
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
    ;
CREATE TABLE operation_part (
        operation INTEGER NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
        part INTEGER NOT NULL,
        ids TEXT NOT NULL,
        PRIMARY KEY (operation, part)
    ) STRICT, WITHOUT ROWID
    ;
CREATE INDEX operation_running ON operation (id) WHERE state = 'running';
CREATE INDEX operation_over ON operation (finished_at) WHERE finished_at IS NOT NULL;
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
    ;
CREATE TABLE uncounted (
        job_id INTEGER NOT NULL PRIMARY KEY
    ) STRICT, WITHOUT ROWID
    ;
CREATE INDEX job_bad ON job (id)
        WHERE state = 'failed' OR state = 'done' AND status >= 400
    ;
CREATE TABLE session (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        digest TEXT NOT NULL UNIQUE,
        account TEXT NOT NULL REFERENCES account (name) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL,
        until INTEGER NOT NULL,
        label TEXT NOT NULL
    ) STRICT
    ;
CREATE INDEX session_of_account ON session (account, seen_at);
CREATE TRIGGER account_sessions AFTER UPDATE OF password, role ON account BEGIN
        DELETE FROM session WHERE account = new.name;
    END;
INSERT INTO alembic_version VALUES ('0010');
INSERT INTO sqlite_sequence VALUES ('account', 0);
INSERT INTO counter VALUES ('job', 'cancelled', 0);
INSERT INTO counter VALUES ('job', 'done', 0);
INSERT INTO counter VALUES ('job', 'failed', 0);
INSERT INTO counter VALUES ('job', 'queued', 0);
INSERT INTO counter VALUES ('job', 'running', 0);
INSERT INTO counter VALUES ('result', 'deleted', 0);
INSERT INTO counter VALUES ('result', 'expired', 0);
INSERT INTO counter VALUES ('result', 'held', 0);
INSERT INTO counter VALUES ('result', 'none', 0);
INSERT INTO counter VALUES ('result', 'taken', 0);
INSERT INTO counter VALUES ('result', 'unwanted', 0);
INSERT INTO revision VALUES ('accounts', 0);
INSERT INTO revision VALUES ('counted', 0);
INSERT INTO revision VALUES ('queue', 0);
INSERT INTO revision VALUES ('schedules', 0);
INSERT INTO revision VALUES ('targets', 0);
