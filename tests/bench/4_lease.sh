# A client takes jobs on a lease, 100 at a time, and acks them in a second transaction.
lease_hand() {
    local script="
        WITH leased AS (
            UPDATE hand_leased h SET state = 'running', attempt = attempt + 1, lease_until = now() + interval '30 s'
            FROM (SELECT id FROM hand_leased WHERE state = 'ready' ORDER BY priority, id FOR UPDATE SKIP LOCKED LIMIT 100) next
            WHERE h.id = next.id RETURNING h.id, h.attempt)
        SELECT array_agg(id) AS ids, array_agg(attempt) AS attempts FROM leased \\gset
        DELETE FROM hand_leased h USING unnest(:ids::bigint[], :attempts::int[]) a(id, attempt)
            WHERE h.id = a.id AND h.attempt = a.attempt AND h.state = 'running';"
    times 100 "$(full_and_bench hand_leased 100000 1 "$script" 1000)"
}
lease_ours() {
    local script="
        SELECT array_agg(id) AS ids, array_agg(attempt) AS attempts FROM queue.dequeue('mail', 100) \\gset
        SELECT count(*) FROM queue.ack_many('mail', :ids, :attempts);"
    times 100 "$(full_and_bench mail 100000 1 "$script" 1000)"
}

# What bounds it: the same rows from a table, and two commits that write; and C that does nothing but move the rows to
# another table with the same two indexes, and delete them there.
lease_given() {
    local script="
        WITH mark AS (INSERT INTO marks VALUES (1))
        SELECT array_agg(id) AS ids, array_agg(attempt) AS attempts FROM jobs_given \\gset
        WITH mark AS (INSERT INTO marks VALUES (1)) SELECT count(*) FROM unnest(:ids::bigint[], :attempts::int[]);"
    times 100 "$(bench 1 "$script" --transactions=1000)"
}
make_library bound
lease_bound() {
    local script="
        SELECT array_agg(id) AS ids, array_agg(attempt) AS attempts
        FROM only_lease('mail_ready', 'leased_bound', $next_hundred, 100) \\gset
        SELECT count(*) FROM only_end('leased_bound', :ids, :attempts);"
    sql -c "CALL fill('mail', 100000)" -c 'TRUNCATE leased_bound' -c 'VACUUM ANALYZE mail' -c 'CALL take_from_first()'
    times 100 "$(bench 1 "$script" --transactions=1000)"
    [ "$(sql -c 'SELECT count(*) FROM leased_bound')" = 0 ]
}

in_turn lease_hand lease_ours lease_given lease_bound
row "dequeue and ack_many, 100 at a time, jobs" lease_hand lease_ours 2
row "— bound: such rows and two commits, without any queue" lease_hand lease_given
row "— bound: C that only moves such rows, and deletes them" lease_hand lease_bound
