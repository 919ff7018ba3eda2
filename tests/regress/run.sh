#!/usr/bin/env bash
# The SQL contract: sql/*.sql against a throwaway server, compared with expected/*.out.
#
#   run.sh preload|nopreload [test…]      all tests, or setup and those named
#   run.sh running [test…]                against the server that PGHOST and PGPORT name
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/cluster.sh"

# pgrx would add a stack trace to each error's detail.
unset RUST_BACKTRACE
mode=${1:?preload, nopreload or running}
shift
[ "$mode" = running ] || cluster_start "$mode"
output=$here/output/$mode
mkdir -p "$output"
tests=(--schedule="$here/schedule")
[ $# = 0 ] || tests=(setup "$@")
pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")
status=0
"$pgxs/../../src/test/regress/pg_regress" --inputdir="$here" --outputdir="$output" --dbname=queue_ext_regress \
    --bindir="$("$PG_CONFIG" --bindir)" --host="$PGHOST" --port="${PGPORT:-5432}" --user="${PGUSER:-postgres}" \
    --encoding=UTF8 --no-locale "${tests[@]}" 2>&1 | tee "$output/log" || status=$?
if [ $status != 0 ] && [ -f "$output/regression.diffs" ]; then cat "$output/regression.diffs"; fi
# Up to Postgres 15 "test … ok", from 16 on "ok 1 …".
passed=$(grep -cE '^(test .* ok|ok .*) +[0-9]+ ms$' "$output/log" || true)
failed=$(grep -cE '^(test .* FAILED|not ok )' "$output/log" || true)
echo "$passed passed, $failed failed"
exit $status
