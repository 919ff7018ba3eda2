# A client takes jobs for good, at 100,000 waiting.
pop_by_hand() {
    echo "DELETE FROM hand h USING (SELECT ctid FROM hand WHERE state = 'ready' ORDER BY priority, id
          FOR UPDATE SKIP LOCKED LIMIT $1) next WHERE h.ctid = next.ctid RETURNING h.*;"
}

pop_100_hand() { times 100 "$(full_and_bench hand "$(pop_by_hand 100)" 1000)"; }
pop_100_ours() { times 100 "$(full_and_bench mail "SELECT * FROM queue.pop('mail', 100);" 1000)"; }
pop_1_hand() { full_and_bench hand "$(pop_by_hand 1)" 10000; }
pop_1_ours() { full_and_bench mail "SELECT * FROM queue.pop('mail', 1);" 10000; }

compare "pop, 100 at a time, jobs" pop_100_hand pop_100_ours
compare "pop, 1 at a time, jobs" pop_1_hand pop_1_ours
