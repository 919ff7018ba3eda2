#!/usr/bin/env bash
# The main job from end to end, on a private server: pgbench is the application, and knows nothing of queues.
set -euo pipefail
source "$(dirname "$0")/../setup/cluster.sh"
source tests/demo/watch.sh

# On a terminal the story is bold, so that it stands out from the SQL.
bold= plain=
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
tell() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# show ROLE FILE: runs the SQL and shows it as it runs.
show() { psql --no-psqlrc --echo-all --quiet --variable=ON_ERROR_STOP=1 --username="$1" --file="tests/demo/$2"; }

# The load of the application: TPC-B as pgbench has it, by a role with no rights on the queue.
# (--no-vacuum only because pgbench would otherwise empty pgbench_history first.)
load_and_watch() {
    pgbench --no-vacuum --client=4 --time="$1" --username=clerk >"$PGDATA/pgbench.out" 2>&1 &
    local load=$!
    watch_while $load
    wait $load || { cat "$PGDATA/pgbench.out"; return 1; }
    grep -E 'transactions actually|failed transactions|^tps' "$PGDATA/pgbench.out" | sed 's/^/pgbench says: /'
}

tell "A private server starts; queue_ext is preloaded, so that its workers start by themselves."
cluster_start preload
export PGDATABASE=shop

tell "There is an application with data in it: database shop, made by pgbench -i, with roles shop (owner) and clerk (who works)."
psql -q -d postgres -c 'CREATE ROLE shop LOGIN' -c 'CREATE ROLE clerk LOGIN' -c 'CREATE DATABASE shop OWNER shop'
pgbench --initialize --scale=2 --quiet --username=shop 2>&1 | tail -n 1
psql -q -U shop -c 'GRANT SELECT, INSERT, UPDATE ON pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history TO clerk'

tell "The administrator adds the extension to that existing database."
show postgres 1_install.sql

tell "The owner makes a queue, lets each new row of pgbench_history become a job, and says which function does the jobs."
show shop 2_queue.sql

tell "Now pgbench runs unmodified, 4 clients for 8 seconds. Each line below is one second."
load_and_watch 8
wait_drained
watch_line
tell "Everything is done. Each job wrote its audit row in the same transaction that took the job off the queue."

tell "Next, some jobs will fail: somebody forbids to book anything for tellers 7 and 13. Two attempts, then a job becomes an error row."
show shop 3_break.sql
load_and_watch 5
wait_drained
watch_line

tell "The other tellers' jobs were done, batch neighbours of the failing ones included. The failed ones are kept as error rows, with what went wrong:"
show shop 4_errors.sql

tell "The cause is repaired, and all failed jobs are put back on the queue with one call."
show shop 5_repair.sql
wait_drained
watch_line

tell "The proof: each row that pgbench wrote was processed exactly once."
show shop 6_proof.sql | tee "$PGDATA/proof.out"
grep -q '^ proved' "$PGDATA/proof.out" || die "not exactly once"
