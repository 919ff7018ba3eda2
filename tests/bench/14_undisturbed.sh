# How long after its commit a daily job starts: while nothing else goes on, and while a re-sync of a million rows puts
# its jobs on the same queue, and they are run. Both columns are of queue_ext.
sql -f tests/bench/undisturbed.sql >/dev/null

send_daily() {
    bench 1 "INSERT INTO daily (sent) VALUES (clock_timestamp());
        \\sleep 10 ms" --transactions=100 >/dev/null
}
daily_percentile() {
    sql -c "SELECT 1000 * percentile_cont($2) WITHIN GROUP (ORDER BY extract(epoch FROM started - sent)) FROM started_daily WHERE beside = $1"
}
daily_is_done() { [ "$(sql -c 'SELECT count(*) FROM daily')" = 0 ]; }

for ((round = 0; round < 3; round++)); do
    sql -c 'UPDATE is_beside SET beside = false'
    send_daily
    sql -c 'UPDATE is_beside SET beside = true'
    sql -c "SET client_min_messages = warning" -c "CALL queue.resync('synced', 'daily')" &
    send_daily
    [ "$(sql -c 'SELECT EXISTS (SELECT FROM daily)')" = t ] || die "the re-sync was over before"
    wait $!
    wait_until 60 daily_is_done || die "not all jobs were run"
done
time_row "commit to start of a daily job, p50: alone, beside a re-sync" "$(daily_percentile false 0.50)" "$(daily_percentile true 0.50)"
time_row "the same, p99" "$(daily_percentile false 0.99)" "$(daily_percentile true 0.99)"
