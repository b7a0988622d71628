-- What the subgraphs of a step stored, without a look at all that the thread has.
CREATE INDEX checkpoints_by_root ON checkpoints (thread_id, root_id) WHERE root_id IS NOT NULL;
