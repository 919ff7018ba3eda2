-- Drivers such as node-postgres send every parameter without a type: each call must be resolved
-- from text alone, and "one name, one signature" is what makes that so.
CREATE SCHEMA take_untyped;
SET search_path = take_untyped;
SELECT queue.create_queue('q', 'who text');
CREATE TABLE source (id int PRIMARY KEY);
CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS '';

PREPARE create_queue AS SELECT queue.create_queue($1, $2, $3, $4, $5, $6, $7, $8);
EXECUTE create_queue('made', 'a int', '3', '1 s', '2', '1 h', '1 min', '1 day');
PREPARE alter_queue AS SELECT queue.alter_queue($1, $2, $3, $4, $5, $6, $7);
EXECUTE alter_queue('made', '4', '2 s', '3', '2 h', '2 min', '0');
PREPARE put AS SELECT queue.enqueue($1, $2, $3, $4, $5, $6, max_attempts => $7) IS NOT NULL AS put;
EXECUTE put('q', '{"who": "one"}', '3', NULL, NULL, 'k', '2');
EXECUTE put('q', '{"who": "later"}', NULL, '2100-01-01', NULL, NULL, NULL);
EXECUTE put('take_untyped.q', '{"who": "delayed"}', NULL, NULL, '1 h', NULL, NULL);
PREPARE put_many AS SELECT count(*) FROM queue.enqueue_many($1, $2, $3, $4, $5, $6, max_attempts => $7);
EXECUTE put_many('q', '{"{\"who\": \"two\"}","{\"who\": \"three\"}"}', '4', NULL, NULL, NULL, NULL);
SELECT state, who, priority, key, max_attempts FROM q ORDER BY id;

PREPARE dequeue AS SELECT payload, attempt FROM queue.dequeue($1, $2, $3);
EXECUTE dequeue('q', '1', '1 min');
EXECUTE dequeue('q', '1', NULL);
PREPARE dequeue_as AS SELECT who FROM queue.dequeue_as(NULL::q, $1, $2);
EXECUTE dequeue_as('1', '1 min');
SELECT id, attempt FROM q WHERE who = 'one' \gset
PREPARE extend AS SELECT queue.extend_lease($1, $2, $3, $4);
EXECUTE extend('q', :'id', :'attempt', '5 min');
PREPARE snooze AS SELECT queue.snooze($1, $2, $3, $4);
EXECUTE snooze('q', :'id', '9', '5 min');
PREPARE ack AS SELECT queue.ack($1, $2, $3);
EXECUTE ack('q', :'id', :'attempt');
SELECT id, attempt FROM q WHERE who = 'two' \gset
PREPARE nack AS SELECT queue.nack($1, $2, $3, $4, $5);
EXECUTE nack('q', :'id', :'attempt', 'because', '1 h');
SELECT id, attempt FROM q WHERE who = 'three' \gset
PREPARE ack_many AS SELECT count(*) FROM queue.ack_many($1, $2, $3);
EXECUTE ack_many('q', '{}', '{}');
SELECT format('{%s}', :id) AS ids, format('{%s}', :attempt) AS attempts \gset
EXECUTE ack_many('q', :'ids', :'attempts');

EXECUTE put('q', '{"who": "pop"}', '0', NULL, NULL, NULL, NULL);
EXECUTE put('q', '{"who": "pop_as"}', '0', NULL, NULL, NULL, NULL);
PREPARE pop AS SELECT payload FROM queue.pop($1, $2);
EXECUTE pop('q', '1');
PREPARE pop_as AS SELECT who FROM queue.pop_as(NULL::q, $1);
EXECUTE pop_as('1');

PREPARE attach AS SELECT queue.attach($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);
EXECUTE attach('source', 'q', 'insert', '{"who": "new.id::text"}', 'new.id > 0', 'new.id', '3', '1 h', NULL, 'f', NULL);
PREPARE detach AS SELECT queue.detach($1, $2);
EXECUTE detach('source', 'q');
PREPARE register AS SELECT queue.register_processor($1, $2, $3, $4, $5, $6, $7);
EXECUTE register('q', 'work(q)', '10', '1', 'f', '1 min', 'f');
PREPARE unregister AS SELECT queue.unregister_processor($1);
EXECUTE unregister('q');
PREPARE pause AS SELECT queue.pause($1);
EXECUTE pause('q');
PREPARE resume AS SELECT queue.resume($1);
EXECUTE resume('q');
SELECT min(id) AS id FROM q \gset
PREPARE status AS SELECT queue.status($1, $2);
EXECUTE status('q', :'id');
PREPARE result AS SELECT queue.result($1, $2);
EXECUTE result('q', :'id');
PREPARE cancel AS SELECT queue.cancel($1, $2);
EXECUTE cancel('q', :'id');
PREPARE resubmit AS SELECT queue.resubmit($1, $2);
EXECUTE resubmit('q', :'id');
PREPARE resubmit_all AS SELECT queue.resubmit_all($1, $2);
EXECUTE resubmit_all('q', 'true');
PREPARE purge AS SELECT queue.purge($1, $2);
EXECUTE purge('q', '{ready}');
PREPARE drop_queue AS SELECT queue.drop_queue($1, $2);
EXECUTE drop_queue('made', 't');
-- Also with varchar and text parameters, as drivers that do send types use them.
PREPARE typed (text, varchar) AS SELECT queue.enqueue($1, '{}', key => $2) IS NOT NULL AS put;
EXECUTE typed('take_untyped.q', 'k');
PREPARE by_varchar (varchar) AS SELECT count(*) FROM queue.pop($1, 100);
EXECUTE by_varchar('q');
-- No function of the schema is overloaded, and no argument is named by a reserved word.
SELECT proname FROM pg_proc WHERE pronamespace = 'queue'::regnamespace GROUP BY 1 HAVING count(*) > 1;
SELECT proname, argument FROM pg_proc, unnest(proargnames) argument JOIN pg_get_keywords() ON word = argument
WHERE pronamespace = 'queue'::regnamespace AND catcode = 'R';
