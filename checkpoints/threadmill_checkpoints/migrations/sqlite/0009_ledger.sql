-- What a person chose for a run that ended with a crash, and the run that does it: {"choice", "run_id"}.
ALTER TABLE runs ADD COLUMN recovery TEXT;

-- What tools with effects have done: a row before the call, its output after it. `call` is the tool call's idempotency
-- key without the thread, `step` the function and how many of its calls this one makes in the tool call.
CREATE TABLE receipts (
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    call TEXT NOT NULL,
    step TEXT NOT NULL,
    run_id TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    type TEXT,
    output BLOB,
    PRIMARY KEY (thread_id, call, step)
);
