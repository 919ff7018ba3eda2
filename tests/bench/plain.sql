-- What INSERTs into a queue are compared with: a plain table with the same columns and one index, and the same in
-- partitions.
CREATE TABLE plain (LIKE mail INCLUDING DEFAULTS INCLUDING IDENTITY);
CREATE UNIQUE INDEX ON plain (priority, id);

CREATE TABLE parts (LIKE mail INCLUDING DEFAULTS INCLUDING IDENTITY) PARTITION BY LIST (state);
CREATE TABLE parts_ready PARTITION OF parts FOR VALUES IN ('ready');
CREATE TABLE parts_others PARTITION OF parts FOR VALUES IN ('scheduled', 'blocked', 'running', 'failed', 'done');
CREATE UNIQUE INDEX ON parts_ready (priority, id);
