-- A queue with a column of the name that the extension's own statements once used for an id: it is the user's.
SELECT queue.create_queue('after_column', 'x bigint, id2 text', keep_failed => '1 h', max_attempts => 1);
SELECT queue.enqueue('after_column', '{"x": 7}') AS first;
SELECT queue.enqueue('after_column', '{"x": 8}', after => '{1}') AS second;
INSERT INTO after_column (x, after) VALUES (9, '{1}');
SELECT id, state, x, after FROM after_column ORDER BY id;
-- The first fails: so do those that wait for it.
SELECT queue.nack('after_column', id, attempt, 'no') FROM queue.dequeue('after_column');
SELECT id FROM queue.dequeue('after_column');
SELECT id, state, x, errors -> -1 ->> 'message' AS error FROM after_column ORDER BY id;
-- And what is to wait for a failed one fails at once.
SELECT queue.enqueue('after_column', '{"x": 1}', after => '{1}') AS fourth;
SELECT id FROM queue.dequeue('after_column');
SELECT id, state FROM after_column WHERE id = 4;
SELECT queue.drop_queue('after_column', true);
-- And one of a type that no id can be compared with.
SELECT queue.create_queue('after_column', 'x point');
SELECT queue.enqueue('after_column') AS first;
SELECT queue.enqueue('after_column', after => '{1}') AS second;
SELECT id FROM queue.pop('after_column');
SELECT id FROM queue.pop('after_column');
SELECT queue.drop_queue('after_column');
