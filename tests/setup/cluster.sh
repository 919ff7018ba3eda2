#!/usr/bin/env bash
# A private throwaway server: in a temporary directory, on a unix socket only, trusting everyone who can reach it.
#
#   cluster.sh run preload|nopreload [name=value…] -- command…   runs the command beside it, then removes it
#   cluster.sh start preload|nopreload [name=value…]             prints what to eval: export PGHOST=… PGPORT=… PGDATA=…
#   cluster.sh stop DIRECTORY                                    stops and removes what start made (its PGDATA)
#   source cluster.sh; cluster_start preload [name=value…]       for a script of its own: removed when it exits
#
# name=value are settings of the server. The server's log is $PGDATA/log; its last lines are shown after a failure.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# cluster_create preload|nopreload [name=value…]: makes and starts it; sets PGHOST, PGPORT, PGUSER, PGDATA.
cluster_create() {
    local preload=$1 setting
    shift
    PGDATA=$(mktemp -d /tmp/queue_ext.XXXXXX)
    export PGDATA PGHOST=$PGDATA PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
    if [ "$(id -u)" = 0 ]; then chown postgres: "$PGDATA"; fi
    cluster_do initdb --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$PGHOST'"
        echo "max_worker_processes = 32"
        case $preload in
            preload) echo "shared_preload_libraries = 'queue_ext'" ;;
            nopreload) ;;
            *) die "preload or nopreload, not '$preload'" ;;
        esac
        for setting in "$@"; do
            echo "${setting%%=*} = '$(printf %s "${setting#*=}" | sed "s/'/''/g")'"
        done
    } >>"$PGDATA/postgresql.conf"
    cluster_do pg_ctl start --silent --wait --log="$PGDATA/log"
}

# In its own directory, because the user postgres may not be able to read ours.
cluster_do() { (cd "$PGDATA" && as_postgres env PGDATA="$PGDATA" "$(command -v "$1")" "${@:2}"); }

cluster_log() { tail -n 30 "$PGDATA/log" | sed 's/^/server log: /' >&2; }

cluster_remove() {
    cluster_do pg_ctl stop --silent --mode=immediate >/dev/null 2>&1 || true
    rm -rf "$PGDATA"
}

cluster_start() {
    trap cluster_end EXIT
    cluster_create "$@"
}

cluster_end() {
    local status=$?
    [ -d "${PGDATA:-}" ] || return 0
    [ $status = 0 ] || cluster_log
    cluster_remove
}

main() {
    local action=${1:-} arguments=()
    shift || true
    case $action in
        run)
            while [ $# -gt 0 ] && [ "$1" != -- ]; do arguments+=("$1"); shift; done
            [ $# -gt 1 ] || die "which command? See the head of $0"
            shift
            cluster_start "${arguments[@]}"
            "$@"
            ;;
        start)
            cluster_create "$@" || { cluster_log; cluster_remove; exit 1; }
            echo "export PGHOST=$PGHOST PGPORT=$PGPORT PGUSER=$PGUSER PGDATABASE=$PGDATABASE PGDATA=$PGDATA"
            ;;
        stop)
            # Only what start made: this removes a directory.
            [[ ${1:-} == /tmp/queue_ext.* && -f $1/PG_VERSION ]] || die "no cluster of ours: '${1:-}'"
            PGDATA=$1
            cluster_remove
            ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then main "$@"; fi
