# WAL for a job put by a transaction of its own and done by a worker in batches, by hand put likewise and deleted in
# batches of 100; without what its text takes. Full pages are not written for this: how many there are depends on the
# checkpoints, not on the queue.
# WAL records are padded to 8 bytes, so texts of one length would be measured with one padding: theirs vary.
wal_jobs=10000
varied_insert_into() {
    printf '%s\n' '\set n random(3, 10)' "INSERT INTO $1 (recipient, subject) VALUES ('someone@example.org', left('Your order', :n));"
}
wal() { sql -c 'SELECT pg_current_wal_insert_lsn()'; }
text_of() { sql -c "SELECT avg(octet_length(recipient) + octet_length(subject) + 2) FROM $1"; }

# wal_per_job TABLE DRAIN
wal_per_job() {
    local began text
    sql -c 'TRUNCATE hand, mail' -c CHECKPOINT
    began=$(wal)
    PGOPTIONS='-c synchronous_commit=off' bench 1 "$(varied_insert_into "$1")" --transactions="$wal_jobs" >/dev/null
    text=$(text_of "$1")
    $2 >/dev/null
    sql -c "SELECT (pg_current_wal_insert_lsn() - '$began') / $wal_jobs.0 - $text"
}
drain_hand() { bench 1 "$(pop_by_hand 100)" --transactions=$((wal_jobs / 100)); }
drain_ours() { sql -c 'CALL drain_by_worker(NULL)'; }

measure_wal() {
    wal_by_hand=$(wal_per_job hand drain_hand)
    wal_ours=$(wal_per_job mail drain_ours)
}

# Neither does autovacuum write in between, nor what it has begun.
sql -c "SELECT queue.pause('mail')" -c "SELECT queue.register_processor('mail', 'noop(mail)')" \
    -c 'ALTER SYSTEM SET autovacuum = off' -c 'SELECT pg_reload_conf()' >/dev/null
no_autovacuum() { [ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'")" = 0 ]; }
wait_until 120 no_autovacuum || die "autovacuum does not come to its end"
without_full_pages measure_wal
printf '| WAL per job besides its text (full_page_writes=off): put, claimed, done | %.0f bytes | %.0f bytes | %.2f | at most 270 bytes |\n' \
    "$wal_by_hand" "$wal_ours" "$(ratio "$wal_by_hand" "$wal_ours")"
sql -c 'ALTER SYSTEM RESET autovacuum' -c 'SELECT pg_reload_conf()' >/dev/null
sql -c "SELECT queue.unregister_processor('mail')" >/dev/null
