# A client puts jobs with a key on a queue whose keys coalesce: each key a new one, or always the same few, which wait.
sql -c "SELECT queue.create_queue('keyed', 'recipient text NOT NULL, subject text', on_conflict => 'skip')" \
    -c "CREATE TABLE hand_keyed (LIKE hand INCLUDING ALL)" \
    -c "CREATE UNIQUE INDEX ON hand_keyed (key) WHERE state = 'ready'" -c 'CREATE SEQUENCE keys CACHE 1000' >/dev/null

plain="SELECT queue.enqueue('mail', '{\"recipient\": \"someone@example.org\", \"subject\": \"Your order\"}');"
keyed() {
    echo "SELECT queue.enqueue('keyed', '{\"recipient\": \"someone@example.org\", \"subject\": \"Your order\"}', key => $1${2:+, on_conflict => '$2'});"
}
by_hand() {
    echo "INSERT INTO hand_keyed (recipient, subject, key) VALUES ('someone@example.org', 'Your order', $1) ON CONFLICT (key) WHERE state = 'ready' $2;"
}
fresh="nextval('keys')::text"
few="(random() * 100)::int::text"

keyed_bench() { sql -c 'TRUNCATE hand_keyed, mail, keyed, queue.keys' -c "$2" >/dev/null && bench "$clients" "$1" --time="$seconds"; }
# The jobs that the others collide with.
waiting="SELECT queue.enqueue('keyed', '{\"recipient\": \"x\"}', key => i::text) FROM generate_series(0, 100) i"
waiting_by_hand="INSERT INTO hand_keyed (recipient, key) SELECT 'x', i FROM generate_series(0, 100) i"

put_plain() { keyed_bench "$plain" ''; }
put_fresh() { keyed_bench "$(keyed "$fresh")" ''; }
put_same() { keyed_bench "$(keyed "$few")" "$waiting"; }
put_replaced() { keyed_bench "$(keyed "$few" replace)" "$waiting"; }
hand_fresh() { keyed_bench "$(by_hand "$fresh" 'DO NOTHING')" ''; }
hand_same() { keyed_bench "$(by_hand "$few" 'DO NOTHING')" "$waiting_by_hand"; }
hand_replaced() { keyed_bench "$(by_hand "$few" 'DO UPDATE SET recipient = excluded.recipient, subject = excluded.subject')" "$waiting_by_hand"; }

for clients in 1 4; do
    in_turn put_plain put_fresh put_same put_replaced hand_fresh hand_same hand_replaced
    row "enqueue without a key, with a fresh key, clients: $clients" put_plain put_fresh 0.6
    row "enqueue without a key, skip that meets a waiting job, clients: $clients" put_plain put_same 0.6
    row "enqueue without a key, replace of a waiting job, clients: $clients" put_plain put_replaced "(measured)"
    row "fresh key: INSERT ON CONFLICT into a unique index by hand, clients: $clients" hand_fresh put_fresh "(measured)"
    row "skip: ON CONFLICT DO NOTHING by hand, clients: $clients" hand_same put_same "(measured)"
    row "replace: ON CONFLICT DO UPDATE by hand, clients: $clients" hand_replaced put_replaced "(measured)"
done

# A statement of a thousand rows, through an attached table.
sql -c 'CREATE TABLE source (id bigint, email text)' \
    -c "SELECT queue.attach('source', 'keyed', 'insert', set => '{\"recipient\": \"new.email\"}', key => 'new.id')" \
    -c 'CREATE TABLE source_plain (id bigint, email text)' \
    -c "SELECT queue.attach('source_plain', 'mail', 'insert', set => '{\"recipient\": \"new.email\"}')" >/dev/null
insert_source() { echo "INSERT INTO $1 SELECT $2, 'someone@example.org' FROM generate_series(1, 1000) i;"; }
rows_of() { times 1000 "$(keyed_bench "$1" '')"; }
many_plain_source() { rows_of "$(insert_source source_plain i)"; }
many_fresh_source() { rows_of "$(insert_source source "nextval('keys')")"; }
many_same_source() { rows_of "$(insert_source source 'i % 100')"; }
clients=1
in_turn many_plain_source many_fresh_source many_same_source
row "1,000-row insert, rows: attached without a key, with fresh keys" many_plain_source many_fresh_source "(measured)"
row "1,000-row insert, rows: attached without a key, ten of each key" many_plain_source many_same_source "(measured)"
