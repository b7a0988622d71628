-- Every version an assistant ever had; `assistants` holds the one in use.
CREATE TABLE assistant_versions (
    assistant_id TEXT NOT NULL REFERENCES assistants ON DELETE CASCADE,
    version INTEGER NOT NULL,
    graph_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    config TEXT NOT NULL,
    context TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (assistant_id, version)
);
INSERT INTO assistant_versions
    SELECT assistant_id, version, graph_id, name, description, config, context, metadata, updated_at FROM assistants;
