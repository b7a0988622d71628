-- What lists of threads follow: one row per thread, which gets a new number with each change that a list shows. Triggers,
-- because threads and runs are changed in many places and none may be missed. AUTOINCREMENT: no number comes twice. A
-- thread that is deleted leaves its row, with the metadata that say whose it was. Stateless runs are in no list.
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id TEXT NOT NULL UNIQUE,
    deleted INTEGER NOT NULL DEFAULT 0,
    metadata TEXT
);
INSERT INTO changes (thread_id) SELECT thread_id FROM threads WHERE ephemeral = 0 ORDER BY last_activity_at;

-- The number of the newest event that people want to hear of: the end of a run, which is also how a question comes.
ALTER TABLE threads ADD COLUMN said_seq INTEGER NOT NULL DEFAULT 0;

-- Up to which event somebody has read a thread. `user_id` is empty where nobody logs in.
CREATE TABLE read_markers (
    thread_id TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (thread_id, user_id)
) WITHOUT ROWID;

CREATE TRIGGER thread_made AFTER INSERT ON threads WHEN NEW.ephemeral = 0 BEGIN
    DELETE FROM changes WHERE thread_id = NEW.thread_id;
    INSERT INTO changes (thread_id) VALUES (NEW.thread_id);
END;
CREATE TRIGGER thread_changed
AFTER UPDATE OF title, preview, message_count, last_activity_at, outcome, metadata ON threads
WHEN NEW.ephemeral = 0 AND (NEW.title, NEW.preview, NEW.message_count, NEW.last_activity_at, NEW.outcome, NEW.metadata)
    IS NOT (OLD.title, OLD.preview, OLD.message_count, OLD.last_activity_at, OLD.outcome, OLD.metadata) BEGIN
    DELETE FROM changes WHERE thread_id = NEW.thread_id;
    INSERT INTO changes (thread_id) VALUES (NEW.thread_id);
END;
CREATE TRIGGER thread_deleted AFTER DELETE ON threads WHEN OLD.ephemeral = 0 BEGIN
    DELETE FROM changes WHERE thread_id = OLD.thread_id;
    INSERT INTO changes (thread_id, deleted, metadata) VALUES (OLD.thread_id, 1, OLD.metadata);
END;
-- Of a thread that is being deleted with its runs there is no row any more: nothing happens, and its own row stays.
CREATE TRIGGER run_queued AFTER INSERT ON runs BEGIN
    DELETE FROM changes
    WHERE thread_id = (SELECT thread_id FROM threads WHERE thread_id = NEW.thread_id AND ephemeral = 0);
    INSERT INTO changes (thread_id) SELECT thread_id FROM threads WHERE thread_id = NEW.thread_id AND ephemeral = 0;
END;
CREATE TRIGGER run_moved_on AFTER UPDATE OF status, paused, position ON runs
WHEN (NEW.status, NEW.paused, NEW.position) IS NOT (OLD.status, OLD.paused, OLD.position) BEGIN
    DELETE FROM changes
    WHERE thread_id = (SELECT thread_id FROM threads WHERE thread_id = NEW.thread_id AND ephemeral = 0);
    INSERT INTO changes (thread_id) SELECT thread_id FROM threads WHERE thread_id = NEW.thread_id AND ephemeral = 0;
END;
CREATE TRIGGER run_deleted AFTER DELETE ON runs BEGIN
    DELETE FROM changes
    WHERE thread_id = (SELECT thread_id FROM threads WHERE thread_id = OLD.thread_id AND ephemeral = 0);
    INSERT INTO changes (thread_id) SELECT thread_id FROM threads WHERE thread_id = OLD.thread_id AND ephemeral = 0;
END;
CREATE TRIGGER run_ended AFTER UPDATE OF last_seq ON runs WHEN NEW.last_seq IS NOT NULL BEGIN
    UPDATE threads SET said_seq = NEW.last_seq WHERE thread_id = NEW.thread_id AND said_seq < NEW.last_seq;
END;
CREATE TRIGGER thread_read AFTER INSERT ON read_markers BEGIN
    DELETE FROM changes
    WHERE thread_id = (SELECT thread_id FROM threads WHERE thread_id = NEW.thread_id AND ephemeral = 0);
    INSERT INTO changes (thread_id) SELECT thread_id FROM threads WHERE thread_id = NEW.thread_id AND ephemeral = 0;
END;
CREATE TRIGGER thread_read_on AFTER UPDATE ON read_markers WHEN NEW.seq <> OLD.seq BEGIN
    DELETE FROM changes
    WHERE thread_id = (SELECT thread_id FROM threads WHERE thread_id = NEW.thread_id AND ephemeral = 0);
    INSERT INTO changes (thread_id) SELECT thread_id FROM threads WHERE thread_id = NEW.thread_id AND ephemeral = 0;
END;
