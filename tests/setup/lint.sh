#!/usr/bin/env bash
# Formatting, and every clippy warning an error: the extension, and the packages with its tests.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cargo fmt --all --check
cargo clippy --quiet --all-targets --no-default-features --features "$(pg_feature)" -- -D warnings
cargo clippy --quiet --all-targets -p queue_ext_server_tests -p queue_ext_unit_tests -- -D warnings
