CREATE TABLE jobs_bound (LIKE mail INCLUDING DEFAULTS INCLUDING IDENTITY);
CREATE UNIQUE INDEX ON jobs_bound (priority, id);

CREATE TABLE orders_bound (LIKE orders_plain INCLUDING ALL);
CREATE FUNCTION only_insert() RETURNS trigger LANGUAGE c AS :'library', 'only_insert';
CREATE TRIGGER enqueue AFTER INSERT ON orders_bound FOR EACH ROW EXECUTE FUNCTION only_insert('jobs_bound');
