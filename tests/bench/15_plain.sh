# What a queue without any feature costs in a database where other queues use them all, beside one where none does. The
# left column is the plain database; no commit waits for the disk, which would hide what a session does.
psql -qc 'CREATE DATABASE beside'
PGDATABASE=beside sql -f tests/bench/schema.sql -f tests/bench/plain_beside.sql >/dev/null

enqueue_in() {
    PGDATABASE=$1 sql -c 'TRUNCATE mail'
    PGDATABASE=$1 PGOPTIONS='-c synchronous_commit=off' bench 1 "SELECT queue.enqueue('mail', '{\"recipient\": \"someone@example.org\", \"subject\": \"Your order\"}');" --time="$seconds"
}
pop_in() { times 100 "$(PGDATABASE=$1 PGOPTIONS='-c synchronous_commit=off' full_and_bench mail 100000 1 "SELECT * FROM queue.pop('mail', 100);" 1000)"; }
enqueue_alone() { enqueue_in bench; }
enqueue_beside() { enqueue_in beside; }
pop_alone() { pop_in bench; }
pop_beside() { pop_in beside; }
rounds=9
in_turn enqueue_alone enqueue_beside pop_alone pop_beside
row 'plain queue, enqueue: features unused, in use on other queues' enqueue_alone enqueue_beside 0.98
row 'plain queue, pop of 100, jobs: features unused, in use on other queues' pop_alone pop_beside 0.98
rounds=5
psql -qc 'DROP DATABASE beside WITH (FORCE)'
