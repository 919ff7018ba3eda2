# A client puts jobs on the queue beside an INSERT into a plain table of the same columns with one index.
enqueue="SELECT queue.enqueue('mail', '{\"recipient\": \"someone@example.org\", \"subject\": \"Your order\"}');"
# A thousand, made before anything is measured: as rows, and as the payloads that enqueue_many takes.
sql -c "CREATE TABLE thousand AS SELECT 'someone' || i || '@example.org' AS recipient, 'Your order'::text AS subject FROM generate_series(1, 1000) i" \
    -c 'CREATE TABLE thousand_payloads AS SELECT array_agg(to_jsonb(t)) AS all_of_them FROM thousand t' -c 'VACUUM ANALYZE thousand'

empty_and_bench() { sql -c "TRUNCATE hand, mail" && bench "$1" "$2" --time="$seconds"; }
put_many() { sql -c 'TRUNCATE hand, mail' && times 1000 "$(bench 1 "$1" --time="$seconds")"; }

insert_hand() { empty_and_bench "$clients" "$(insert_into hand)"; }
insert_ours() { empty_and_bench "$clients" "$(insert_into mail)"; }
enqueue_ours() { empty_and_bench "$clients" "$enqueue"; }
insert_rows() { put_many 'INSERT INTO hand (recipient, subject) SELECT recipient, subject FROM thousand;'; }
insert_payloads() {
    put_many "INSERT INTO hand (recipient, subject) SELECT p ->> 'recipient', p ->> 'subject'
              FROM thousand_payloads, unnest(all_of_them) p;"
}
enqueue_many_ours() { put_many "SELECT count(*) FROM thousand_payloads, queue.enqueue_many('mail', all_of_them);"; }

for clients in 1 4; do
    in_turn insert_hand insert_ours enqueue_ours
    row "plain INSERT, clients: $clients" insert_hand insert_ours 0.95
    row "queue.enqueue against INSERT, clients: $clients" insert_hand enqueue_ours 0.95
done
in_turn insert_rows insert_payloads enqueue_many_ours
row "enqueue_many of 1,000 against INSERT … SELECT of the same payloads, jobs" insert_payloads enqueue_many_ours 0.8
row "enqueue_many of 1,000 against INSERT … SELECT of rows, jobs" insert_rows enqueue_many_ours 0.8
