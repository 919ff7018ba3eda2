#!/usr/bin/env bash
# The unit tests: pure code, no server.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cargo test --lib --no-default-features --features "$(pg_feature)"
