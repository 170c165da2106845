#!/usr/bin/env bash
# A Weft network on one machine: a central node and two workers as network namespaces, each with an Open
# vSwitch of its own (userspace datapath, no kernel module needed), joined by one underlay bridge.
#
#   deploy/sandbox.sh up        build, start everything, create the demo topology, ping, trace (the default)
#   deploy/sandbox.sh demo      the pings and the trace again
#   deploy/sandbox.sh enter N   a shell on node N (central, worker1, worker2) or VM (vm1, vm2, vm3)
#   deploy/sandbox.sh run N ..  one command there
#   deploy/sandbox.sh status    what runs and where its logs are
#   deploy/sandbox.sh down      stop and remove everything
#
# WEFT_SANDBOX  state folder (default /tmp/weft-sandbox)
# WEFT_IMPL     weft (default), or stock to run Debian's ovn-northd and ovn-controller in its place
# WEFT_ENCAP    geneve (default) or vxlan
# WEFT_BIN      folder with programs that are built already; without it they are built here
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=${WEFT_SANDBOX:-/tmp/weft-sandbox}
impl=${WEFT_IMPL:-weft}
encap=${WEFT_ENCAP:-geneve}
nodes=(central worker1 worker2)
declare -A address=([central]=192.168.60.10 [worker1]=192.168.60.11 [worker2]=192.168.60.12)

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'sandbox: %s\n' "$*" >&2; exit 1; }
netns() { echo "weft-$1"; }

# Runs a command inside a node, with that node's run, log and database folders.
on() {
    local node=$1
    shift
    local dir=$state/$node
    OVS_RUNDIR=$dir OVS_LOGDIR=$dir OVS_DBDIR=$dir OVN_RUNDIR=$dir OVN_LOGDIR=$dir OVN_DBDIR=$dir \
        OVN_NB_DB=unix:$state/central/ovnnb_db.sock OVN_SB_DB=unix:$state/central/ovnsb_db.sock \
        PATH=$bin:$PATH ip netns exec "$(netns "$node")" "$@"
}
nbctl() { on central "$nbctl_program" "$@"; }

choose_programs() {
    bin=${WEFT_BIN:-${CARGO_TARGET_DIR:-$here/target}/release}
    if [ "$impl" = stock ]; then
        northd=ovn-northd controller=ovn-controller nbctl_program=ovn-nbctl trace=ovn-trace
        nb_schema=/usr/share/ovn/ovn-nb.ovsschema sb_schema=/usr/share/ovn/ovn-sb.ovsschema
    else
        northd=$bin/weft-northd controller=$bin/weft-controller nbctl_program=$bin/weft-nbctl trace=$bin/weft-trace
        nb_schema=$here/schemas/northbound.ovsschema sb_schema=$here/schemas/southbound.ovsschema
    fi
}

install_packages() {
    local want=(openvswitch-switch iproute2 iputils-ping tcpdump)
    [ "$impl" = stock ] && want+=(ovn-central ovn-host)
    local missing=()
    for p in "${want[@]}"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} = 0 ] && return
    say "Installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build() {
    if [ "$impl" = stock ] || [ -n "${WEFT_BIN:-}" ]; then return; fi
    say "Building (release; some minutes the first time)"
    (cd "$here" && cargo build --release --locked -p weft-northd -p weft-controller -p weft-cli)
}

wait_for() { # SECONDS WHAT COMMAND...
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >"$state/last" 2>&1; do
        [ $SECONDS -lt $deadline ] || { sed 's/^/    /' "$state/last" >&2; die "gave up waiting for $what"; }
        read -rt 0.1 <> <(:) || true
    done
}

start_node() {
    local node=$1 dir=$state/$1 ns
    ns=$(netns "$node")
    mkdir -p "$dir"
    ip netns add "$ns"
    ip -n "$ns" link set lo up
    ip link add "wu-$node" type veth peer name eth1 netns "$ns"
    ip link set "wu-$node" master weft-underlay up
    ip -n "$ns" link set eth1 up
    ovsdb-tool create "$dir/conf.db" /usr/share/openvswitch/vswitch.ovsschema
    on "$node" ovsdb-server "$dir/conf.db" "--remote=punix:$dir/db.sock" "--unixctl=$dir/ovsdb.ctl" \
        "--pidfile=$dir/ovsdb-server.pid" "--log-file=$dir/ovsdb-server.log" -vconsole:off --detach
    on "$node" ovs-vsctl --no-wait init -- set open . "external-ids:system-id=$node" "external-ids:hostname=$node"
    on "$node" ovs-vswitchd "unix:$dir/db.sock" "--unixctl=$dir/vswitchd.ctl" "--pidfile=$dir/ovs-vswitchd.pid" \
        "--log-file=$dir/ovs-vswitchd.log" -vconsole:off --detach
    # A userspace tunnel's local address has to sit on a bridge of the same Open vSwitch.
    on "$node" ovs-vsctl add-br br-phys -- set bridge br-phys datapath_type=netdev -- add-port br-phys eth1
    ip -n "$ns" addr add "${address[$node]}/24" dev br-phys
    ip -n "$ns" link set br-phys up
}

start_central() {
    local dir=$state/central
    for db in nb sb; do
        local schema=$nb_schema port=6641
        [ $db = sb ] && schema=$sb_schema port=6642
        ovsdb-tool create "$dir/ovn$db.db" "$schema"
        on central ovsdb-server "$dir/ovn$db.db" "--remote=punix:$dir/ovn${db}_db.sock" "--remote=ptcp:$port" \
            "--unixctl=$dir/ovn${db}_db.ctl" "--pidfile=$dir/ovn${db}_db.pid" "--log-file=$dir/ovn$db.log" \
            -vconsole:off --detach
    done
    # Before northd, which makes the same row where it is missing.
    nbctl init
    on central "$northd" "--ovnnb-db=unix:$dir/ovnnb_db.sock" "--ovnsb-db=unix:$dir/ovnsb_db.sock" \
        "--unixctl=$dir/northd.ctl" "--pidfile=$dir/northd.pid" "--log-file=$dir/northd.log" -vconsole:off --detach
}

start_worker() {
    local node=$1 dir=$state/$1
    on "$node" ovs-vsctl set open . "external-ids:ovn-remote=tcp:${address[central]}:6642" \
        "external-ids:ovn-encap-type=$encap" "external-ids:ovn-encap-ip=${address[$node]}" \
        external-ids:ovn-bridge-datapath-type=netdev
    on "$node" "$controller" "unix:$dir/db.sock" "--pidfile=$dir/controller.pid" "--log-file=$dir/controller.log" \
        -vconsole:off --detach
}

start_vm() { # NODE NAME MAC ADDRESS4 GATEWAY4 ADDRESS6 GATEWAY6
    local ns vm
    ns=$(netns "$1") vm=$(netns "$2")
    on "$1" ovs-vsctl add-port br-int "$2" -- set interface "$2" type=internal "external_ids:iface-id=$2"
    wait_for 10 "the device of $2" ip -n "$ns" link show "$2"
    ip netns add "$vm"
    ip -n "$ns" link set "$2" netns "$vm"
    ip -n "$vm" link set lo up
    ip -n "$vm" link set "$2" address "$3" up
    ip -n "$vm" addr add "$4/24" dev "$2"
    ip -n "$vm" -6 addr add "$6/64" dev "$2" nodad
    ip -n "$vm" route add default via "$5"
    ip -n "$vm" -6 route add default via "$7"
}

topology() {
    nbctl ls-add red -- ls-add blue \
        -- lsp-add red vm1 -- lsp-set-addresses vm1 "0a:00:00:00:01:01 10.1.0.11 fd01::11" \
        -- lsp-add red vm2 -- lsp-set-addresses vm2 "0a:00:00:00:01:02 10.1.0.12 fd01::12" \
        -- lsp-add blue vm3 -- lsp-set-addresses vm3 "0a:00:00:00:02:03 10.2.0.13 fd02::13"
    nbctl lr-add router -- lrp-add router router-red 0a:00:00:00:ff:01 10.1.0.1/24 fd01::1/64 \
        -- lrp-add router router-blue 0a:00:00:00:ff:02 10.2.0.1/24 fd02::1/64
    for color in red blue; do
        nbctl lsp-add $color $color-router -- lsp-set-type $color-router router \
            -- lsp-set-addresses $color-router router -- lsp-set-options $color-router router-port=router-$color
    done
    for port in vm1 vm2 vm3; do
        nbctl lsp-set-port-security $port "$(nbctl lsp-get-addresses $port)"
    done
}

ping_from() { # VM ADDRESS WHAT
    say "$3: $1 -> $2"
    ip netns exec "$(netns "$1")" ping -n -c 3 -i 0.2 -W 2 "$2"
}

demo() {
    nbctl show
    ping_from vm1 10.1.0.12 "same switch, across hosts"
    ping_from vm1 10.2.0.13 "through the router, across hosts (the reply's TTL is 63)"
    ping_from vm1 fd01::12 "the same over IPv6"
    ping_from vm1 fd02::13 "routed over IPv6"
    say "Why it works: the trace of a packet from vm1 to vm3"
    on central "$trace" --minimal red 'inport == "vm1" && eth.src == 0a:00:00:00:01:01 && eth.dst == 0a:00:00:00:ff:01 && ip4.src == 10.1.0.11 && ip4.dst == 10.2.0.13 && ip.ttl == 64 && icmp4.type == 8'
}

up() {
    [ "$(id -u)" = 0 ] || die "network namespaces need root: run it with sudo"
    [ ! -d "$state/central" ] || die "a sandbox is up in $state already: '$0 down' removes it, '$0 demo' shows it again"
    install_packages
    build
    trap 'status=$?; [ $status = 0 ] || { echo "sandbox: stopped at an error, logs are in $state; \"$0 down\" cleans up" >&2; }' EXIT
    say "Starting the underlay and ${#nodes[@]} nodes"
    ip link add weft-underlay type bridge
    ip link set weft-underlay up
    for node in "${nodes[@]}"; do start_node "$node"; done
    say "Starting the databases and $(basename "$northd") on central, $(basename "$controller") on the workers"
    start_central
    for node in worker1 worker2; do
        start_worker "$node"
        wait_for 20 "br-int on $node" on "$node" ovs-vsctl br-exists br-int
    done
    topology
    start_vm worker1 vm1 0a:00:00:00:01:01 10.1.0.11 10.1.0.1 fd01::11 fd01::1
    start_vm worker2 vm2 0a:00:00:00:01:02 10.1.0.12 10.1.0.1 fd01::12 fd01::1
    start_vm worker2 vm3 0a:00:00:00:02:03 10.2.0.13 10.2.0.1 fd02::13 fd02::1
    say "Waiting until every host has the flows"
    nbctl --timeout=30 wait-until logical_switch_port vm1 up=true -- wait-until logical_switch_port vm2 up=true \
        -- wait-until logical_switch_port vm3 up=true
    nbctl --timeout=30 --wait=hv sync
    # The first packet to a new tunnel peer is lost while the userspace datapath resolves its neighbour.
    ip netns exec "$(netns vm1)" ping -n -c 1 -W 2 10.1.0.12 >/dev/null 2>&1 || true
    ip netns exec "$(netns vm2)" ping -n -c 1 -W 2 10.1.0.11 >/dev/null 2>&1 || true
    demo
    cat <<END

The sandbox stays up. Nodes: central worker1 worker2; VMs: vm1 (worker1), vm2 and vm3 (worker2).
  $0 enter central      a shell where $(basename "$nbctl_program"), weft-sbctl and weft-trace reach the databases
  $0 enter vm1          a shell inside a VM
  $0 run worker1 ovs-ofctl dump-flows br-int
  $0 status | demo | down
END
}

status() {
    for f in "$state"/*/*.pid; do
        [ -e "$f" ] || die "no sandbox in $state"
        local pid
        pid=$(<"$f")
        printf '%-10s %-16s %s\n' "$(basename "$(dirname "$f")")" "$(basename "$f" .pid)" \
            "$(kill -0 "$pid" 2>/dev/null && echo "pid $pid" || echo stopped)"
    done
    echo "logs: $state/*/*.log"
}

down() {
    for f in "$state"/*/*.pid; do [ -e "$f" ] && kill "$(<"$f")" 2>/dev/null || true; done
    for n in "${nodes[@]}" vm1 vm2 vm3; do ip netns del "$(netns "$n")" 2>/dev/null || true; done
    for n in "${nodes[@]}"; do ip link del "wu-$n" 2>/dev/null || true; done
    ip link del weft-underlay 2>/dev/null || true
    rm -rf "${state:?}"
}

enter() {
    local n=$1
    shift
    case $n in
        vm*) exec ip netns exec "$(netns "$n")" "${@:-bash}" ;;
        central | worker1 | worker2) on "$n" "${@:-bash}" ;;
        *) die "no node or VM '$n': central, worker1, worker2, vm1, vm2, vm3" ;;
    esac
}

choose_programs
case ${1:-up} in
    up) up ;;
    demo) demo ;;
    status) status ;;
    down) down ;;
    enter) [ $# -ge 2 ] || die "enter which node?"; enter "$2" ;;
    run) [ $# -ge 3 ] || die "run what, and where?"; shift; enter "$@" ;;
    *) sed -n '2,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
