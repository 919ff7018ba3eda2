# A publish beside as many calls of enqueue in one transaction, and a re-sync beside one INSERT … SELECT that makes the
# same jobs by hand.
sql -c "SELECT queue.create_queue('topic_' || i), queue.subscribe('bench.' || CASE WHEN i = 1 THEN '#' ELSE 'ten' END, 'topic_' || i)
        FROM generate_series(1, 10) i" >/dev/null
topic_payload='{"recipient": "someone@example.org", "subject": "Your order"}'

empty_topics() { sql -c "TRUNCATE topic_1, topic_2, topic_3, topic_4, topic_5, topic_6, topic_7, topic_8, topic_9, topic_10"; }
publish_by_hand() {
    local i calls=
    for ((i = 1; i <= $1; i++)); do calls+="queue.enqueue('topic_$i', '$topic_payload'),"; done
    empty_topics && bench 1 "SELECT ${calls%,};" --time="$seconds"
}
publish_to() { empty_topics && bench 1 "SELECT queue.publish('bench.$1', '$topic_payload');" --time="$seconds"; }
enqueue_to_1() { publish_by_hand 1; }
enqueue_to_10() { publish_by_hand 10; }
publish_to_1() { publish_to one; }
publish_to_10() { publish_to ten; }

in_turn enqueue_to_1 publish_to_1
row 'publish to 1 subscriber, enqueue to 1 queue' enqueue_to_1 publish_to_1 0.9
in_turn enqueue_to_10 publish_to_10
row 'publish to 10 subscribers, enqueue to 10 queues' enqueue_to_10 publish_to_10 0.9

# Changes of a table attached to the topic beside one attached to its only queue; then with ten subscribers.
sql -c "CREATE TABLE to_queue (id bigint, recipient text)" -c "CREATE TABLE to_topic (id bigint, recipient text)" \
    -c "SELECT queue.attach('to_queue', 'topic_1', events => 'insert')" \
    -c "SELECT queue.attach('to_topic', topic => 'bench.one', events => 'insert')" >/dev/null
insert_1000() {
    empty_topics
    sql -c 'TRUNCATE to_queue, to_topic'
    times 1000 "$(bench 1 "INSERT INTO $1 SELECT i, 'someone@example.org' FROM generate_series(1, 1000) i;" --time="$seconds")"
}
attached_queue() { insert_1000 to_queue; }
attached_topic() { insert_1000 to_topic; }
in_turn attached_queue attached_topic
row '1,000-row insert, rows: attached to a queue, to a topic with 1 subscriber' attached_queue attached_topic

resync_rows=200000
sql -c "CREATE TABLE resync_source (id bigint PRIMARY KEY, recipient text, subject text)" \
    -c "INSERT INTO resync_source SELECT i, 'someone' || i || '@example.org', 'Your order' FROM generate_series(1, $resync_rows) i" \
    -c 'CREATE TABLE resync_heap AS TABLE resync_source' -c 'VACUUM ANALYZE resync_source, resync_heap' \
    -c "SELECT queue.attach(s, 'mail', set => '{\"recipient\": \"new.recipient\", \"subject\": \"new.subject\"}') FROM unnest('{resync_source,resync_heap}'::regclass[]) s" >/dev/null
a_second() {
    local started
    sql -c 'TRUNCATE hand, mail' -c CHECKPOINT
    started=$(date +%s.%N)
    sql -c 'SET client_min_messages = warning' -c "$1"
    awk -v rows="$resync_rows" -v from="$started" -v to="$(date +%s.%N)" 'BEGIN { print rows / (to - from) }'
}
resync_by_hand() { a_second 'INSERT INTO hand (recipient, subject, priority) SELECT recipient, subject, 9 FROM resync_source'; }
resync_ours() { a_second "CALL queue.resync('resync_source', 'mail')"; }
resync_large() { a_second "CALL queue.resync('resync_source', 'mail', batch_size => 10000)"; }
resync_heap() { a_second "CALL queue.resync('resync_heap', 'mail')"; }
in_turn resync_by_hand resync_ours resync_large resync_heap
row 'resync, rows: one INSERT … SELECT, commits of 1,000 by primary key' resync_by_hand resync_ours 0.5
row 'the same, commits of 10,000' resync_by_hand resync_large 0.5
row 'the same, commits of 1,000 by place' resync_by_hand resync_heap 0.5
