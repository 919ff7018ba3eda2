# A client puts jobs on the queue, one a transaction, beside an INSERT into a plain table.
insert_into() { echo "INSERT INTO $1 (recipient, subject) VALUES ('someone@example.org', 'Your order');"; }
enqueue="SELECT queue.enqueue('mail', '{\"recipient\": \"someone@example.org\", \"subject\": \"Your order\"}');"

empty_and_bench() { sql -c "TRUNCATE hand, mail" && bench "$1" "$2" --time="$seconds"; }

insert_hand() { empty_and_bench "$clients" "$(insert_into hand)"; }
insert_ours() { empty_and_bench "$clients" "$(insert_into mail)"; }
enqueue_ours() { empty_and_bench "$clients" "$enqueue"; }

for clients in 1 4; do
    compare "plain INSERT, clients: $clients" insert_hand insert_ours
    compare "queue.enqueue against INSERT, clients: $clients" insert_hand enqueue_ours
done
