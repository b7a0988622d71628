-- Each part of each state once: a message, an entry of a mapping, an image. `parts` are the blobs that it is made of, or
-- that are inside it. A number is never used again, so that whoever reads them in order misses none.
CREATE TABLE blobs (
    blob_id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    parts BLOB,
    message_id TEXT
);
CREATE INDEX blobs_by_message ON blobs (message_id) WHERE message_id IS NOT NULL;

-- Who holds a blob: a thread, since which of its checkpoints. `generation` moves on when a thread lets go of any.
CREATE TABLE blob_owners (
    owner INTEGER PRIMARY KEY,
    thread_id TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE blob_refs (
    owner INTEGER NOT NULL,
    blob_id INTEGER NOT NULL,
    checkpoint_id TEXT NOT NULL,
    PRIMARY KEY (owner, blob_id)
) WITHOUT ROWID;
CREATE INDEX blob_refs_by_blob ON blob_refs (blob_id);

-- A fork has only its own checkpoints and the one it began at; `checkpoint_id` is that one's parent, which it and all
-- before it lie in `source`.
CREATE TABLE bases (
    thread_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX bases_by_source ON bases (source);

-- `channels` says how the values are put together from blobs; NULL: they stand in `checkpoint`. `root_id` is the
-- checkpoint of the root graph whose step a subgraph belongs to.
ALTER TABLE checkpoints ADD COLUMN channels BLOB;
ALTER TABLE checkpoints ADD COLUMN run_id TEXT;
ALTER TABLE checkpoints ADD COLUMN root_id TEXT;
UPDATE checkpoints SET run_id = json_extract(CAST(metadata AS TEXT), '$.run_id'),
    root_id = iif(checkpoint_ns = '', NULL, json_extract(CAST(metadata AS TEXT), '$.parents.""'));
ALTER TABLE writes ADD COLUMN parts BLOB;
