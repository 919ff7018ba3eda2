-- A queue is the user's table: what ALTER TABLE does to it, everything else follows.
CREATE SCHEMA create_change;
SET search_path = create_change;
CREATE TABLE seen (what text);

SELECT queue.create_queue('mail', 'recipient text NOT NULL');
CREATE FUNCTION send(job mail) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO create_change.seen VALUES (to_jsonb(job) - '{id,enqueued_at,lease_until}'::text[]);
    RETURN job.recipient;
END $$;
SELECT queue.register_processor('mail', 'send(mail)');

-- A column more: every way in fills it, every way out shows it.
SELECT queue.enqueue('mail', '{"recipient": "before"}') IS NOT NULL AS enqueued;
ALTER TABLE mail ADD COLUMN subject text DEFAULT 'hello';
SELECT queue.enqueue('mail', '{"recipient": "after", "subject": "new", "more": 1}') IS NOT NULL AS enqueued;
INSERT INTO mail (recipient, subject) VALUES ('insert', 'plain');
SELECT state, recipient, subject, payload FROM mail ORDER BY id;
SELECT recipient, subject FROM queue.dequeue_as(NULL::mail, 1);
SELECT payload FROM queue.pop('mail', 1);
CALL queue.run('mail');
TABLE seen;
TRUNCATE seen;

-- A CHECK refuses what is not valid, before it is accepted.
ALTER TABLE mail ADD CONSTRAINT polite CHECK (subject <> 'rude');
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('mail', '{"recipient": "x", "subject": "rude"}')$$);
SELECT sqlstate FROM test.fails($$INSERT INTO mail (recipient, subject) VALUES ('x', 'rude')$$);
SELECT sqlstate FROM test.fails($$SELECT queue.enqueue_many('mail', ARRAY['{"recipient": "x"}', '{"recipient": "x", "subject": "rude"}']::jsonb[])$$);
SELECT sqlstate FROM test.fails($$SELECT queue.enqueue('mail', '{}')$$);
ALTER TABLE mail ADD CONSTRAINT shaped CHECK (payload ? 'n' OR payload = '{}');
SELECT sqlstate FROM test.fails($$SELECT queue.enqueue('mail', '{"recipient": "x", "m": 1}')$$);
SELECT state, count(*) FROM mail GROUP BY 1 ORDER BY 1;

-- A column dropped, renamed, retyped.
ALTER TABLE mail DROP CONSTRAINT polite;
ALTER TABLE mail DROP COLUMN subject;
ALTER TABLE mail RENAME COLUMN recipient TO "To";
ALTER TABLE mail ADD COLUMN n int;
SELECT queue.enqueue('mail', '{"To": "renamed", "n": 4}') IS NOT NULL AS enqueued;
SELECT payload FROM queue.pop('mail');
CREATE OR REPLACE FUNCTION send(job mail) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO create_change.seen VALUES (job."To");
    RETURN job."To";
END $$;
SELECT queue.enqueue('mail', '{"To": "run"}') IS NOT NULL AS enqueued;
CALL queue.run('mail');
TABLE seen;

-- Renamed; moved to another schema; the schema renamed; the function renamed and moved.
ALTER TABLE mail RENAME TO "Post";
SELECT queue.enqueue('"Post"', '{"To": "after rename"}') IS NOT NULL AS enqueued;
CALL queue.run('"Post"');
CREATE SCHEMA create_elsewhere;
ALTER TABLE "Post" SET SCHEMA create_elsewhere;
SELECT queue.enqueue('create_elsewhere."Post"', '{"To": "after move"}') IS NOT NULL AS enqueued;
SELECT queue.enqueue('create_elsewhere."Post"', '{"To": "later"}', delay => '1 h') IS NOT NULL AS enqueued;
CALL queue.run('create_elsewhere."Post"');
ALTER SCHEMA create_elsewhere RENAME TO create_renamed;
INSERT INTO create_renamed."Post" ("To") VALUES ('after schema rename');
CALL queue.run('create_renamed."Post"');
ALTER FUNCTION send RENAME TO "Send It";
ALTER FUNCTION "Send It" SET SCHEMA create_renamed;
SELECT queue.enqueue('create_renamed."Post"', '{"To": "after function rename"}') IS NOT NULL AS enqueued;
CALL queue.run('create_renamed."Post"');
TABLE seen;
SELECT processor FROM queue.overview WHERE queue = 'create_renamed."Post"'::regclass;
SELECT state, "To" FROM create_renamed."Post" ORDER BY id;

-- The same within one session that has plans cached, and in one transaction.
SELECT queue.create_queue('one', 'a int');
SELECT queue.enqueue('one', '{"a": 1, "b": 1}') IS NOT NULL AS enqueued;
BEGIN;
ALTER TABLE one ADD COLUMN b int;
ALTER TABLE one RENAME TO two;
SELECT queue.enqueue('two', '{"a": 2, "b": 2}') IS NOT NULL AS enqueued;
COMMIT;
SELECT a, b, payload FROM queue.dequeue_as(NULL::two, 5);

-- The owner's rights go with the table.
ALTER TABLE two OWNER TO regress_owner;
GRANT USAGE ON SCHEMA create_change TO regress_owner;
SET ROLE regress_owner;
SELECT queue.pause('two');
SELECT queue.resume('two');
SELECT queue.ack_many('two', ARRAY(SELECT id FROM two ORDER BY id), '{1,1}') IS NOT NULL AS acked;
RESET ROLE;
