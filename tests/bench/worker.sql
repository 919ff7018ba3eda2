CREATE TABLE sink (job bigint, recipient text, subject text);
CREATE FUNCTION insert_each(job mail) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.sink VALUES (job.id, job.recipient, job.subject);
END $$;
CALL fill('mail', 100);
CREATE TABLE hundred AS SELECT id, recipient, subject FROM mail;
VACUUM ANALYZE hundred;
CREATE TABLE hundred_jobs AS SELECT array_agg(m) AS jobs FROM mail m;

CREATE PROCEDURE only_take_all(hundreds int, calls boolean, INOUT rate float8) LANGUAGE plpgsql AS $$
DECLARE
    first_id bigint := (SELECT min(id) FROM mail);
    began timestamptz := clock_timestamp();
BEGIN
    FOR i IN 0 .. hundreds - 1 LOOP
        IF calls THEN
            PERFORM noop_many(array_agg(job)) FROM only_take('mail_ready', first_id + 100 * i, 100) job;
        ELSE
            PERFORM FROM only_take('mail_ready', first_id + 100 * i, 100);
        END IF;
        COMMIT;
    END LOOP;
    rate := 1 / extract(epoch FROM clock_timestamp() - began);
    IF EXISTS (SELECT FROM mail) THEN
        RAISE 'not all of them are taken';
    END IF;
END $$;
