-- A job that cannot be written as JSON: jsonb has no \u0000, which json may have. It kept all from being taken.
SELECT queue.create_queue('unfit', 'j json', max_running => 5);
INSERT INTO unfit (j) VALUES ('1'), ('"\u0000"'), ('3');
SELECT id, payload FROM queue.dequeue('unfit', 10);
SELECT id, state, attempt, e ->> 'sqlstate' AS sqlstate, e ->> 'message' AS message, e ->> 'detail' AS detail, e ->> 'hint' AS hint
FROM unfit, LATERAL (SELECT errors -> -1 AS e) AS e ORDER BY id;
SELECT queue.ack('unfit', id, attempt) FROM unfit WHERE state = 'running';
INSERT INTO unfit (j) VALUES ('"\u0000"');
SELECT id, payload FROM queue.pop('unfit', 10);
SELECT id, state FROM unfit ORDER BY id;
-- As a row it is handed out.
SELECT queue.resubmit_all('unfit');
SELECT j, attempt FROM queue.pop_as(NULL::unfit, 10);
-- In a group it holds back those behind it.
INSERT INTO unfit (j, group_key) VALUES ('1', 'g'), ('"\u0000"', 'g'), ('3', 'g'), ('4', 'other'), ('5', NULL);
SELECT payload, group_key FROM queue.pop('unfit', 10);
SELECT j, state, group_key FROM unfit ORDER BY id;
SELECT payload FROM queue.pop('unfit', 10);
UPDATE unfit SET j = '2' WHERE state = 'failed';
SELECT queue.resubmit_all('unfit');
SELECT payload, group_key FROM queue.pop('unfit', 10);
SELECT count(*) FROM unfit;
-- What the cast of a type of the owner's refuses; but not if it cannot be called at all.
CREATE TYPE unfit_mood AS ENUM ('good', 'bad');
CREATE FUNCTION unfit_refuse(unfit_mood) RETURNS json LANGUAGE plpgsql AS
    $$ BEGIN IF $1 = 'bad' THEN RAISE EXCEPTION 'bad'; END IF; RETURN '"fine"'::json; END $$;
CREATE CAST (unfit_mood AS json) WITH FUNCTION unfit_refuse(unfit_mood);
ALTER TABLE unfit ADD COLUMN mood unfit_mood;
INSERT INTO unfit (mood) VALUES ('good'), ('bad'), ('good');
ALTER TABLE unfit OWNER TO regress_owner;
REVOKE EXECUTE ON FUNCTION unfit_refuse FROM PUBLIC;
\set VERBOSITY terse
SELECT payload FROM queue.dequeue('unfit', 10);
GRANT EXECUTE ON FUNCTION unfit_refuse TO regress_owner;
SELECT payload FROM queue.dequeue('unfit', 10);
SELECT state, mood, errors -> -1 ->> 'detail' AS detail FROM unfit ORDER BY id;
SELECT queue.drop_queue('unfit', true);
DROP CAST (unfit_mood AS json);
DROP FUNCTION unfit_refuse;
DROP TYPE unfit_mood;
