# What stands behind or beside the jobs that are taken: claims of 100, by one session, as long as a queue of 10,000 lasts.
# Here both columns are of queue_ext: the plain case, and the other. No commit waits for the disk, which would make all
# claims alike, and full pages are not written.
sql -f tests/bench/flat.sql >/dev/null

claims() { PGOPTIONS='-c synchronous_commit=off' sql -c "CALL claim_rate('$1', NULL)"; }
ten_thousand() { sql -c "CALL fill('mail', 10000)" -c 'VACUUM ANALYZE mail' && claims mail; }
five_million() { claims deep; }
standing_by() { sql -c 'CALL refill_beside()' -c 'VACUUM ANALYZE beside' && claims beside; }
ten_priorities() { sql -c "CALL fill('mail', 10000, 10)" -c 'VACUUM ANALYZE mail' && claims mail; }

rounds=21
sql -c "CALL fill('deep', 5000000)" -c 'VACUUM ANALYZE deep'
without_full_pages in_turn ten_thousand five_million standing_by ten_priorities
row "claims of 100, jobs: 10,000 waiting, 5,000,000 waiting" ten_thousand five_million 0.95
row "claims of 100, jobs: alone, beside 100,000 leased and 100,000 scheduled" ten_thousand standing_by 0.95
row "claims of 100, jobs: one priority, ten" ten_thousand ten_priorities 0.8
rounds=5
sql -c "SELECT queue.drop_queue('deep')" -c "SELECT queue.drop_queue('beside', true)" >/dev/null
