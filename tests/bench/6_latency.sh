# How long after its commit a job starts, on a queue that is idle before each. The clock is read right before the
# commit, so what the commit itself takes is in it. By hand: a session that looks every 100 ms.
sql -f tests/bench/latency.sql >/dev/null

pings=200
send() {
    bench 1 "INSERT INTO $1 (sent) VALUES (clock_timestamp());
        \\sleep 10 ms" --transactions="$pings" >/dev/null
}
all_started() { [ "$(sql -c "SELECT count(*) FROM started_ours")" = $((pings * rounds)) ]; }
percentile() { sql -c "SELECT 1000 * percentile_cont($2) WITHIN GROUP (ORDER BY extract(epoch FROM started - sent)) FROM $1"; }

sql -c 'CALL poll_by_hand()' &
for ((round = 0; round < rounds; round++)); do
    send hand_pings
    send pings
done
sql -c 'INSERT INTO hand_pings (sent) VALUES (NULL)'
wait $!
wait_until 10 all_started || die "not all pings were processed"
time_row "commit to start, p50" "$(percentile started_hand 0.50)" "$(percentile started_ours 0.50)"
time_row "commit to start, p99" "$(percentile started_hand 0.99)" "$(percentile started_ours 0.99)"
