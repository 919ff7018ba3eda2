# What a trigger costs the application: three equal tables, one without a trigger, one with a trigger by hand, one attached.
sql -f tests/bench/trigger.sql >/dev/null

insert_one() { echo "INSERT INTO $1 (email, total) VALUES ('someone@example.org', 12.50);"; }
insert_many() { echo "INSERT INTO $1 (email, total) SELECT 'someone' || i || '@example.org', i FROM generate_series(1, 1000) i;"; }

trigger_bench() { sql -c "TRUNCATE orders_plain, orders_hand, orders_attached, hand, mail" && bench 1 "$1" --time="$seconds"; }
one_plain() { trigger_bench "$(insert_one orders_plain)"; }
one_hand() { trigger_bench "$(insert_one orders_hand)"; }
one_ours() { trigger_bench "$(insert_one orders_attached)"; }
rows_a_second() { times 1000 "$(trigger_bench "$1")"; }
many_plain() { rows_a_second "$(insert_many orders_plain)"; }
many_hand() { rows_a_second "$(insert_many orders_hand)"; }
many_ours() { rows_a_second "$(insert_many orders_attached)"; }

compare "one-row insert: no trigger, attached" one_plain one_ours
compare "one-row insert: trigger by hand, attached" one_hand one_ours
compare "1,000-row insert, rows: no trigger, attached" many_plain many_ours
compare "1,000-row insert, rows: row trigger by hand, attached" many_hand many_ours
