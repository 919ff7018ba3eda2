# What the scripts share. Source it: it moves to the root of the repository and says which Postgres is meant.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Postgres refuses to run as root, so for root the server belongs to the user postgres.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# wait_until SECONDS COMMAND…: true as soon as the command is, false when the time is over.
wait_until() {
    local tries=$(($1 * 10))
    shift
    until "$@"; do
        [ $((tries--)) -gt 0 ] || return 1
        sleep 0.1
    done
}

default_pg_config=/usr/bin/pg_config
export PG_CONFIG=${PG_CONFIG:-$default_pg_config}

# pg15 for a PostgreSQL 15: the name of the cargo feature and of the pgrx configuration.
pg_feature() { "$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/pg\1/'; }

# psql, pgbench and the rest must be of the same version as the server under test.
if [ -x "$PG_CONFIG" ]; then PATH=$("$PG_CONFIG" --bindir):$PATH; fi
