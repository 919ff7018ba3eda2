# How long after its commit a job starts, on a queue that is idle before each. By hand: a session that looks every 100 ms.
make_library commit_time
sql -f tests/bench/latency.sql >/dev/null

pings=200
send() {
    bench 1 "INSERT INTO $1 (last_commit) VALUES (committed_before());
        \\sleep 10 ms" --transactions="$pings" >/dev/null
}
all_started() { [ "$(sql -c "SELECT count(*) FROM started_ours")" = $((pings * rounds)) ]; }

sql -c 'CALL poll_by_hand()' &
for ((round = 0; round < rounds; round++)); do
    send hand_pings
    send pings
done
sql -c "INSERT INTO hand_pings (last_commit) VALUES ('infinity')"
wait $!
wait_until 10 all_started || die "not all pings were processed"
time_row "commit to start, p50" "$(commit_to_start started_hand 0.50)" "$(commit_to_start started_ours 0.50)"
time_row "commit to start, p99" "$(commit_to_start started_hand 0.99)" "$(commit_to_start started_ours 0.99)"
