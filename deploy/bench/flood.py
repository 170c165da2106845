#!/usr/bin/env python3
"""A host that is flooded with packets for its controller while ports come and go, stock and ours in turn, in one run.

  flood.py --impl 'stock=ovn-controller {ovs} --log-file={dir}/c.log -vconsole:off' \\
      --impl 'weft=weft-controller {ovs} --log-file={dir}/c.log -vconsole:off --grpc none'

Everything is started anew for each run, in a network namespace (root is needed): databases, --northd, ovs-vswitchd with a
userspace datapath, the controller. A machine on a switch with a router, names and multicast snooping then sends --rate packets a
second for --seconds: packets to neighbours that nobody knows, questions for names, reports of multicast groups, ARP requests
from ever other senders. Meanwhile ports are bound and released one after the other; the time is that from the rows in the
northbound and Open vSwitch until `ovn-installed`. Before it the same without the flood.
"""
import argparse
import json
import multiprocessing
import os
import re
import shlex
import shutil
import socket
import statistics as S
import struct
import subprocess as P
import sys
import tempfile
import time

from common import Rpc, end, server, stat, wait_sb

MAC, ROUTER = bytes.fromhex("0a0000000001"), bytes.fromhex("0a00000000fe")
VARIANTS = 4096
BURST_MS = 2


def sum16(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(proto, dst, payload, ttl=64, options=b""):
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload), 0, 0, ttl, proto, 0, bytes([10, 0, 0, 1]), dst) + options
    return head[:10] + struct.pack("!H", sum16(head)) + head[12:] + payload


def udp(sport, dport, payload):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def neighbour(n):
    return ROUTER + MAC + b"\x08\x00" + ip4(17, bytes([10, 1, 16 + (n >> 8), n & 255]), udp(4000, 4000, b"x" * 18))


def name(n):
    label = b"vm%d" % (n % 8) if n % 2 else b"no%d" % n
    query = struct.pack("!HHHHHH", n, 0x0100, 1, 0, 0, 0) + bytes([len(label)]) + label + b"\x03org\0" + struct.pack("!HH", 1, 1)
    return ROUTER + MAC + b"\x08\x00" + ip4(17, bytes([10, 0, 0, 254]), udp(5000, 53, query))


def report(n):
    group = bytes([239, 1, n >> 8, n & 255])
    igmp = b"\x16\0\0\0" + group
    igmp = igmp[:2] + struct.pack("!H", sum16(igmp)) + igmp[4:]
    return b"\x01\x00\x5e" + bytes([group[1] & 0x7F, *group[2:]]) + MAC + b"\x08\x00" + ip4(2, group, igmp, 1, b"\x94\x04\0\0")


def question(n):
    sender = bytes([10, 0, 16 + (n >> 8), n & 255])
    return b"\xff" * 6 + MAC + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + MAC + sender + b"\0" * 6 + bytes([10, 0, 0, 254])


KINDS = {"neighbours": neighbour, "names": name, "groups": report, "arp": question}


def flood(device, kinds, rate, stop, sent):
    """Sends until told to stop, in short bursts, so that the rate is kept and no more."""
    packets = [KINDS[kind](n) for n in range(VARIANTS) for kind in kinds]
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((device, 0))
    start, done = time.monotonic(), 0
    while not stop.is_set():
        due = int((time.monotonic() - start) * rate)
        for n in range(done, due):
            try:
                out.send(packets[n % len(packets)])
            except OSError:
                pass  # No room: it was sent all the same.
        done = max(done, due)
        sent.value = done
        time.sleep(BURST_MS / 1000)


class Run:
    def __init__(self, command, a):
        self.a, self.dir, self.processes = a, tempfile.mkdtemp(prefix="flood"), []
        self.env = dict(os.environ, OVN_RUNDIR=self.dir, OVS_RUNDIR=self.dir, OVN_LOGDIR=self.dir, OVS_LOGDIR=self.dir)
        d = self.dir
        for n in ("nb", "sb"):
            P.check_call(["ovsdb-tool", "create", f"{d}/{n}.db", f"{a.schema_dir}/ovn-{n}.ovsschema"])
        P.check_call(["ovsdb-tool", "create", f"{d}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema"])
        socks = {}
        for n, db in (("nb", "nb.db"), ("sb", "sb.db"), ("db", "conf.db")):
            process, socks[n] = server(d, n, f"{d}/{db}")
            self.processes.append(process)
        self.nb, self.sb, self.vs = Rpc(socks["nb"], "OVN_Northbound"), Rpc(socks["sb"], "OVN_Southbound"), Rpc(socks["db"], "Open_vSwitch")
        self.vsctl = ["ovs-vsctl", f"--db=unix:{socks['db']}"]
        self.nbctl = ["ovn-nbctl", f"--db=unix:{socks['nb']}"]
        self.start(["ovn-northd" if not a.northd else a.northd, f"--ovnnb-db=unix:{socks['nb']}", f"--ovnsb-db=unix:{socks['sb']}", f"--unixctl={d}/n.ctl", f"--log-file={d}/n.log", "-vconsole:off"])
        P.check_call([*self.vsctl, "--no-wait", "init"], env=self.env)
        self.switch = self.start([a.ovs, f"unix:{socks['db']}", f"--unixctl={d}/v.ctl", f"--log-file={d}/v.log", "-vconsole:off"])
        P.check_call([*self.vsctl, "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev", "fail_mode=secure",
                      "--", "add-port", "br-int", "p1", "--", "set", "interface", "p1", "type=internal", "external_ids:iface-id=p1",
                      "--", "set", "open", ".", "external-ids:system-id=h1", "external-ids:hostname=h1", f"external-ids:ovn-remote=unix:{socks['sb']}",
                      "external-ids:ovn-encap-type=geneve", "external-ids:ovn-encap-ip=127.0.0.1"], env=self.env)
        P.check_call("ip link set p1 addrgenmode none address 0a:00:00:00:00:01 up", shell=True)
        self.network()
        self.controller = self.start(shlex.split(command.format(ovs=f"unix:{socks['db']}", sb="unix:" + socks["sb"], dir=d)))
        self.until_up()

    def start(self, argv):
        log = open(f"{self.dir}/{os.path.basename(argv[0])}.out", "w")
        self.processes.append(P.Popen(argv, env=self.env, stdout=log, stderr=P.STDOUT))
        return self.processes[-1]

    def network(self):
        records = " ".join(f'"vm{n}.org"="10.0.0.{n + 10}"' for n in range(8)).replace('" "', '","')
        P.check_call([*self.nbctl, "ls-add", "s", "--", "set", "logical_switch", "s", "other_config:mcast_snoop=true", "other_config:mcast_querier=false",
                      "--", "lr-add", "r", "--", "lrp-add", "r", "r-s", "0a:00:00:00:00:fe", "10.0.0.254/16", "--", "lsp-add", "s", "s-r",
                      "--", "lsp-set-type", "s-r", "router", "--", "lsp-set-addresses", "s-r", "router", "--", "lsp-set-options", "s-r", "router-port=r-s",
                      "--", "ls-add", "t", "--", "lrp-add", "r", "r-t", "0a:00:00:00:01:fe", "10.1.0.254/16", "--", "lsp-add", "t", "t-r",
                      "--", "lsp-set-type", "t-r", "router", "--", "lsp-set-addresses", "t-r", "router", "--", "lsp-set-options", "t-r", "router-port=r-t",
                      "--", "lsp-add", "s", "p1", "--", "lsp-set-addresses", "p1", "0a:00:00:00:00:01 10.0.0.1",
                      "--", "--id=@d", "create", "dns", "records={" + records + "}", "--", "add", "logical_switch", "s", "dns_records", "@d"], env=self.env)

    def until_up(self):
        """Until the controller has said twice that all flows are in."""
        for _ in range(2):
            self.nb.call({"op": "mutate", "table": "NB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]})
            want = self.nb.call({"op": "select", "table": "NB_Global", "where": [], "columns": ["nb_cfg"]})[0]["rows"][0]["nb_cfg"]
            end = time.time() + 60
            while True:
                rows = self.sb.call({"op": "select", "table": "Chassis_Private", "where": [], "columns": ["nb_cfg"]})[0]["rows"]
                if rows and rows[0]["nb_cfg"] >= want:
                    break
                if time.time() > end:
                    raise SystemExit("the controller never caught up")
                time.sleep(0.01)

    def bind(self, n):
        """Binds a port and releases it; the seconds until its flows were in."""
        port = f"n{n}"
        switch = self.nb.call({"op": "select", "table": "Logical_Switch", "where": [["name", "==", "s"]], "columns": ["_uuid"]})[0]["rows"][0]["_uuid"]
        start = time.time()
        made = self.nb.call({"op": "insert", "table": "Logical_Switch_Port", "row": {"name": port, "addresses": f"0a:00:00:00:02:{n & 255:02x} 10.0.2.{n & 255}"}, "uuid-name": "p"},
                            {"op": "mutate", "table": "Logical_Switch", "where": [["_uuid", "==", switch]], "mutations": [["ports", "insert", ["named-uuid", "p"]]]})
        bridge = self.vs.call({"op": "select", "table": "Bridge", "where": [["name", "==", "br-int"]], "columns": ["_uuid"]})[0]["rows"][0]["_uuid"]
        ours = self.vs.call({"op": "insert", "table": "Interface", "row": {"name": port, "type": "internal", "external_ids": ["map", [["iface-id", port]]]}, "uuid-name": "i"},
                            {"op": "insert", "table": "Port", "row": {"name": port, "interfaces": ["named-uuid", "i"]}, "uuid-name": "p"},
                            {"op": "mutate", "table": "Bridge", "where": [["_uuid", "==", bridge]], "mutations": [["ports", "insert", ["named-uuid", "p"]]]},
                            {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]})
        while True:
            ids = self.vs.call({"op": "select", "table": "Interface", "where": [["name", "==", port]], "columns": ["external_ids"]})[0]["rows"][0]["external_ids"][1]
            if ["ovn-installed", "true"] in ids:
                break
            if time.time() - start > self.a.patience:
                break
            time.sleep(0.003)
        took = time.time() - start
        self.vs.call({"op": "mutate", "table": "Bridge", "where": [["_uuid", "==", bridge]], "mutations": [["ports", "delete", ours[1]["uuid"]]]})
        self.nb.call({"op": "mutate", "table": "Logical_Switch", "where": [["_uuid", "==", switch]], "mutations": [["ports", "delete", made[0]["uuid"]]]})
        return took

    def counters(self):
        control = [f for f in os.listdir(self.dir) if f.endswith(".ctl") and "controller" in f]
        target = f"{self.dir}/{control[0]}" if control else "ovn-controller"
        shown = P.run(["ovs-appctl", "-t", target, "coverage/show"], env=self.env, stdout=P.PIPE, stderr=P.DEVNULL, text=True).stdout
        found = re.findall(r"^(pinctrl\w+).*total: (\d+)", shown, re.M)
        return {key.removeprefix("pinctrl_"): int(value) for key, value in found}

    def measure(self):
        a = self.a
        calm = [self.bind(n) for n in range(a.calm)]
        before = self.counters()
        cpu, _, rss = stat(self.controller.pid)
        switch_cpu = stat(self.switch.pid)[0]
        stop, sent = multiprocessing.Event(), multiprocessing.Value("q", 0)
        sender = multiprocessing.Process(target=flood, args=("p1", a.kind or list(KINDS), a.rate, stop, sent), daemon=True)
        sender.start()
        start, busy, n = time.time(), [], a.calm
        try:
            while time.time() - start < a.seconds:
                busy.append(self.bind(n))
                n += 1
                time.sleep(a.pause)
        finally:
            stop.set()
            sender.join(10)
        took = time.time() - start
        cpu_after, peak, rss_after = stat(self.controller.pid)
        after = self.counters()
        taken = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
        late = sum(1 for t in busy if t > a.patience)
        return {
            "sent_per_s": sent.value / took, "calm_bind_ms": S.median(calm) * 1000, "bind_ms": S.median(busy) * 1000, "bind_max_ms": max(busy) * 1000,
            "bindings": len(busy), "never_bound": late, "cpu_percent": (cpu_after - cpu) / took * 100, "vswitchd_cpu_percent": (stat(self.switch.pid)[0] - switch_cpu) / took * 100,
            "rss_before_mib": rss, "rss_after_mib": rss_after, "rss_peak_mib": peak,
        }, taken

    def end(self):
        end(self.processes)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--impl", action="append", required=True)
    ap.add_argument("--northd", help="path of the northd for both; stock's by default")
    ap.add_argument("--schema-dir", default="/usr/share/ovn")
    ap.add_argument("--ovs", default="ovs-vswitchd")
    ap.add_argument("--rate", type=int, default=50_000)
    ap.add_argument("--seconds", type=float, default=30)
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("--calm", type=int, default=5, help="bindings before the flood")
    ap.add_argument("--pause", type=float, default=0.2, help="seconds between bindings")
    ap.add_argument("--patience", type=float, default=20, help="seconds after which a binding counts as failed")
    ap.add_argument("--kind", action="append", choices=list(KINDS))
    a = ap.parse_args()
    results = {}
    for _ in range(a.rounds):
        for spec in a.impl:
            name, command = spec.split("=", 1)
            run = Run(command, a)
            try:
                figures, taken = run.measure()
            finally:
                run.end()
            results.setdefault(name, []).append(figures)
            print(name, json.dumps({k: round(v, 1) for k, v in figures.items()}), json.dumps(taken), flush=True)
    names = list(results)
    print(f"{'median':24}" + "".join(f"{n:>14}" for n in names))
    for key in results[names[0]][0]:
        print(f"{key:24}" + "".join(f"{S.median([x[key] for x in results[n]]):14.1f}" for n in names))


if __name__ == "__main__":
    # In a namespace of its own, which ends with it.
    if "FLOOD_INSIDE" not in os.environ:
        os.environ["FLOOD_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv])
    main()
