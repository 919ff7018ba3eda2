CREATE TABLE orders_plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL, total numeric NOT NULL);
CREATE TABLE orders_hand (LIKE orders_plain INCLUDING ALL);
CREATE TABLE orders_attached (LIKE orders_plain INCLUDING ALL);
CREATE TABLE orders_by_row (LIKE orders_plain INCLUDING ALL);

CREATE FUNCTION enqueue_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hand (recipient, subject) VALUES (new.email, 'Your order ' || new.id);
    RETURN NULL;
END $$;
CREATE TRIGGER enqueue AFTER INSERT ON orders_hand FOR EACH ROW EXECUTE FUNCTION enqueue_by_hand();

SELECT queue.attach('orders_attached', 'mail', events => 'insert',
    set => '{"recipient": "new.email", "subject": "''Your order '' || new.id"}');
SELECT queue.attach('orders_by_row', 'mail', events => 'insert', level => 'row',
    set => '{"recipient": "new.email", "subject": "''Your order '' || new.id"}');
