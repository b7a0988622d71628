-- Whether a run ended because its server died, so that a person may choose what becomes of it. Its error says so, too, but
-- may be encrypted: of those of before one tells by what else they have.
ALTER TABLE runs ADD COLUMN crashed INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET crashed = 1 WHERE iif(json_valid(error), json_extract(error, '$.error'), NULL) = 'RunCrashed'
    OR (status = 'interrupted' AND crashes > 0 AND stop IS NULL AND error IS NOT NULL)
    OR (status = 'error' AND crashes > 0 AND crashes = attempt);
-- Lists are told anew.
DELETE FROM changes WHERE deleted = 0 AND thread_id IN (SELECT thread_id FROM runs WHERE crashed = 1);
INSERT INTO changes (thread_id)
SELECT thread_id FROM threads WHERE ephemeral = 0 AND thread_id IN (SELECT thread_id FROM runs WHERE crashed = 1);
