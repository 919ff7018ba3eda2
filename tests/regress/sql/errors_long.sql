-- What a failure says is kept, but not without end: a hundred long ones, or one of 256 MB, are more than jsonb can hold,
-- and the batch could not be written.
\set VERBOSITY terse
SELECT queue.create_queue('errors_long', 's text', max_attempts => 1);
CREATE FUNCTION errors_long(errors_long) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF $1.s IS NOT NULL THEN
        RAISE EXCEPTION '%', repeat($1.s, 1000000) USING DETAIL = repeat('ä', 500000), HINT = repeat('h', 1000);
    END IF;
END $$;
SELECT queue.register_processor('errors_long', 'errors_long(errors_long)');
INSERT INTO errors_long (s) VALUES (NULL), ('m'), (NULL);
CALL queue.run('errors_long');
SELECT id, state, octet_length(message) < 70000 AS message, left(message, 5) AS begins, right(message, 5) AS ends,
       octet_length(detail) < 70000 AS detail, right(detail, 2) AS detail_ends, length(hint) AS hint
FROM errors_long JOIN queue.errors e USING (id) WHERE e.queue = 'errors_long'::regclass;
SELECT queue.unregister_processor('errors_long');
INSERT INTO errors_long DEFAULT VALUES;
SELECT queue.nack('errors_long', id, attempt, repeat('n', 1000000)) FROM queue.dequeue('errors_long');
SELECT octet_length(message) < 70000 AS message FROM queue.errors WHERE queue = 'errors_long'::regclass ORDER BY id DESC LIMIT 1;
DROP FUNCTION errors_long;
SELECT queue.drop_queue('errors_long');
