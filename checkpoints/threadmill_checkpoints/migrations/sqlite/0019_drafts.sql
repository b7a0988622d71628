-- What somebody has begun to write in a thread. `user_id` is empty where nobody logs in. No trigger: it is in no list.
CREATE TABLE drafts (
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    content TEXT NOT NULL,
    revision TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (thread_id, user_id)
);
