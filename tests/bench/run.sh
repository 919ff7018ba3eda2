#!/usr/bin/env bash
# One table of ratios: queue_ext beside a queue as one would write it by hand (schema.sql), on a private server.
#
#   run.sh [tests/bench/3_pop.sh…]      all measurements, or those named
set -euo pipefail
source "$(dirname "$0")/../setup/cluster.sh"
source tests/bench/lib.sh

# No checkpoint in the middle of a round, and room for all that is measured: 5,000,000 jobs take 750 MB. Else as
# Postgres comes, so every commit waits for the disk.
cluster_start preload shared_buffers=1GB max_wal_size=8GB checkpoint_timeout=30min
psql -qc 'CREATE DATABASE bench'
export PGDATABASE=bench
sql -f tests/bench/schema.sql -f tests/bench/bounds.sql >/dev/null

model=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
cat <<END
$("$PG_CONFIG" --version), synchronous_commit=$(sql -c 'SHOW synchronous_commit'), fsync=$(sql -c 'SHOW fsync'); $(nproc) cores (${model:-unknown}); medians of $rounds rounds in turn.
Ratio: above 1, queue_ext is the better one (median of the ratios of the rounds).

| measurement | hand-written | queue_ext | ratio | target |
|---|---|---|---|---|
END
if [ $# = 0 ]; then
    mapfile -t all < <(printf '%s\n' tests/bench/[0-9]*.sh | sort --version-sort)
    set -- "${all[@]}"
fi
for measurement in "$@"; do
    began=$SECONDS
    # shellcheck source=/dev/null
    source "$measurement"
    say "$measurement took $((SECONDS - began)) s"
done
