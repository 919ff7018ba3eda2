#!/usr/bin/env bash
# Integration tests through real clients; each test has servers of its own.
#
#   run.sh [cargo test arguments: a name, -- --nocapture…]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/lib.sh"

# One initdb for all: each test copies it.
template=$(mktemp -d /tmp/queue_ext_template.XXXXXX)
trap 'rm -rf "$template"' EXIT
if [ "$(id -u)" = 0 ]; then chown postgres: "$template"; fi
(cd "$template" && as_postgres "$("$PG_CONFIG" --bindir)/initdb" --no-sync --auth=trust --username=postgres \
    --encoding=UTF8 --locale=C.UTF-8 -D "$template" >/dev/null)
export QUEUE_EXT_TEMPLATE=$template
threads=()
[[ " $* " == *" --test-threads"* ]] || { [[ " $* " == *" -- "* ]] && threads=(--test-threads=2) || threads=(-- --test-threads=2); }
cargo test --quiet --manifest-path "$here/Cargo.toml" --package queue_ext_server_tests "$@" "${threads[@]}"
