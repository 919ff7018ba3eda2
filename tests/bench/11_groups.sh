# Claims of 100 by one session: jobs in no group beside jobs of groups. Both columns are of queue_ext, with the same rows but
# for group_key. No commit waits for the disk, which would make all claims alike.
sql -f tests/bench/groups.sql >/dev/null

# fill_groups EXPRESSION: 100,000 waiting jobs, whose group is an expression over i.
fill_groups() {
    sql -c 'TRUNCATE mail' -c "INSERT INTO mail (recipient, subject, group_key)
        SELECT 'someone' || i || '@example.org', 'Your order number ' || i, $1 FROM generate_series(1, 100000) i" \
        -c 'VACUUM ANALYZE mail'
}
claim_grouped() { PGOPTIONS='-c synchronous_commit=off' sql -c "CALL claim_hundreds('mail', 900, NULL)"; }
no_groups() { fill_groups NULL && claim_grouped; }
as_many_groups() { fill_groups "'group ' || i" && claim_grouped; }
thousand_groups() { fill_groups "'group ' || i % 1000" && claim_grouped; }
one_group() { fill_groups "'group'" && claim_grouped; }
# 100,000 jobs in no group, while as many wait behind the first of theirs, which has failed. They were put aside by then.
behind_one() {
    fill_groups "'stuck'"
    sql -c "SELECT queue.cancel('mail', (SELECT min(id) FROM mail))" -c "SELECT count(*) FROM queue.pop('mail')" >/dev/null
    sql -c "INSERT INTO mail (recipient, subject) SELECT recipient, subject FROM mail WHERE state = 'blocked'" -c 'VACUUM ANALYZE mail'
    claim_grouped
}

without_full_pages in_turn no_groups as_many_groups thousand_groups one_group behind_one
row "claims of 100, jobs: in no group, each in one of its own" no_groups as_many_groups 0.5
row "claims of 100, jobs: in no group, in 1,000 groups" no_groups thousand_groups 0.5
row "claims of 100, jobs: in no group, all in one" no_groups one_group 0.5
row "claims of 100, jobs: alone, beside 100,000 behind a failed one" no_groups behind_one 0.5
sql -c 'TRUNCATE mail' >/dev/null
