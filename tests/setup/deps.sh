#!/usr/bin/env bash
# Installs what is missing to build and test. Quick and silent when all is there.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

pgrx_version=0.18.1
packages=(gcc libc6-dev procps libclang-14-dev clang-14 pkg-config libssl-dev sudo pgbouncer)
# A PG_CONFIG of one's own brings its own server.
if [ "$PG_CONFIG" = "$default_pg_config" ]; then packages+=(postgresql-15 postgresql-server-dev-15); fi

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "please install: ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
}

check_rust() {
    command -v cargo >/dev/null || die "cargo is not on the PATH: install Rust first (see rust-version in Cargo.toml)"
    cargo fmt --version >/dev/null 2>&1 || die "rustfmt is missing: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || die "clippy is missing: rustup component add clippy"
}

install_pgrx() {
    [ "$(cargo pgrx --version 2>/dev/null)" = "cargo-pgrx $pgrx_version" ] && return
    say "installing cargo-pgrx $pgrx_version (takes some minutes, once)"
    cargo install --locked cargo-pgrx --version "$pgrx_version"
}

# pgrx refuses to build before it has been told where the server is.
configure_pgrx() {
    local feature
    feature=$(pg_feature)
    grep -q "^$feature = \"$PG_CONFIG\"" "${PGRX_HOME:-$HOME/.pgrx}/config.toml" 2>/dev/null && return
    say "telling pgrx about $("$PG_CONFIG" --version) ($PG_CONFIG)"
    cargo pgrx init "--$feature" "$PG_CONFIG"
}

check_rust
install_packages
[ -x "$PG_CONFIG" ] || die "PG_CONFIG=$PG_CONFIG is not there"
install_pgrx
configure_pgrx
