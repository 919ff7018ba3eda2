-- What every other file uses: the extension, and helpers in schema test.
CREATE EXTENSION queue_ext;
-- Workers would take jobs from under these tests; tests/server tests the workers.
SELECT queue.stop_workers() IS NOT NULL AS stopped;

CREATE SCHEMA test;
GRANT USAGE ON SCHEMA test TO PUBLIC;

CREATE FUNCTION test.raised(command text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RAISE EXCEPTION 'NO ERROR' USING ERRCODE = '00UND';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    hint := nullif(hint, '');
END $$;
COMMENT ON FUNCTION test.raised IS 'What the command raises; if it does not, it is undone all the same';
-- plpgsql has a variable sqlstate of its own, so the column has its name only here.
CREATE FUNCTION test.fails(command text, OUT sqlstate text, OUT message text, OUT hint text)
LANGUAGE sql AS 'SELECT * FROM test.raised(command)';
COMMENT ON FUNCTION test.fails IS 'What the command raises, without the detail, which may hold timestamps';

CREATE FUNCTION test.code(command text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE sqlstate WHEN '00UND' THEN 'ok' ELSE sqlstate END FROM test.fails(command)
$$;
COMMENT ON FUNCTION test.code IS 'The SQLSTATE that the command raises, or ok';

-- One role of each kind that the rights speak of.
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_owner, regress_nobody, regress_reader, regress_writer, regress_taker, regress_nologin;
CREATE ROLE regress_owner LOGIN;
CREATE ROLE regress_nobody LOGIN;
CREATE ROLE regress_reader LOGIN;
CREATE ROLE regress_writer LOGIN;
CREATE ROLE regress_taker LOGIN;
CREATE ROLE regress_nologin NOLOGIN;

CREATE FUNCTION test.tries(VARIADIC commands text[]) RETURNS TABLE (command text, sqlstate text, message text, hint text) LANGUAGE sql AS $$
    SELECT c, f.sqlstate, f.message, f.hint FROM unnest(commands) WITH ORDINALITY u (c, n), test.fails(c) f ORDER BY n
$$;
COMMENT ON FUNCTION test.tries IS 'What each command raises';
