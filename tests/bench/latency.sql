SELECT queue.create_queue('pings', 'last_commit timestamptz');
CREATE TABLE started_ours (id bigint, last_commit timestamptz, started timestamptz);
CREATE FUNCTION note(job pings) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO started_ours VALUES (job.id, job.last_commit, clock_timestamp());
END $$;
SELECT queue.register_processor('pings', 'note(pings)');

CREATE TABLE hand_pings (LIKE hand INCLUDING ALL);
ALTER TABLE hand_pings ALTER recipient DROP NOT NULL, ADD last_commit timestamptz;
CREATE TABLE started_hand (id bigint, last_commit timestamptz, started timestamptz);

-- Runs until it meets a ping of infinity.
CREATE PROCEDURE poll_by_hand() LANGUAGE plpgsql AS $$
DECLARE
    ping hand_pings;
    went_on boolean;
BEGIN
    LOOP
        went_on := false;
        FOR ping IN DELETE FROM hand_pings h USING (SELECT ctid FROM hand_pings WHERE state = 'ready' ORDER BY priority, id
                        FOR UPDATE SKIP LOCKED LIMIT 100) next WHERE h.ctid = next.ctid RETURNING h.*
        LOOP
            went_on := true;
            IF ping.last_commit = 'infinity' THEN
                RETURN;
            END IF;
            INSERT INTO started_hand VALUES (ping.id, ping.last_commit, clock_timestamp());
        END LOOP;
        COMMIT;
        IF NOT went_on THEN
            PERFORM pg_sleep(0.1);
        END IF;
    END LOOP;
END $$;
