-- What none can go below (bound.c): a function and a trigger that only write the row, one that only takes rows,
-- and two that lend them and end the loan.
CREATE TABLE jobs_bound (LIKE mail INCLUDING DEFAULTS INCLUDING IDENTITY);
CREATE UNIQUE INDEX ON jobs_bound (priority, id);
CREATE FUNCTION only_put(job_table regclass, payload jsonb) RETURNS bigint LANGUAGE c AS :'library', 'only_put';
CREATE FUNCTION only_insert() RETURNS trigger LANGUAGE c AS :'library', 'only_insert';
CREATE FUNCTION only_take(ready regclass, first_id bigint, most int) RETURNS SETOF mail LANGUAGE c AS :'library', 'only_take';
CREATE TABLE leased_bound (LIKE mail INCLUDING DEFAULTS);
ALTER TABLE leased_bound ADD PRIMARY KEY (id);
CREATE INDEX ON leased_bound (lease_until);
CREATE FUNCTION only_lease(ready regclass, leased regclass, first_id bigint, most int) RETURNS SETOF mail
    LANGUAGE c AS :'library', 'only_lease';
CREATE FUNCTION only_end(leased regclass, ids bigint[], attempts int[]) RETURNS SETOF bigint LANGUAGE c AS :'library', 'only_end';

-- Where each call takes its hundred (next_hundred in lib.sh).
CREATE TABLE first_taken AS SELECT 0::bigint AS id;
CREATE SEQUENCE hundred_taken;
CREATE PROCEDURE take_from_first() LANGUAGE sql AS $$
    UPDATE first_taken SET id = (SELECT min(id) - 100 FROM mail);
    SELECT setval('hundred_taken', 1, false);
$$;
