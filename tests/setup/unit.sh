#!/usr/bin/env bash
# The unit tests: pure code, no server. They stand in src/, in the modules they test.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cargo test -p queue_ext_unit_tests
