-- What bounds a queue: transactions that return such rows and commit, but claim nothing; and that delete rows by their
-- place, without order, search or lock.
CREATE TABLE marks (at int);
CALL fill('mail', 100);
BEGIN;
CREATE TABLE rows_given AS SELECT * FROM queue.pop_as(NULL::mail, 100);
COMMIT;
CALL fill('mail', 100);
CREATE TABLE jobs_given AS SELECT * FROM queue.pop('mail', 100);
VACUUM ANALYZE rows_given, jobs_given;

CREATE TABLE pile (LIKE rows_given);
CREATE TABLE hundreds (n bigint PRIMARY KEY, places tid[] NOT NULL);
CREATE SEQUENCE turn;

CREATE PROCEDURE fill_pile(n int) LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE pile, hundreds;
    PERFORM setval('turn', 1, false);
    INSERT INTO pile SELECT r.* FROM generate_series(1, n / 100), rows_given r;
    INSERT INTO hundreds SELECT 1 + (i - 1) / 100, array_agg(place)
    FROM (SELECT row_number() OVER () AS i, ctid AS place FROM pile) p GROUP BY 1;
END $$;

-- One over the seconds that so many commits take, from within the server.
CREATE PROCEDURE only_commit(n int, INOUT rate float8) LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1 .. n LOOP
        INSERT INTO marks VALUES (i);
        COMMIT;
    END LOOP;
    rate := 1 / extract(epoch FROM clock_timestamp() - began);
END $$;
