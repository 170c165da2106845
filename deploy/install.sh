#!/usr/bin/env bash
# Installs a release build: programs, schemas, units. DESTDIR and PREFIX as usual; --ovn-names adds the
# ovn- symlinks, under which the programs are drop-in replacements of OVN's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dest=${DESTDIR:-} prefix=${PREFIX:-/usr} ovn_names=no
case ${1:-} in
    --ovn-names) ovn_names=yes ;;
    "") ;;
    *) echo "usage: [DESTDIR=D] [PREFIX=P] $0 [--ovn-names]" >&2; exit 2 ;;
esac
(cd "$here" && cargo build --release --locked -p weft-northd -p weft-controller -p weft-cli)
for program in northd controller nbctl sbctl trace; do
    install -D -m 755 "${CARGO_TARGET_DIR:-$here/target}/release/weft-$program" "$dest$prefix/bin/weft-$program"
    [ $ovn_names = no ] || ln -sf "weft-$program" "$dest$prefix/bin/ovn-$program"
done
for schema in northbound southbound; do
    install -D -m 644 "$here/schemas/$schema.ovsschema" "$dest$prefix/share/weft/$schema.ovsschema"
done
install -D -m 755 "$here/deploy/systemd/prepare-database" "$dest$prefix/share/weft/prepare-database"
for db in nb sb; do
    install -D -m 644 "$here/deploy/systemd/database-$db.env" "$dest$prefix/share/weft/database-$db.env"
done
for unit in "$here"/deploy/systemd/*.service; do
    install -D -m 644 "$unit" "$dest/lib/systemd/system/$(basename "$unit")"
done
echo "installed under ${dest:-/}; 'systemctl daemon-reload' makes the units known"
