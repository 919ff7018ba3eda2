#!/usr/bin/env bash
# Formatting, and every clippy warning an error: the extension, and the package with its server tests.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cargo fmt --check
cargo clippy --quiet --all-targets --no-default-features --features "$(pg_feature)" -- -D warnings
cargo fmt --check --manifest-path tests/server/Cargo.toml
cargo clippy --quiet --all-targets --manifest-path tests/server/Cargo.toml -- -D warnings
