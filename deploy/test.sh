#!/usr/bin/env bash
# Every test of the project, with what they need installed first: formatting, lints, unit and property tests,
# tests against real ovsdb-server and Open vSwitch, scenarios in network namespaces, comparison with stock OVN.
# Needs root (namespaces, packages). The last lines are the test runner's own summary.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

want=(openvswitch-switch ovn-central ovn-host ovn-common iproute2 iputils-ping tcpdump openssl socat bind9-dnsutils ndisc6 isc-dhcp-client isc-dhcp-server)
missing=()
for p in "${want[@]}"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
if [ ${#missing[@]} != 0 ]; then
    say "Installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

say "Formatting"
cargo fmt --all --check
say "Lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
say "Building the programs"
cargo build --locked -p weft-northd -p weft-controller -p weft-cli
say "Tests"
if cargo nextest --version >/dev/null 2>&1; then
    cargo test --workspace --locked --doc --quiet # nextest runs none
    exec cargo nextest run --workspace --locked --no-fail-fast
fi
exec cargo test --workspace --locked --no-fail-fast
