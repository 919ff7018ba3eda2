# A client puts jobs on the queue beside an INSERT into a plain table of the same columns with one index.
enqueue="SELECT queue.enqueue('mail', '{\"recipient\": \"someone@example.org\", \"subject\": \"Your order\"}');"
# The same table in partitions, as a queue is, but without a trigger: what an INSERT that is routed costs by itself.
sql -f tests/bench/plain.sql
make_library bound
# A thousand, made before anything is measured: as rows, and as the payloads that enqueue_many takes.
sql -c "CREATE TABLE thousand AS SELECT 'someone' || i || '@example.org' AS recipient, 'Your order'::text AS subject FROM generate_series(1, 1000) i" \
    -c 'CREATE TABLE thousand_payloads AS SELECT array_agg(to_jsonb(t)) AS all_of_them FROM thousand t' -c 'VACUUM ANALYZE thousand'

empty_and_bench() { sql -c "TRUNCATE plain, parts, jobs_bound, mail" && bench "$1" "$2" --time="$seconds"; }
put_many() { sql -c 'TRUNCATE plain, mail' && times 1000 "$(bench 1 "$1" --time="$seconds")"; }
from_thousand() { echo "INSERT INTO $1 (recipient, subject) SELECT recipient, subject FROM thousand;"; }

insert_plain() { empty_and_bench "$clients" "$(insert_into plain)"; }
insert_parts() { empty_and_bench "$clients" "$(insert_into parts)"; }
insert_ours() { empty_and_bench "$clients" "$(insert_into mail)"; }
put_bound() { empty_and_bench "$clients" "${enqueue/queue.enqueue(\'mail\'/only_put(\'jobs_bound\'}"; }
enqueue_ours() { empty_and_bench "$clients" "$enqueue"; }
insert_rows() { put_many "$(from_thousand plain)"; }
insert_rows_ours() { put_many "$(from_thousand mail)"; }
insert_payloads() {
    put_many "INSERT INTO plain (recipient, subject) SELECT p ->> 'recipient', p ->> 'subject'
              FROM thousand_payloads, unnest(all_of_them) p;"
}
enqueue_many_ours() { put_many "SELECT count(*) FROM thousand_payloads, queue.enqueue_many('mail', all_of_them);"; }

# A second's rate of commits wavers more than what is compared, and has a session's first use of a queue in it, which is
# measured by itself: longer, and more rounds.
seconds=3
rounds=9
for clients in 1 4; do
    in_turn insert_plain insert_ours enqueue_ours insert_parts put_bound
    row "plain INSERT, clients: $clients" insert_plain insert_ours 0.95
    row "queue.enqueue against INSERT, clients: $clients" insert_plain enqueue_ours 0.95
    row "INSERT into a table in partitions without triggers, clients: $clients" insert_plain insert_parts "(a bound)"
    row "a function in C that only writes the row, clients: $clients" insert_plain put_bound "(a bound)"
done
seconds=1
rounds=5
in_turn insert_rows insert_payloads enqueue_many_ours insert_rows_ours
row "enqueue_many of 1,000 against INSERT … SELECT of the same payloads, jobs" insert_payloads enqueue_many_ours 0.8
row "enqueue_many of 1,000 against INSERT … SELECT of rows, jobs" insert_rows enqueue_many_ours 0.8
row "INSERT … SELECT of 1,000 rows, jobs" insert_rows insert_rows_ours
