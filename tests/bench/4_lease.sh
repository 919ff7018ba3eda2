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

compare "dequeue and ack_many, 100 at a time, jobs" lease_hand lease_ours 2
