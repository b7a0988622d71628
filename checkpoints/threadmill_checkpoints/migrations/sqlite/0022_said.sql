-- To which run a message was said.
CREATE INDEX injections_by_message ON injections (message_id);
