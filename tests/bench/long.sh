#!/usr/bin/env bash
# A snapshot is held open all the time, so that no dead row is ever removed, while 2,000 jobs a second are put, one a
# transaction, and consumed: is the end as good as the beginning? First the queue by hand, for a minute; then queue_ext,
# for QUEUE_EXT_LONG_SECONDS (600). On a private server.
set -euo pipefail
source "$(dirname "$0")/../setup/cluster.sh"
source tests/bench/lib.sh

rate=2000
long=${QUEUE_EXT_LONG_SECONDS:-600}
short=$((long < 60 ? long : 60))

cluster_start preload shared_buffers=512MB max_wal_size=8GB checkpoint_timeout=30min
psql -qc 'CREATE DATABASE bench'
export PGDATABASE=bench
sql -f tests/bench/schema.sql -f tests/bench/long.sql >/dev/null

hold_snapshot() { PGAPPNAME=holder sql -c 'BEGIN ISOLATION LEVEL REPEATABLE READ' -c 'SELECT count(*) FROM steady' -c "SELECT pg_sleep(86400)" >/dev/null 2>&1; }
is_held() { [ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder' AND backend_xmin IS NOT NULL AND query LIKE '%pg_sleep%'")" = 1 ]; }
release_snapshot() { sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'" >/dev/null; }
# Many clients, since each waits for the disk.
put() { bench 16 "INSERT INTO $1 (sent) VALUES (clock_timestamp());" --rate="$rate" --time="$2" >/dev/null; }
none_left() { [ "$(sql -c "SELECT count(*) FROM steady")" = 0 ]; }

# report LABEL LOG SECONDS [TARGETS]: the first 30 s beside the last 30 s (a quarter of a short run).
report() {
    local window=$(($3 < 120 ? $3 / 4 : 30)) first_rate last_rate first_median last_median
    IFS='|' read -r first_rate last_rate first_median last_median < <(sql -c "SELECT * FROM compare_ends('$2', $3, $window)")
    printf '| %s: consumed, first and last %s s of %s | %.0f/s | %.0f/s | %.3f | %s |\n' "$1" "$window" "$3" \
        "$first_rate" "$last_rate" "$(ratio "$last_rate" "$first_rate")" "${4:-}"
    printf '| %s: commit to start, median | %.2f ms | %.2f ms | %.2f | %s |\n' "$1" \
        "$first_median" "$last_median" "$(ratio "$last_median" "$first_median")" "${5:-}"
}

cat <<END
$("$PG_CONFIG" --version), synchronous_commit=$(sql -c 'SHOW synchronous_commit'); $(nproc) cores; $rate jobs a second, each put by a transaction of its own, while a REPEATABLE READ snapshot is held.

| measurement | first | last | last / first | target |
|---|---|---|---|---|
END

hold_snapshot &
holder=$!
wait_until 10 is_held || die "the snapshot is not held"
sql -c "CALL consume_by_hand($short)" &
consumer=$!
put hand_steady "$short"
wait "$consumer"
report "by hand" started_hand "$short"
release_snapshot
wait "$holder" || true
sql -c 'DROP TABLE hand_steady'

hold_snapshot &
holder=$!
wait_until 10 is_held || die "the snapshot is not held"
sql -c "SELECT queue.register_processor('steady', 'note(steady)')" >/dev/null
# The worker's own start is not what is measured.
sql -c 'INSERT INTO steady (sent) VALUES (clock_timestamp())'
wait_until 10 none_left || die "no worker started"
sql -c 'TRUNCATE started_ours'
put steady "$long"
is_held || die "the snapshot was not held to the end"
wait_until 60 none_left || die "jobs are left"
report "queue_ext" started_ours "$long" "at least 0.98" "at most 1.2"
sql -c "SELECT 'minute ' || minute || ': ' || jobs || ' jobs, median ' || round(median, 2) || ' ms' FROM by_minute('started_ours')" >&2
release_snapshot
wait "$holder" || true
