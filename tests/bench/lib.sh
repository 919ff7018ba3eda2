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

# full_and_bench QUEUE SCRIPT TRANSACTIONS: the same, on a queue of 100,000 jobs.
full_and_bench() {
    sql -c "CALL fill('$1', 100000)" -c "VACUUM ANALYZE $1"
    bench 1 "$2" --transactions="$3"
}

# Nothing is no number: what was to be measured has failed.
times() { awk -v a="$1" -v b="$2" 'BEGIN { if (b == "") exit 1; print a * b }'; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { print a / b }'; }

median() { printf '%s\n' "$@" | sort -g | sed -n "$((($# + 1) / 2))p"; }

# compare LABEL BY_HAND WITH_QUEUE_EXT: rates, in turn. The ratio is the median of each round's own, since what else
# the machine does hits both of one round alike, but not all rounds.
compare() {
    local by_hand=() ours=() ratios=() i
    for ((i = 0; i < rounds; i++)); do
        by_hand[i]=$($2)
        ours[i]=$($3)
        ratios[i]=$(ratio "${ours[i]}" "${by_hand[i]}")
    done
    printf '| %s | %.0f/s | %.0f/s | %.2f |\n' "$1" "$(median "${by_hand[@]}")" "$(median "${ours[@]}")" "$(median "${ratios[@]}")"
}

# The ratio of times is turned round, so that above 1 is better everywhere.
time_row() { printf '| %s | %.2f ms | %.2f ms | %.2f |\n' "$1" "$2" "$3" "$(ratio "$2" "$3")"; }
