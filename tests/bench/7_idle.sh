# What an idle queue costs, how soon it is idle no more, and what a commit pays for being heard of.
sql -f tests/bench/idle.sql >/dev/null

# beside LABEL TARGET MEASURED UNIT: there is nothing by hand to compare with.
beside() { printf '| %s | | %.3g %s | | at most %s %s |\n' "$1" "$3" "$4" "$2" "$4"; }

# Nothing else runs meanwhile. From the commit itself, as Postgres tells others of it; and from the INSERT on, which has
# its flush in it.
make_library commit_time
make_library bound_work
pings=400
ping() {
    bench 1 "INSERT INTO idle_pings (sent, last_commit) VALUES (clock_timestamp(), committed_before());
        \\sleep 10 ms" --transactions="$pings" >/dev/null
}
# The same with a worker in C that does nothing else (bound_work.c).
worker=$(sql -c "SELECT only_work('bound_pings', 'bound_pings_next', 'note_bound(bound_pings)')")
ping_bound() {
    bench 1 "INSERT INTO bound_pings (sent, last_commit) SELECT clock_timestamp(), committed_before() FROM wake_at_commit($worker);
        \\sleep 10 ms" --transactions="$pings" >/dev/null
}
idle_started() { [ "$(sql -c "SELECT count(*) FROM started_idle")" = $((pings * rounds)) ]; }
bound_started() { [ "$(sql -c "SELECT count(*) FROM started_bound")" = $((pings * rounds)) ]; }
since_sent() { sql -c "SELECT 1000 * percentile_cont($1) WITHIN GROUP (ORDER BY extract(epoch FROM started - sent)) FROM started_idle"; }
for ((round = 0; round < rounds; round++)); do
    ping
    ping_bound
done
wait_until 10 idle_started || die "not all pings were processed"
wait_until 10 bound_started || die "not all pings were processed by C"
sql -c "SELECT pg_terminate_backend($worker)" >/dev/null
beside "commit to start, p50" 0.2 "$(commit_to_start started_idle 0.50)" ms
printf '| — bound: C that is woken, only deletes the row and calls the function, p50 | | %.3g ms | | |\n' "$(commit_to_start started_bound 0.50)"
beside "commit to start, p99" 1.5 "$(commit_to_start started_idle 0.99)" ms
printf '| INSERT to start, p50 | | %.3g ms | | |\n' "$(since_sent 0.50)"
printf '| INSERT to start, p99 | | %.3g ms | | |\n' "$(since_sent 0.99)"

# A hundred queues with processors: launcher, scheduler and the worker that is left. Autovacuum is off, since it would
# write WAL of its own.
ours() { sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'queue_ext%' ORDER BY pid"; }
cpu_ms() { for pid in $1; do cat "/proc/$pid/schedstat"; done | awk '{ sum += $1 } END { print sum / 1e6 }'; }
sql -c 'ALTER SYSTEM SET autovacuum = off' -c "ALTER SYSTEM SET queue_ext.worker_idle_timeout = '1s'" \
    -c 'SELECT pg_reload_conf()' -c 'CALL make_idle(100)' -c CHECKPOINT >/dev/null
sleep 20
idle_seconds=60
pids=$(ours)
wal_before=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
cpu_before=$(cpu_ms "$pids")
sleep "$idle_seconds"
cpu_after=$(cpu_ms "$pids")
wal_after=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
[ "$(ours)" = "$pids" ] || die "a process came or went while idle"
share=$(awk -v a="$cpu_before" -v b="$cpu_after" -v s="$idle_seconds" 'BEGIN { print (b - a) / s / 10 }')
beside "100 idle queues, share of a core" 0.1 "$share" %
# Not counted: the list of running transactions that Postgres itself writes once after there was something to write.
records=$(pg_waldump --path="$PGDATA/pg_wal" --start="$wal_before" --end="$wal_after" 2>/dev/null | grep -vc 'rmgr: Standby' || true)
printf '| 100 idle queues, WAL records in %s s | | %s | | 0 |\n' "$idle_seconds" "$records"

# Commits: to a queue that nobody looks after, beside one whose only worker is at work, and one that a session waits for
# and is woken by each of them; and NOTIFY with a session that listens, beside a table of its own without.
hold_worker() { PGAPPNAME=holder sql -c 'SELECT pg_advisory_lock(7)' -c "INSERT INTO worked (n) VALUES (0)" -c 'SELECT pg_sleep(3600)' >/dev/null 2>&1; }
waits() { sql -c "CALL queue.wait('awaited', '1 h')" >/dev/null 2>&1; }
listens() { sql -c 'LISTEN enqueued' -c 'SELECT pg_sleep(3600)' >/dev/null 2>&1; }
at_work() { [ "$(sql -c "SELECT count(*) FROM queue.activity WHERE queue = 'worked'::regclass AND state = 'running'")" = 1 ]; }
put() { bench "$1" "INSERT INTO $2 (n) VALUES (1)" --time="$seconds"; }
put_and_notify() { bench "$1" "INSERT INTO numbers VALUES (1) \\; NOTIFY enqueued" --time="$seconds" --protocol=simple; }
put_plain() { bench "$1" "INSERT INTO numbers VALUES (1) \\; SELECT 1" --time="$seconds" --protocol=simple; }
hold_worker &
holder=$!
waits &
waiter=$!
wait_until 10 at_work || die "no worker took the job"
for clients in 8 32; do
    put_quiet() { put "$clients" quiet; }
    put_worked() { put "$clients" worked; }
    put_awaited() { put "$clients" awaited; }
    without_notify() { put_plain "$clients"; }
    with_notify() { put_and_notify "$clients"; }
    compare "commits, $clients clients: nobody there, a worker at work" put_quiet put_worked
    compare "commits, $clients clients: nobody there, a session woken by each" put_quiet put_awaited
    listens &
    listener=$!
    compare "commits by hand, $clients clients: silent, NOTIFY to a session" without_notify with_notify
    sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' AND application_name = 'psql' AND pid <> pg_backend_pid()" >/dev/null
    wait "$listener" || true
done
sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder' OR query LIKE 'CALL queue.wait%'" >/dev/null
wait "$holder" "$waiter" || true
