#!/usr/bin/env bash
# The README does what it says: its SQL runs, in order, in one session on a throwaway server.
#
# A block ```sql must run without an error, a block ```sql error must raise one. A block ```text after it is
# compared with what psql prints. Each block is a test; so is that every function and setting is named.
set -euo pipefail
source "$(dirname "$0")/setup/cluster.sh"

unset RUST_BACKTRACE
cluster_start preload
psql -qc 'CREATE DATABASE readme'
export PGDATABASE=readme

work=$PGDATA/readme
mkdir "$work"
passed=0
failed=0

ok() { passed=$((passed + 1)); }
not_ok() { failed=$((failed + 1)); printf 'FAILED: %s\n' "$*"; }

# Writes N.sql or N.error for each block of SQL, and N.text if it says what comes out. N is the block's line.
extract() {
    awk -v work="$work" '
        !inside && /^```(sql|sql error|text)$/ {
            inside = 1
            if ($0 == "```text") { file = after ? work "/" after ".text" : "/dev/null"; after = "" }
            else { after = NR; file = work "/" NR ($0 == "```sql" ? ".sql" : ".error") }
            printf "" >file
            next
        }
        inside && /^```$/ { inside = 0; close(file); next }
        inside { print >file; next }
        NF { after = "" }' README.md
}

blocks() { (cd "$work" && ls -- *.sql *.error | sort -n); }

# One script of all blocks, each between two marks. A test machine is busier than a reader: sleeps are longer.
script() {
    local block
    for block in $(blocks); do
        echo "\\echo @begin $block"
        [ "${block#*.}" = sql ] || echo '\set ON_ERROR_STOP 0'
        sed -E 's/pg_sleep\(([0-9]+)\)/pg_sleep(3 * \1)/' "$work/$block"
        [ "${block#*.}" = sql ] || printf '%s\n' '\if :ERROR' '\else' '\echo @no error' '\endif' '\set ON_ERROR_STOP 1'
        echo "\\echo @end $block"
    done
}

# What came out of a block, and whether it came to its end.
output_of() { sed -n "/^@begin $1\$/,/^@end $1\$/p" "$work/output" | sed '/^@\(begin\|end\) /d'; }
ended() { grep -q "^@end $1\$" "$work/output"; }

# Neither blanks at the end of a line nor empty lines matter, nor how far psql stretches a column.
normal() { sed -E -e 's/-+/-/g' -e 's/ +/ /g' -e 's/ $//' -e '/^$/d' -e 's/^ //' "$@"; }

check_block() {
    local block=$1 text=$work/${1%.*}.text
    if ! ended "$block"; then
        not_ok "README.md line ${block%.*}: an error, or never reached"
        output_of "$block"
    elif [ "${block#*.}" = error ] && output_of "$block" | grep -q '^@no error$'; then
        not_ok "README.md line ${block%.*}: should raise an error"
    elif [ -e "$text" ] && ! diff <(normal "$text") <(output_of "$block" | normal); then
        not_ok "README.md line ${block%.*}: prints something else (<: the README, >: psql)"
    else
        ok
    fi
}

# check_named WHAT QUERY: each name the query lists stands in the README.
check_named() {
    local name
    for name in $(psql -qAtc "$2"); do
        if grep -qwF -- "$name" README.md; then ok; else not_ok "$1 $name is not in README.md"; fi
    done
}

extract
# Line by line, so that errors stand where they happened.
script | stdbuf -oL psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 >"$work/output" 2>&1 || true
for block in $(blocks); do check_block "$block"; done
check_named function "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'queue'::regnamespace"
check_named argument "SELECT DISTINCT unnest(proargnames[1:pronargs]) FROM pg_proc WHERE pronamespace = 'queue'::regnamespace"
check_named column "SELECT DISTINCT attname FROM pg_attribute WHERE attnum > 0
                    AND attrelid IN ('queue.overview'::regclass, 'queue.activity'::regclass, 'queue.errors'::regclass, 'queue.job'::regclass,
                                     'queue.queue_options'::regclass, 'queue.registered_processors'::regclass, 'queue.attached_tables'::regclass)"
check_named setting "SELECT name FROM pg_settings WHERE name LIKE 'queue_ext.%'"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
