# What a person at the terminal sees while the load runs: one line a second out of queue.overview and queue.activity.
processed_before=0

watch_line() {
    local processed line
    IFS='|' read -r processed line < <(psql --no-psqlrc -qAt -U shop -f tests/demo/watch.sql)
    printf '%s  done %6d (%+6d)  %s\n' "$(date +%T)" "$processed" $((processed - processed_before)) "$line"
    processed_before=$processed
}

watch_while() {
    while kill -0 "$1" 2>/dev/null; do
        watch_line
        sleep 1
    done
}

# Nothing left but error rows. A minute is far more than it takes.
drained() { [ "$(psql -qAt -U shop -c "SELECT NOT EXISTS (SELECT FROM history_work WHERE state <> 'failed')")" = t ]; }
wait_drained() { wait_until 60 drained || die "the queue did not drain within a minute"; }
