-- Jobs a second, claimed by hundreds, each in a transaction of its own, until so many are; the first ones, which meet an
-- empty cache, do not count.
CREATE PROCEDURE claim_hundreds(queue regclass, hundreds int, INOUT rate float8) LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
BEGIN
    FOR i IN 1..hundreds LOOP
        IF i = 11 THEN
            began := clock_timestamp();
        END IF;
        IF (SELECT count(*) FROM queue.pop(queue, 100)) <> 100 THEN
            RAISE 'too few jobs';
        END IF;
        COMMIT;
    END LOOP;
    rate := 100 * (hundreds - 10) / extract(epoch FROM clock_timestamp() - began);
END $$;
