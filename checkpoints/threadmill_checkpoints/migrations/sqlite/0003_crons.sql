-- `next_run_date` is NULL when no date is left. `request` is what a tick submits, as the queue understands it;
-- `payload` is the same as the client wrote it.
CREATE TABLE crons (
    cron_id TEXT PRIMARY KEY,
    assistant_id TEXT NOT NULL REFERENCES assistants ON DELETE CASCADE,
    thread_id TEXT REFERENCES threads ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    schedule TEXT NOT NULL,
    timezone TEXT,
    end_time TEXT,
    enabled INTEGER NOT NULL,
    next_run_date TEXT,
    on_run_completed TEXT CHECK (on_run_completed IN ('delete', 'keep')),
    payload TEXT NOT NULL,
    request TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX crons_due ON crons (next_run_date) WHERE enabled = 1;
CREATE INDEX crons_by_thread ON crons (thread_id);
CREATE INDEX crons_by_assistant ON crons (assistant_id);

-- What /metrics counts. Triggers, because threads and runs are made and ended in many places and a count must not
-- miss one; and a number that a rolled back transaction made does not count.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO counters (name) VALUES ('threads'), ('threads_stateless'), ('runs'),
    ('runs_success'), ('runs_error'), ('runs_timeout'), ('runs_interrupted');
CREATE TRIGGER threads_counted AFTER INSERT ON threads BEGIN
    UPDATE counters SET value = value + 1 WHERE name = iif(NEW.ephemeral, 'threads_stateless', 'threads');
END;
CREATE TRIGGER runs_counted AFTER INSERT ON runs BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'runs';
END;
CREATE TRIGGER run_endings_counted AFTER UPDATE OF status ON runs
WHEN NEW.status NOT IN ('pending', 'running') AND OLD.status <> NEW.status BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'runs_' || NEW.status;
END;
