-- What threads wait for: a row per question nobody has answered yet, as the thread's newest checkpoint has it. `run_id`
-- is the run that asked, NULL if it is not known; `namespace` is the checkpoint_ns of the graph whose node asks.
CREATE TABLE interrupts (
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    interrupt_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    run_id TEXT,
    value TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (thread_id, interrupt_id)
);
INSERT OR IGNORE INTO interrupts (thread_id, interrupt_id, position, task_id, namespace, value, created_at)
    SELECT thread_id, one.value ->> '$.id', row_number() OVER (PARTITION BY thread_id), task.key, '',
        one.value -> '$.value', state_updated_at
    FROM threads, json_each(threads.interrupts) AS task, json_each(task.value) AS one;

ALTER TABLE threads ADD COLUMN has_state INTEGER NOT NULL DEFAULT 0;
UPDATE threads SET has_state = 1 WHERE interrupts IS NOT NULL;
ALTER TABLE threads DROP COLUMN interrupts;
