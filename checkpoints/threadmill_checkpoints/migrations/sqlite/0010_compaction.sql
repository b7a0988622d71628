-- Whether the run's events have been folded into whole messages.
ALTER TABLE runs ADD COLUMN compacted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_to_compact ON runs (updated_at) WHERE compacted = 0 AND last_seq IS NOT NULL;
