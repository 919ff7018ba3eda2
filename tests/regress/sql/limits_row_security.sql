-- What runs is counted whole, also what policies hide from the owner of a queue (FORCE ROW LEVEL SECURITY).
CREATE SCHEMA limits_row_security;
GRANT USAGE, CREATE ON SCHEMA limits_row_security TO regress_owner;
SET search_path = limits_row_security;
\pset format unaligned
\pset tuples_only on
SET ROLE regress_owner;
SELECT queue.create_queue('q', 'tenant int', max_running => 2, max_running_per_key => 1);
INSERT INTO q (tenant, key) VALUES (1, 'a'), (2, 'a'), (2, 'b'), (2, 'c');
ALTER TABLE q ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON q USING (tenant = current_setting('limits.tenant')::int);
SET limits.tenant = 1;
SELECT payload ->> 'tenant', key FROM queue.dequeue('q', 10);
-- The other tenant does not see that job, but its key is at work: b is next, and then there are two.
SET limits.tenant = 2;
SELECT count(*) FROM q;
SELECT payload ->> 'tenant', key FROM queue.dequeue('q', 10);
SELECT count(*) FROM queue.dequeue('q', 10);
RESET ROLE;
SELECT state, tenant, key FROM q ORDER BY id;
