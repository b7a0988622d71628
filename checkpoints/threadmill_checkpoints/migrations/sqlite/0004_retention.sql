-- Threads that expire. `due_at` is never later than the moment a thread expires: activity moves that moment without
-- touching this table, and the sweep that finds a row too early moves `due_at`.
CREATE TABLE thread_ttls (
    thread_id TEXT PRIMARY KEY REFERENCES threads ON DELETE CASCADE,
    strategy TEXT NOT NULL CHECK (strategy IN ('delete', 'keep_latest')),
    ttl_minutes REAL NOT NULL CHECK (ttl_minutes > 0),
    set_at TEXT NOT NULL,
    due_at TEXT NOT NULL
);
CREATE INDEX thread_ttls_due ON thread_ttls (due_at);

-- At most one row: what langgraph.json says now. A trigger, because threads are made in many places.
CREATE TABLE default_ttl (
    strategy TEXT NOT NULL,
    ttl_minutes REAL NOT NULL
);
CREATE TRIGGER threads_expire AFTER INSERT ON threads WHEN NEW.ephemeral = 0 BEGIN
    INSERT INTO thread_ttls (thread_id, strategy, ttl_minutes, set_at, due_at)
        SELECT NEW.thread_id, strategy, ttl_minutes, NEW.created_at, NEW.created_at FROM default_ttl;
END;
