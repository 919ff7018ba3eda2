# What the measurements share. Each of them is a pair of functions that print one number: by hand, and with queue_ext.
shopt -s inherit_errexit

rounds=5
seconds=1

sql() { psql --no-psqlrc -qAt -v ON_ERROR_STOP=1 "$@"; }

# bench CLIENTS SCRIPT OPTION…: transactions a second. Prepared statements, as a driver would use them.
bench() {
    pgbench --no-vacuum --protocol=prepared --client="$1" --jobs="$1" --file=<(echo "$2") "${@:3}" 2>"$PGDATA/pgbench.err" |
        awk '/^tps/ { tps = $3 } /failed transactions: [1-9]/ { bad = 1 } END { if (bad || !tps) exit 1; print tps }' ||
        { cat "$PGDATA/pgbench.err" >&2; return 1; }
}

# What an application sends: to put one job, and to take so many from the queue by hand.
insert_into() { echo "INSERT INTO $1 (recipient, subject) VALUES ('someone@example.org', 'Your order');"; }
pop_by_hand() {
    echo "DELETE FROM hand h USING (SELECT ctid FROM hand WHERE state = 'ready' ORDER BY priority, id
          FOR UPDATE SKIP LOCKED LIMIT $1) next WHERE h.ctid = next.ctid RETURNING h.*;"
}

# make_library NAME: what NAME.c and NAME.sql make. Postgres must be able to read the library.
make_library() {
    [ ! -e "$PGDATA/$1.so" ] || return 0
    cc -O2 -shared -fPIC -I"$("$PG_CONFIG" --includedir-server)" -o "$PGDATA/$1.so" "tests/bench/$1.c"
    sql -v library="$PGDATA/$1.so" -f "tests/bench/$1.sql"
}

# Where the next call of what only takes begins, once take_from_first was called.
next_hundred="(SELECT id FROM first_taken) + 100 * nextval('hundred_taken')"

# The tables with and without triggers, and what an application sends to one.
make_orders() {
    [ -n "$(sql -c "SELECT to_regclass('orders_plain')")" ] || sql -f tests/bench/trigger.sql >/dev/null
}
insert_one() { echo "INSERT INTO $1 (email, total) VALUES ('someone@example.org', 12.50);"; }

# commit_to_start TABLE PERCENTILE: ms, of started pings in the order of their ids, each with the commit time of the one
# before it in the same session, if there is one.
commit_to_start() {
    sql -c "SELECT 1000 * percentile_cont($2) WITHIN GROUP (ORDER BY extract(epoch FROM started - committed))
            FROM (SELECT started, lead(last_commit) OVER (ORDER BY id) AS committed FROM $1) s"
}

# full_and_bench QUEUE JOBS CLIENTS SCRIPT TRANSACTIONS: the same, on a queue of so many jobs, so many transactions a client.
full_and_bench() {
    sql -c "CALL fill('$1', $2)" -c "VACUUM ANALYZE $1"
    bench "$3" "$4" --transactions="$5"
}

# without_full_pages COMMAND…: their number depends on when the last checkpoint was, not on the queue.
without_full_pages() {
    sql -c 'ALTER SYSTEM SET full_page_writes = off' -c 'SELECT pg_reload_conf()' -c CHECKPOINT >/dev/null
    "$@"
    sql -c 'ALTER SYSTEM RESET full_page_writes' -c 'SELECT pg_reload_conf()' >/dev/null
}

# Nothing is no number: what was to be measured has failed.
times() { awk -v a="$1" -v b="$2" 'BEGIN { if (b == "") exit 1; print a * b }'; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { print a / b }'; }

median() { printf '%s\n' "$@" | sort -g | sed -n "$((($# + 1) / 2))p"; }

# in_turn FUNCTION…: each measured once a round, in turn. What else the machine does hits all of a round alike.
declare -A rates
in_turn() {
    local round name
    for ((round = 0; round < rounds; round++)); do
        for name in "$@"; do rates[$name,$round]=$($name); done
    done
}

# row LABEL BY_HAND WITH_QUEUE_EXT [TARGET]: two of those that were measured in turn. The ratio is the median of each
# round's own. The target is the least ratio asked for, or a text.
row() {
    local by_hand=() ours=() ratios=() round target=${4:-}
    for ((round = 0; round < rounds; round++)); do
        by_hand[round]=${rates[$2,$round]}
        ours[round]=${rates[$3,$round]}
        ratios[round]=$(ratio "${ours[round]}" "${by_hand[round]}")
    done
    [[ ! $target =~ ^[0-9.]+$ ]] || target="at least $target"
    printf '| %s | %.0f/s | %.0f/s | %.2f | %s |\n' "$1" "$(median "${by_hand[@]}")" "$(median "${ours[@]}")" "$(median "${ratios[@]}")" "$target"
}

# compare LABEL BY_HAND WITH_QUEUE_EXT [TARGET]: both.
compare() { in_turn "$2" "$3" && row "$@"; }

# time_row LABEL BY_HAND WITH_QUEUE_EXT [TARGET]: the ratio of times is turned round, so that above 1 is better everywhere.
time_row() { printf '| %s | %.2f ms | %.2f ms | %.2f | %s |\n' "$1" "$2" "$3" "$(ratio "$2" "$3")" "${4:-}"; }
