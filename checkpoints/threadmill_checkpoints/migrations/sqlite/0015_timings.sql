-- When a run said what, as JSON (see events/timings.py). It is kept when the run's events are folded, which have no more of it.
ALTER TABLE runs ADD COLUMN timings TEXT;
