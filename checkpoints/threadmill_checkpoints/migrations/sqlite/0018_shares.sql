-- Links by which whoever has one reads what a thread's checkpoint says. `token` is the SHA-256 of what the link ends with.
CREATE TABLE shares (
    share_id TEXT PRIMARY KEY,
    token BLOB NOT NULL UNIQUE,
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    checkpoint_id TEXT NOT NULL,
    redact TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT
) WITHOUT ROWID;
CREATE INDEX shares_by_thread ON shares (thread_id, created_at);
