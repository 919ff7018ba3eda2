# What a trigger costs the application: equal tables, without a trigger, with one by hand, attached as attach does it by
# itself (by statement), and by row.
make_orders
make_library bound
sql -c 'CREATE TABLE orders_bound (LIKE orders_plain INCLUDING ALL)' \
    -c "DO \$\$ BEGIN EXECUTE format('CREATE TRIGGER enqueue AFTER INSERT ON orders_bound FOR EACH ROW
            EXECUTE FUNCTION only_insert(%s)', 'jobs_bound'::regclass::oid); END \$\$"

insert_many() { echo "INSERT INTO $1 (email, total) SELECT 'someone' || i || '@example.org', i FROM generate_series(1, 1000) i;"; }

trigger_bench() { sql -c "TRUNCATE orders_plain, orders_hand, orders_attached, orders_by_row, orders_bound, jobs_bound, hand, mail" && bench "$clients" "$1" --time="$seconds"; }
one_plain() { trigger_bench "$(insert_one orders_plain)"; }
one_hand() { trigger_bench "$(insert_one orders_hand)"; }
one_ours() { trigger_bench "$(insert_one orders_attached)"; }
one_bound() { trigger_bench "$(insert_one orders_bound)"; }
one_by_row() { trigger_bench "$(insert_one orders_by_row)"; }
rows_a_second() { times 1000 "$(trigger_bench "$1")"; }
many_plain() { rows_a_second "$(insert_many orders_plain)"; }
many_hand() { rows_a_second "$(insert_many orders_hand)"; }
many_ours() { rows_a_second "$(insert_many orders_attached)"; }
many_bound() { rows_a_second "$(insert_many orders_bound)"; }

clients=4
# As for single jobs.
seconds=3
rounds=9
in_turn one_plain one_hand one_ours one_by_row one_bound
row "one-row insert, clients: 4: no trigger, attached by row" one_plain one_by_row 0.92
row "one-row insert, clients: 4: no trigger, attached" one_plain one_ours 0.92
row "one-row insert, clients: 4: no trigger, trigger by hand" one_plain one_hand "(measured: 0.73 to 0.88)"
row "one-row insert, clients: 4: no trigger, a trigger in C that only writes the row" one_plain one_bound "(a bound)"
seconds=1
rounds=5
clients=1
in_turn many_plain many_hand many_ours many_bound
row "1,000-row insert, rows: no trigger, attached" many_plain many_ours 0.5
row "1,000-row insert, rows: no trigger, row trigger by hand" many_plain many_hand "(measured: 0.19)"
row "1,000-row insert, rows: no trigger, a trigger in C that only writes the row" many_plain many_bound "(to compare)"
