-- What can be found: the texts of blobs that are messages, wherever they stand; and of a thread its title, the error it
-- ended with, and the messages of states from before there were blobs.
CREATE TABLE search_docs (
    doc INTEGER PRIMARY KEY AUTOINCREMENT,
    blob_id INTEGER,
    thread_id TEXT,
    checkpoint_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('message', 'tool_args', 'tool_result', 'title', 'status')),
    role TEXT,
    message_id TEXT,
    at TEXT NOT NULL
);
CREATE INDEX search_docs_by_blob ON search_docs (blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX search_docs_by_thread ON search_docs (thread_id) WHERE thread_id IS NOT NULL;

-- Words, and each character of a script that has no spaces between words (see search/words.py).
CREATE VIRTUAL TABLE search_index USING fts5 (text, tokenize = "unicode61 remove_diacritics 2");

-- How far it has got: the numbers of blobs, and of changes of threads, that were looked at.
CREATE TABLE search_marks (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO search_marks (name, number) VALUES ('blobs', 0), ('changes', 0);

-- What is deleted cannot be found from the same moment on.
CREATE TRIGGER blob_unfound AFTER DELETE ON blobs BEGIN
    DELETE FROM search_docs WHERE blob_id = OLD.blob_id;
END;
CREATE TRIGGER thread_unfound AFTER DELETE ON threads BEGIN
    DELETE FROM search_docs WHERE thread_id = OLD.thread_id;
END;
CREATE TRIGGER doc_unfound AFTER DELETE ON search_docs BEGIN
    DELETE FROM search_index WHERE rowid = OLD.doc;
END;
