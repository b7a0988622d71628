-- Up to which rowid the checkpoints of before are still to be looked at, from the highest down: what was written to their
-- DeltaChannels is taken apart, so that its messages can be found (see saver/deltas.py).
INSERT INTO search_marks (name, number) SELECT 'deltas', coalesce(max(rowid), 0) FROM checkpoints;
