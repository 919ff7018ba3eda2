//! The queues, and what their processors write down.

/// `accepted`: what was put, written by the transaction that put it. `ran`: what took effect, written by the
/// transaction in which it did.
pub const TABLES: &str = "
    CREATE TABLE accepted (kind text, token bigint, grp text, detail text);
    CREATE TABLE ran (queue text, grp text, id bigint, token bigint, attempt int, s timestamptz, e timestamptz DEFAULT clock_timestamp(),
        tx text DEFAULT pg_current_xact_id()::text);
    CREATE TABLE objects (id int PRIMARY KEY, version bigint NOT NULL DEFAULT 0);
    CREATE TABLE copies (id int PRIMARY KEY, version bigint);
    INSERT INTO objects SELECT i FROM generate_series(1, 60) i;

    SELECT queue.create_queue('mirror', 'object int', on_conflict => 'skip', max_running_per_key => 1, backoff => '10 ms', max_attempts => 1000);
    CREATE FUNCTION work(j mirror) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE v bigint;
    BEGIN
        SELECT version INTO v FROM public.objects WHERE id = j.object;
        PERFORM pg_sleep(0.002 * (j.id % 5));
        INSERT INTO public.copies VALUES (j.object, v) ON CONFLICT (id) DO UPDATE SET version = excluded.version;
    END $$;
    SELECT queue.attach('objects', 'mirror', events => 'update', set => '{\"object\": \"new.id\"}', key => 'new.id');
    SELECT queue.register_processor('mirror', 'work(mirror)', parallelism => 3);

    SELECT queue.create_queue(name, 'token bigint', backoff => '10 ms', backoff_max => '50 ms', max_attempts => 1000, on_group_failure => policy)
        FROM (VALUES ('ordered', 'block'), ('passing', 'continue'), ('lent', 'block')) v (name, policy);
    -- Groups and a limit of keys, which cut across them.
    SELECT queue.alter_queue('lent', max_running_per_key => 2);
    CREATE FUNCTION work(j ordered) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE s timestamptz := clock_timestamp();
    BEGIN
        PERFORM pg_sleep(0.001 * (j.id % 4));
        IF j.token % 9 = 0 AND j.attempt % 3 <> 0 THEN RAISE EXCEPTION 'not yet'; END IF;
        INSERT INTO public.ran VALUES ('ordered', j.group_key, j.id, j.token, j.attempt, s);
    END $$;
    CREATE FUNCTION work(j passing) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE s timestamptz := clock_timestamp();
    BEGIN
        PERFORM pg_sleep(0.001 * (j.id % 4));
        IF j.token % 9 = 0 AND j.attempt % 3 <> 0 THEN RAISE EXCEPTION 'not yet'; END IF;
        INSERT INTO public.ran VALUES ('passing', j.group_key, j.id, j.token, j.attempt, s);
    END $$;
    SELECT queue.register_processor('ordered', 'work(ordered)', parallelism => 3);
    SELECT queue.register_processor('passing', 'work(passing)', parallelism => 2, batch_size => 5);

    SELECT queue.create_queue('limited', 'token bigint', max_running_per_key => 2, max_running => 4);
    SELECT queue.create_queue('rated', 'token bigint', rate_limit => 10, rate_limit_per_key => 6, rate_interval => '1 s');

    SELECT queue.create_queue('single', 'token bigint', backoff => '10 ms', max_attempts => 1000);
    CREATE FUNCTION work(j single) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.ran VALUES ('single', j.key, j.id, j.token, j.attempt, clock_timestamp());
        IF (j.token + j.attempt) % 4 = 0 THEN RAISE EXCEPTION 'not this time'; END IF;
    END $$;
    SELECT queue.register_processor('single', 'work(single)', parallelism => 2);

    SELECT queue.create_queue('second', 'token bigint', backoff => '10 ms', max_attempts => 1000);
    SELECT queue.create_queue('first', 'token bigint', backoff => '10 ms', max_attempts => 1000);
    CREATE FUNCTION work(j second) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.ran VALUES ('second', j.correlation_id, j.id, j.token, j.attempt, clock_timestamp());
        IF (j.id + j.attempt) % 7 = 0 THEN RAISE EXCEPTION 'not this time'; END IF;
    END $$;
    CREATE FUNCTION work(j first) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1 .. j.token % 3 LOOP RETURN NEXT jsonb_build_object('token', j.token); END LOOP;
        IF (j.token + j.attempt) % 7 = 0 THEN RAISE EXCEPTION 'not this time'; END IF;
    END $$;
    SELECT queue.register_processor('second', 'work(second)', parallelism => 2);
    SELECT queue.register_processor('first', 'work(first)', parallelism => 2, then_queue => 'second');

    SELECT queue.create_queue(name, 'token bigint', backoff => '10 ms', max_attempts => 1000) FROM unnest('{sub_a,sub_all}'::text[]) name;
    CREATE FUNCTION work(j sub_a) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.ran VALUES ('sub_a', j.topic, j.id, j.token, j.attempt, clock_timestamp()) $$;
    CREATE FUNCTION work(j sub_all) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.ran VALUES ('sub_all', j.topic, j.id, j.token, j.attempt, clock_timestamp()) $$;
    SELECT queue.register_processor('sub_a', 'work(sub_a)');
    SELECT queue.register_processor('sub_all', 'work(sub_all)');
    SELECT queue.subscribe('event.a', 'sub_a');
    SELECT queue.subscribe('event.#', 'sub_all');
    SELECT queue.subscribe('event.*', 'sub_all');

    SELECT queue.create_queue('steps', 'token bigint, waits_for bigint[]', backoff => '10 ms', max_attempts => 1000);
    CREATE FUNCTION work(j steps) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE s timestamptz := clock_timestamp();
    BEGIN
        IF (j.token + j.attempt) % 6 = 0 THEN RAISE EXCEPTION 'not this time'; END IF;
        IF (SELECT count(*) FROM public.ran WHERE queue = 'steps' AND token = ANY (j.waits_for)) <> coalesce(array_length(j.waits_for, 1), 0) THEN
            INSERT INTO public.ran VALUES ('too early', NULL, j.id, j.token, j.attempt, s);
        END IF;
        INSERT INTO public.ran VALUES ('steps', NULL, j.id, j.token, j.attempt, s);
    END $$;
    SELECT queue.register_processor('steps', 'work(steps)', parallelism => 3);

    SELECT queue.create_queue('ticks');
    CREATE FUNCTION work(j ticks) RETURNS void LANGUAGE sql AS $$
        INSERT INTO public.ran VALUES ('ticks', NULL, j.id, NULL, j.attempt, clock_timestamp()) $$;
    SELECT queue.register_processor('ticks', 'work(ticks)');
    CREATE TABLE first_tick AS SELECT queue.schedule('each second', '* * * * * *', 'ticks', catch_up => 'all') AS at;
    ";

/// Those that must be empty in the end.
pub const QUEUES: [&str; 12] = [
    "mirror", "ordered", "passing", "lent", "limited", "rated", "single", "first", "second", "sub_a",
    "sub_all", "steps",
];
