#!/usr/bin/env bash
# Builds the extension and installs it into the server that PG_CONFIG names. Quick when nothing changed.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

library=$("$PG_CONFIG" --pkglibdir)/queue_ext.so
stamp=target/installed.$(pg_feature)

# The checksum tells when someone installed another build (a debug one, say) in between.
fingerprint() { { echo "$PG_CONFIG"; cksum "$library"; } 2>/dev/null; }

up_to_date() {
    [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ] &&
        [ -z "$(find src sql Cargo.toml Cargo.lock queue_ext.control -newer "$stamp" -print -quit)" ]
}

up_to_date && exit
say "building queue_ext and installing it into $("$PG_CONFIG" --version)"
sudo_if_needed=()
if [ "$(id -u)" != 0 ]; then
    sudo_if_needed=(--sudo)
    # With --sudo pgrx writes into the old file, under the feet of servers that have it loaded.
    sudo rm -f "$library"
fi
# QUEUE_EXT_PROFILE=dev: quicker to build, slower to run.
profile=${QUEUE_EXT_PROFILE:-release}
started=$(date +@%s.%N)
cargo pgrx install --profile "$profile" --pg-config "$PG_CONFIG" "${sudo_if_needed[@]}" \
    --no-default-features --features "$(pg_feature)"
fingerprint >"$stamp"
# What was edited while the build ran is newer than this, and so is built the next time.
touch -d "$started" "$stamp"
say "installed. For a server of yours: shared_preload_libraries = 'queue_ext', restart it, and in your database CREATE EXTENSION queue_ext"
