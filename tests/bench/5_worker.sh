# Work inside the server with a function that does nothing. By hand: a procedure in a loop, which is the quickest
# that SQL has, though there one failing job takes its whole batch with it.
sql -f tests/bench/worker.sql >/dev/null
jobs=100000

by_hand() {
    sql -c "CALL fill('hand', $jobs)" -c 'VACUUM ANALYZE hand'
    times "$jobs" "$(sql -c "CALL $1(NULL)")"
}
by_worker() {
    sql -c "SELECT queue.pause('mail')" -c "SELECT queue.register_processor('mail', '$1', replace => true)" \
        -c "CALL fill('mail', $jobs)" -c 'VACUUM ANALYZE mail' >/dev/null
    times "$jobs" "$(sql -c 'CALL drain_by_worker(NULL)')"
}
work_hand() { by_hand work_by_hand; }
work_ours() { by_worker 'noop(mail)'; }
work_many_hand() { by_hand work_many_by_hand; }
work_many_ours() { by_worker 'noop_many(mail[])'; }

compare "worker, no-op f(mail), jobs" work_hand work_ours
compare "worker, no-op f(mail[]), jobs" work_many_hand work_many_ours
sql -c "SELECT queue.unregister_processor('mail')" >/dev/null
