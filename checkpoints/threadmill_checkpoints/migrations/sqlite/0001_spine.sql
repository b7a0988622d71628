-- Times are ISO-8601 text in UTC with six decimals: they sort as text and go to the client as they are.

CREATE TABLE assistants (
    assistant_id TEXT PRIMARY KEY,
    graph_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    config TEXT NOT NULL,
    context TEXT NOT NULL,
    metadata TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- `outcome` is what the last finished run left; the status a client sees is derived from it and the runs.
-- `seq` is the highest event number that may have been handed out (numbers are reserved in blocks).
CREATE TABLE threads (
    thread_id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    state_updated_at TEXT NOT NULL,
    metadata TEXT NOT NULL,
    config TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT 'idle' CHECK (outcome IN ('idle', 'interrupted', 'error')),
    error TEXT,
    interrupts TEXT,
    title TEXT,
    title_source TEXT CHECK (title_source IN ('auto', 'user')),
    preview TEXT,
    message_count INTEGER NOT NULL DEFAULT 0,
    last_activity_at TEXT NOT NULL,
    ephemeral INTEGER NOT NULL DEFAULT 0,
    seq INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX threads_by_creation ON threads (created_at);
CREATE INDEX threads_by_update ON threads (updated_at);
CREATE INDEX threads_by_state ON threads (state_updated_at);
CREATE INDEX threads_by_activity ON threads (last_activity_at);
CREATE INDEX threads_ephemeral ON threads (created_at) WHERE ephemeral = 1;

-- Apart from `threads`, so that lists never read it past.
CREATE TABLE thread_values (
    thread_id TEXT PRIMARY KEY REFERENCES threads ON DELETE CASCADE,
    data BLOB NOT NULL
);

-- One row per leaf of a thread's metadata: `key` is the JSON path, `value` the JSON scalar.
CREATE TABLE thread_metadata (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    PRIMARY KEY (key, value, thread_id)
) WITHOUT ROWID;
CREATE INDEX thread_metadata_by_thread ON thread_metadata (thread_id);

CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    assistant_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
    metadata TEXT NOT NULL,
    kwargs TEXT NOT NULL,
    multitask_strategy TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    start_at TEXT NOT NULL,
    position INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    lease_until TEXT,
    stop TEXT CHECK (stop IN ('interrupt', 'rollback')),
    error TEXT,
    first_seq INTEGER,
    last_seq INTEGER,
    idempotency_key TEXT UNIQUE
);
-- The database, not the code, guarantees that a thread has one running run.
CREATE UNIQUE INDEX runs_one_running ON runs (thread_id) WHERE status = 'running';
CREATE UNIQUE INDEX runs_in_order ON runs (thread_id, position);
CREATE INDEX runs_active ON runs (thread_id) WHERE status IN ('pending', 'running');
CREATE INDEX runs_pending ON runs (thread_id, position) WHERE status = 'pending';
CREATE INDEX runs_waiting ON runs (start_at) WHERE status = 'pending';
CREATE INDEX runs_leased ON runs (lease_until) WHERE status = 'running';

-- The event log. A row is what one thread's run produced in one tick: a line per event (see events/event.py).
CREATE TABLE events (
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    at TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (thread_id, first_seq)
);

-- As langgraph-checkpoint-sqlite lays them out, and the run that made a write: a resumed run writes to a checkpoint of
-- an earlier one, and a rollback must find that.
CREATE TABLE checkpoints (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL,
    parent_checkpoint_id TEXT,
    type TEXT,
    checkpoint BLOB,
    metadata BLOB,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
);
CREATE TABLE writes (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    task_path TEXT NOT NULL DEFAULT '',
    idx INTEGER NOT NULL,
    channel TEXT NOT NULL,
    type TEXT,
    value BLOB,
    run_id TEXT,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
);
