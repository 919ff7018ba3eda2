# Work inside the server, by one worker with the defaults of register_processor: batches of up to 100. By hand: a client
# that takes batches of 100, and has done nothing with them yet; and, for a processor that inserts a row for each job, an
# INSERT … SELECT of a hundred such rows a transaction, which takes nothing from any queue.
sql -f tests/bench/worker.sql >/dev/null
# More for the worker, whose start and first use of the queue count too; fewer by hand, where what was taken is in the way.
jobs=600000
jobs_by_hand=150000

batches_hand() { times 100 "$(full_and_bench hand "$jobs_by_hand" 1 "$(pop_by_hand 100)" $((jobs_by_hand / 100)))"; }
by_worker() {
    sql -c "SELECT queue.pause('mail')" -c "SELECT queue.register_processor('mail', '$1', replace => true)" \
        -c "CALL fill('mail', $2)" -c 'VACUUM ANALYZE mail' -c 'TRUNCATE sink' >/dev/null
    times "$2" "$(sql -c 'CALL drain_by_worker(NULL)')"
}
noop_ours() { by_worker 'noop(mail)' "$jobs"; }
noop_many_ours() { by_worker 'noop_many(mail[])' "$jobs"; }
insert_select() {
    sql -c 'TRUNCATE sink'
    times 100 "$(bench 1 'INSERT INTO sink SELECT id, recipient, subject FROM hundred;' --time="$seconds")"
}
insert_each_ours() { by_worker 'insert_each(mail)' 50000; }
# What bounds it: a commit for a hundred jobs, in the server, and nothing else; with a hundred rows deleted in the order of
# the index by C that does nothing else; with the function called with these; and the function called for a hundred jobs
# that stand in an array.
make_library bound
only_commits() { times "$jobs" "$(sql -c "CALL only_commit($((jobs / 100)), NULL)")"; }
take_all() {
    sql -c "SELECT queue.pause('mail')" -c "CALL fill('mail', $jobs)" -c 'VACUUM ANALYZE mail' >/dev/null
    times "$jobs" "$(sql -c "CALL only_take_all($((jobs / 100)), $1, NULL)")"
}
only_takes() { take_all false; }
takes_and_calls() { take_all true; }
insert_each_called() {
    sql -c 'TRUNCATE sink'
    times 100 "$(bench 1 'SELECT insert_each(job) FROM (SELECT unnest(jobs) AS job FROM hundred_jobs) j;' --time="$seconds")"
}

in_turn batches_hand noop_ours noop_many_ours only_commits only_takes takes_and_calls
row "worker, no-op f(mail), jobs" batches_hand noop_ours "at least 1.5 and 150,000/s"
row "worker, no-op f(mail[]), jobs" batches_hand noop_many_ours 3
row "— bound: a commit for each hundred jobs, in the server" batches_hand only_commits
row "— bound: the same, and C that only deletes these rows in the order of the index" batches_hand only_takes
row "— bound: the same, and f(mail[]) called with them, from plpgsql" batches_hand takes_and_calls
in_turn insert_select insert_each_ours insert_each_called
row "worker, plpgsql that inserts a row for each job, rows" insert_select insert_each_ours 0.5
row "— bound: the function called for jobs that stand in an array, without any queue" insert_select insert_each_called
sql -c "SELECT queue.unregister_processor('mail')" >/dev/null
