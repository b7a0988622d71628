-- Of the threads that were deleted, the newest are told of. A list that knows nothing above `number` may show some that
-- it will not be told of any more, and has to begin anew.
CREATE TABLE feed_floor (number INTEGER NOT NULL);
INSERT INTO feed_floor (number) VALUES (0);
CREATE INDEX changes_deleted ON changes (number) WHERE deleted = 1;
