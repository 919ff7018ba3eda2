#!/usr/bin/env bash
# Sessions against each other: specs/*.spec on a throwaway server, compared with expected/*.out.
#
#   run.sh preload|nopreload [spec…]      all, or those named
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/cluster.sh"

# pgrx would add a stack trace to each error's detail.
unset RUST_BACKTRACE
mode=${1:?preload or nopreload}
shift
# No workers: they would look after what is due beside the sessions.
cluster_start "$mode" max_prepared_transactions=10 queue_ext.databases=
output=$here/output/$mode
mkdir -p "$output"
tests=(--schedule="$here/schedule")
[ $# = 0 ] || tests=("$@")
pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")
status=0
"$pgxs/../../src/test/isolation/pg_isolation_regress" --inputdir="$here" --outputdir="$output" --dbname=queue_ext_isolation \
    --bindir="$("$PG_CONFIG" --bindir)" --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" \
    --encoding=UTF8 --no-locale --load-extension=queue_ext "${tests[@]}" 2>&1 | tee "$output/log" || status=$?
if [ $status != 0 ] && [ -f "$output/regression.diffs" ]; then cat "$output/regression.diffs"; fi
# Up to Postgres 15 "test … ok", from 16 on "ok 1 …".
passed=$(grep -cE '^(test .* ok|ok .*) +[0-9]+ ms$' "$output/log" || true)
failed=$(grep -cE '^(test .* FAILED|not ok )' "$output/log" || true)
echo "$passed passed, $failed failed"
exit $status
