-- A third way to stop a run: it ends with all that was said kept (`stop`).
ALTER TABLE runs RENAME COLUMN stop TO stop_before;
ALTER TABLE runs ADD COLUMN stop TEXT CHECK (stop IN ('interrupt', 'rollback', 'stop'));
UPDATE runs SET stop = stop_before WHERE stop_before IS NOT NULL;
ALTER TABLE runs DROP COLUMN stop_before;

-- A pending run that is paused keeps its place in the queue, and is not claimed.
ALTER TABLE runs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

-- Whether the newest state has tool calls without an answer; unknown (NULL) for states from before.
ALTER TABLE threads ADD COLUMN open_calls INTEGER;

-- What was said to a run while it ran: part of its state after the next superstep, or the next run's input.
CREATE TABLE injections (
    run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
    message_id TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (run_id, message_id)
);
