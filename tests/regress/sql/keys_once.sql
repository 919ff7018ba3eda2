-- once: what was done is not done again for a while.
CREATE SCHEMA keys_once;
SET search_path = keys_once;
SELECT queue.create_queue('q', 'n int', max_attempts => 1);
CREATE FUNCTION work(q) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF $1.n < 0 THEN RAISE 'negative'; END IF;
END $$;
SELECT queue.register_processor('q', 'work(q)');

SELECT queue.enqueue('q', '{"n": 1}', key => 'a', once => '1 day') AS first \gset
-- While it waits.
SELECT queue.enqueue('q', '{"n": 2}', key => 'a', once => '1 day') = :first AS refused;
SELECT queue.enqueue('q', '{"n": 2}', key => 'a', once => '1 day', on_conflict => 'error');
SELECT queue.enqueue('q', '{"n": 2}', key => 'a', once => '1 day', on_conflict => 'replace') = :first AS refused;
SELECT n FROM q;
-- While it is lent out.
SELECT n FROM queue.dequeue_as(NULL::q);
SELECT queue.enqueue('q', '{"n": 3}', key => 'a', once => '1 day') = :first AS refused;
SELECT queue.enqueue('q', '{"n": 3}', key => 'a', once => '1 day', on_conflict => 'replace') = :first AS refused;
SELECT queue.enqueue('q', '{"n": 3}', key => 'a', on_conflict => 'skip') = :first AS refused;
SELECT queue.nack('q', :first, 1);
-- While it has failed.
SELECT queue.status('q', :first), queue.enqueue('q', '{"n": 4}', key => 'a', once => '1 day') = :first AS refused;
SELECT queue.resubmit('q', :first);
-- When it was done: by ack, by a processor, by pop.
SELECT n FROM queue.dequeue_as(NULL::q);
SELECT queue.ack('q', :first, 2);
SELECT queue.enqueue('q', '{"n": 5}', key => 'a', once => '1 day') = :first AS refused;
SELECT * FROM test.fails($$SELECT queue.enqueue('q', '{"n": 5}', key => 'a', once => '1 day', on_conflict => 'error')$$);
SELECT count(*) FROM queue.enqueue_many('q', ARRAY['{}', '{}']::jsonb[], key => 'a', once => '1 day') id WHERE id = :first;
INSERT INTO q (key, once, n) VALUES ('a', '1 day', 6);
SELECT count(*) FROM q;
SELECT queue.enqueue('q', '{"n": 7}', key => 'b', once => '100000 years') AS second \gset
CALL queue.run('q');
SELECT queue.enqueue('q', '{"n": 8}', key => 'b', once => '1 s') = :second AS refused;
INSERT INTO q (key, once, n) VALUES ('c', '1 day', 9), ('c', '1 day', 10), ('d', '1 day', 11);
SELECT n FROM queue.pop_as(NULL::q, 10);
INSERT INTO q (key, once, n) VALUES ('c', '1 day', 12);
SELECT count(*) FROM q;
-- A pop that is rolled back was none.
SELECT queue.enqueue('q', '{"n": 13}', key => 'e', once => '1 day') AS fifth \gset
BEGIN;
SELECT n FROM queue.pop_as(NULL::q);
SELECT queue.enqueue('q', '{"n": 14}', key => 'e', once => '1 day') = :fifth AS refused;
ROLLBACK;
SELECT n FROM queue.pop_as(NULL::q);
-- Without once or on_conflict the key is only stored.
SELECT queue.enqueue('q', '{"n": 15}', key => 'a') > :fifth AS stored;
SELECT queue.purge('q');

-- The window ends.
SELECT queue.enqueue('q', '{"n": 20}', key => 'w', once => '0 s') AS window_first \gset
SELECT n FROM queue.pop_as(NULL::q);
SELECT queue.enqueue('q', '{"n": 21}', key => 'w', once => '0 s') > :window_first AS accepted;
SELECT n FROM queue.pop_as(NULL::q);
-- An owner may end it.
SELECT queue.forget_key('q', 'b'), queue.forget_key('q', 'b'), queue.forget_key('q', 'nothing');
SELECT queue.enqueue('q', '{"n": 22}', key => 'b', once => '1 day') > :second AS accepted;
SELECT queue.purge('q', '{ready,done}');
SELECT queue.enqueue('q', '{"n": 23}', key => 'a', once => '1 day') > :second AS accepted;
-- What is gone without having been done refuses nothing.
SELECT queue.cancel('q', max(id)) FROM q;
SELECT queue.enqueue('q', '{"n": 24}', key => 'a', once => '1 day') = max(id) AS refused FROM q;
SELECT queue.purge('q', '{failed}');
SELECT queue.enqueue('q', '{"n": 25}', key => 'a', once => '1 day') AS sixth \gset
SELECT n FROM q;
DELETE FROM q;
SELECT queue.enqueue('q', '{"n": 26}', key => 'a', once => '1 day') > :sixth AS accepted;
SELECT queue.purge('q');

-- A twin without once remembers it from then on.
SELECT queue.enqueue('q', '{"n": 30}', key => 't', on_conflict => 'skip') AS twin \gset
SELECT queue.enqueue('q', '{"n": 31}', key => 't', once => '1 day') = :twin AS same;
SELECT n, once FROM q;
CALL queue.run('q');
SELECT queue.enqueue('q', '{"n": 32}', key => 't', once => '1 day') = :twin AS refused;
-- One that fails for good still refuses.
SELECT queue.enqueue('q', '{"n": -1}', key => 'f', once => '1 day') AS failing \gset
CALL queue.run('q');
SELECT queue.status('q', :failing), queue.enqueue('q', '{"n": 1}', key => 'f', once => '1 day') = :failing AS refused;

-- A processor that enqueues its own key: once is refused while it runs; skip makes the next one.
CREATE OR REPLACE FUNCTION work(q) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'refused: %', queue.enqueue('q', '{"n": 2}', key => $1.key, once => $1.once, on_conflict => 'skip') = $1.id;
    IF $1.n > 1 THEN DELETE FROM q WHERE key = 'again'; END IF;
END $$;
SELECT queue.enqueue('q', '{"n": 1}', key => 'own', once => '1 day') > 0;
CALL queue.run('q');
SELECT queue.enqueue('q', '{"n": 1}', key => 'again', on_conflict => 'skip') > 0;
CALL queue.run('q');
SELECT n, key, once FROM q WHERE state <> 'failed';

-- An older snapshot must not run what may stand for work it does not see.
SELECT queue.create_queue('q2', on_conflict => 'skip');
SELECT queue.enqueue('q2', key => 'a');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT id FROM queue.pop('q2');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT id FROM queue.dequeue('q2');
COMMIT;
SELECT queue.ack('q2', 1, 1);

-- Who may.
CREATE ROLE keys_putter;
GRANT INSERT ON q2 TO keys_putter;
SET ROLE keys_putter;
SELECT queue.enqueue('q2', key => 'p') = queue.enqueue('q2', '{"x": 1}', key => 'p', on_conflict => 'merge') AS same;
INSERT INTO q2 (key, payload) VALUES ('p', '{"x": 2}');
SELECT queue.forget_key('q2', 'p');
SELECT count(*) FROM queue.keys;
SELECT count(*) FROM queue.done_keys;
RESET ROLE;
SELECT payload FROM q2;
SELECT queue.forget_key(NULL, 'p');
SELECT queue.forget_key('q2', NULL);

SELECT queue.drop_queue('q2');
SELECT queue.drop_queue('q', true);
DROP ROLE keys_putter;
SELECT count(*) FROM queue.keys WHERE queue NOT IN (SELECT oid FROM pg_class);
SELECT count(*) FROM queue.done_keys;
