-- Whole states, of before there were parts or of types that are not read: few, and looked for by what stands in them.
CREATE INDEX checkpoints_whole ON checkpoints (thread_id) WHERE channels IS NULL;
