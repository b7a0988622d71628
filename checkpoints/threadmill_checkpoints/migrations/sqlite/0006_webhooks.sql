-- One row per run that somebody wants to be told of. No foreign keys: it outlives its run and its thread, so it holds the
-- thread's metadata, which say whose it is. `body` is what is sent, without the time of sending; it goes when it has
-- arrived. `next_attempt_at` is also the lease: who sends moves it first.
CREATE TABLE webhook_deliveries (
    run_id TEXT PRIMARY KEY,
    thread_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    url TEXT NOT NULL,
    body BLOB,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT,
    response_status INTEGER,
    error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_done ON webhook_deliveries (status, updated_at) WHERE status <> 'pending';
CREATE INDEX webhook_deliveries_by_creation ON webhook_deliveries (created_at);
CREATE INDEX webhook_deliveries_by_thread ON webhook_deliveries (thread_id);
-- What is still to be sent is sent; the rest goes with the thread, unless that was made for one run and always goes.
CREATE TRIGGER webhooks_deleted AFTER DELETE ON threads WHEN OLD.ephemeral = 0 BEGIN
    DELETE FROM webhook_deliveries WHERE thread_id = OLD.thread_id AND status <> 'pending';
END;

INSERT INTO counters (name) VALUES ('webhooks_delivered'), ('webhooks_dead');
CREATE TRIGGER webhook_endings_counted AFTER UPDATE OF status ON webhook_deliveries
WHEN NEW.status <> 'pending' AND OLD.status <> NEW.status BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'webhooks_' || NEW.status;
END;
