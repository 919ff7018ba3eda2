# What the measurements share. Each of them is a pair of functions that print one number: by hand, and with queue_ext.
shopt -s inherit_errexit

rounds=3
seconds=2

sql() { psql --no-psqlrc -qAt -v ON_ERROR_STOP=1 "$@"; }

# bench CLIENTS SCRIPT OPTION…: transactions a second. Prepared statements, as a driver would use them.
bench() {
    pgbench --no-vacuum --protocol=prepared --client="$1" --jobs="$1" --file=<(echo "$2") "${@:3}" 2>"$PGDATA/pgbench.err" |
        awk '/^tps/ { tps = $3 } /failed transactions: [1-9]/ { bad = 1 } END { if (bad || !tps) exit 1; print tps }' ||
        { cat "$PGDATA/pgbench.err" >&2; return 1; }
}

# Nothing is no number: what was to be measured has failed.
times() { awk -v a="$1" -v b="$2" 'BEGIN { if (b == "") exit 1; print a * b }'; }

median() { printf '%s\n' "$@" | sort -g | sed -n "$((($# + 1) / 2))p"; }

# compare LABEL BY_HAND WITH_QUEUE_EXT: rates, in turn so that the noise of the machine hits both alike.
compare() {
    local by_hand=() ours=() value i
    for ((i = 0; i < rounds; i++)); do
        value=$($2)
        by_hand+=("$value")
        value=$($3)
        ours+=("$value")
    done
    rate_row "$1" "$(median "${by_hand[@]}")" "$(median "${ours[@]}")"
}

rate_row() { awk -v l="$1" -v h="$2" -v o="$3" 'BEGIN { printf "| %s | %.0f/s | %.0f/s | %.2f |\n", l, h, o, o / h }'; }

# The ratio of times is turned round, so that above 1 is better everywhere.
time_row() { awk -v l="$1" -v h="$2" -v o="$3" 'BEGIN { printf "| %s | %.2f ms | %.2f ms | %.2f |\n", l, h, o, h / o }'; }
