-- What none can go below (bound.c): a function and a trigger that only write the row, and one that only takes rows.
CREATE TABLE jobs_bound (LIKE mail INCLUDING DEFAULTS INCLUDING IDENTITY);
CREATE UNIQUE INDEX ON jobs_bound (priority, id);
CREATE FUNCTION only_put(job_table regclass, payload jsonb) RETURNS bigint LANGUAGE c AS :'library', 'only_put';
CREATE FUNCTION only_insert() RETURNS trigger LANGUAGE c AS :'library', 'only_insert';
CREATE FUNCTION only_take(ready regclass, first_id bigint, most int) RETURNS SETOF mail LANGUAGE c AS :'library', 'only_take';
