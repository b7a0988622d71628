-- From which checkpoint a thread goes on, when it is not the newest; only as long as `newest` is that.
CREATE TABLE heads (
    thread_id TEXT PRIMARY KEY,
    checkpoint_id TEXT NOT NULL,
    newest TEXT NOT NULL
) WITHOUT ROWID;

-- Which thread was forked from which, and where. Both may be gone by now.
CREATE TABLE lineage (
    thread_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX lineage_by_source ON lineage (source, created_at);

-- What a user has named: a branch of a thread, by its head.
CREATE TABLE branches (
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    name TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    pinned INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    PRIMARY KEY (thread_id, name)
) WITHOUT ROWID;
