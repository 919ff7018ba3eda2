#!/usr/bin/env bash
# Every test, suite after suite; the last line is the sum. A suite that fails does not keep the next from running,
# and what tells why is repeated before the sum.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

passed=0
failed=0
output=$(mktemp)
failures=$(mktemp)
trap 'rm -f "$output" "$failures"' EXIT

# How many passed and failed, out of what a suite printed: its own last line "N passed, N failed", or
# else the lines of cargo test, or else the suite counts as one test by its exit status.
counts() {
    local status=$1
    awk -v status="$status" '
        /^[0-9]+ passed, [0-9]+ failed$/ { own = 1; own_passed = $1; own_failed = $3 }
        /^test result:/ { seen = 1; passed += $4; failed += $6 }
        END {
            if (own) { passed = own_passed; failed = own_failed }
            if (!own && !seen && !status) passed = 1
            if (status && !failed) failed = 1
            print passed + 0, failed + 0
        }' "$output"
}

# The name goes before a suite's own sum, so that only the total stands alone on a line.
named_sum() { sed -u -E "s/^[0-9]+ passed, [0-9]+ failed$/$1: &/"; }

# suite NAME COMMAND…
suite() {
    local name=$1 status=0 count
    shift
    say "$name"
    "$@" 2>&1 | tee "$output" | named_sum "$name" || status=$?
    read -ra count < <(counts "$status")
    passed=$((passed + count[0]))
    failed=$((failed + count[1]))
    if [ "$status" != 0 ]; then
        { tail -n 100 "$output" | named_sum "$name"; grep -E '(^not ok|FAILED|panicked)' "$output"; } >>"$failures" || true
    fi
    return "$status"
}

suites() {
    # Without these nothing else can run.
    suite setup tests/setup/deps.sh || return 0
    suite install tests/setup/install.sh || return 0
    suite lint tests/setup/lint.sh || true
    suite unit tests/setup/unit.sh || true
    for mode in preload nopreload; do
        suite "regress $mode" tests/regress/run.sh "$mode" || true
        suite "isolation $mode" tests/isolation/run.sh "$mode" || true
    done
    suite server tests/server/run.sh || true
    if [ -e tests/readme.sh ]; then suite readme tests/readme.sh || true; fi
}

suites
cat "$failures"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
