-- Errors that pass through several of our triggers arrive whole.
CREATE SCHEMA errors_nested;
SET search_path = errors_nested;
SELECT queue.create_queue('a', 'n int');
SELECT queue.create_queue('b', 'n int');
CREATE TABLE plain (n int);
SELECT queue.attach('plain', 'a', set => '{"n": "new.n"}');
-- The lines of the context are there once each.
SELECT queue.attach('a', 'b', 'insert', set => '{"n": "new.n + 1"}');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE 'refused' USING ERRCODE = 'ZZ123', DETAIL = 'some detail', HINT = 'some hint', COLUMN = 'n'; END $$;
CREATE TRIGGER refuse AFTER INSERT ON b FOR EACH ROW EXECUTE FUNCTION refuse();
\set VERBOSITY default
INSERT INTO plain VALUES (1);
\echo :LAST_ERROR_SQLSTATE
INSERT INTO a (n) VALUES (1);
DO $$
DECLARE place text; code text; hint text;
BEGIN
    INSERT INTO errors_nested.a (n) VALUES (1);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS place = COLUMN_NAME, code = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT;
    RAISE NOTICE '% % %', place, code, hint;
END $$;
-- And through functions that change jobs.
SELECT queue.create_queue('c', 'n int');
INSERT INTO c (n) VALUES (1);
CREATE TRIGGER refuse AFTER INSERT ON c FOR EACH ROW WHEN (new.priority = 9) EXECUTE FUNCTION refuse();
\set SHOW_CONTEXT never
SELECT queue.reprioritize('c', 1, 9);
\echo :LAST_ERROR_SQLSTATE
