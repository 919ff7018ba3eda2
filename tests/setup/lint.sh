#!/usr/bin/env bash
# Formatting, and every clippy warning an error.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cargo fmt --check
cargo clippy --quiet --all-targets --no-default-features --features "$(pg_feature)" -- -D warnings
