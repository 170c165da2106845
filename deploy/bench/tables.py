#!/usr/bin/env python3
"""What one change of each northbound table costs northd: insert, update and delete of a sensible row.

  tables.py --nodes 250 --impl 'weft=weft-northd --ovnnb-db={nb} --ovnsb-db={sb} --unixctl={dir}/n.ctl \\
      --log-file={dir}/n.log -vconsole:off --grpc none' [--markdown docs/tables.md] [--only ACL,NAT]

Fills a northbound with `nbgen.py k8s`, starts northd, and makes each change --rounds times. Of each the median of

* northd's processor time: all its threads, in nanoseconds of the scheduler (/proc/PID/task/*/schedstat), from the
  transaction until NB_Global.sb_cfg has followed; what that acknowledgement alone costs is the first line;
* rows and bytes that the southbound wrote to its file, without the acknowledgement's own row.

Tables and columns that a schema does not have are left out, so stock programs run on theirs (--schema-dir).
"""
import argparse
import glob
import json
import os
import shlex
import shutil
import statistics
import subprocess as P
import sys
import tempfile
import uuid

from common import Rpc, end, server, wait_sb

HERE = os.path.dirname(os.path.abspath(__file__))


def ref(u):
    return ["uuid", u]


def m(**pairs):
    return ["map", [[k, v] for k, v in pairs.items()]]


def st(*elements):
    return ["set", list(elements)]


def insert(table, u, **row):
    return {"op": "insert", "table": table, "uuid": u, "row": row}


def delete(table, u):
    return {"op": "delete", "table": table, "where": [["_uuid", "==", ref(u)]]}


def update(table, u, **row):
    return {"op": "update", "table": table, "where": [["_uuid", "==", ref(u)]], "row": row}


def mutate(table, u, column, mutator, value):
    return {"op": "mutate", "table": table, "where": [["_uuid", "==", ref(u)]], "mutations": [[column, mutator, value]]}


class Cases:
    """For each table what is prepared, inserted, updated, deleted, and cleared away."""

    def __init__(self, nb):
        self.nb, self.ids, self.all = nb, {}, {}

    def id(self, table, name):
        if (table, name) not in self.ids:
            rows = self.nb.call({"op": "select", "table": table, "where": [["name", "==", name]], "columns": ["_uuid"]})[0]["rows"]
            self.ids[table, name] = rows[0]["_uuid"][1]
        return self.ids[table, name]

    def add(self, table, make, change, unmake, before=(), after=()):
        self.all[table] = {"before": list(before), "insert": list(make), "update": list(change), "delete": list(unmake), "after": list(after)}

    def child(self, table, parent, column, row, changed, before=(), after=(), more=()):
        """A row that lives as long as its parent refers to it."""
        u = str(uuid.uuid4())
        self.add(table, [insert(table, u, **row), *more, mutate(*parent, column, "insert", ref(u))], [update(table, u, **changed)],
                 [mutate(*parent, column, "delete", ref(u))], before, after)
        return u

    def root(self, table, row, changed, use=(), unuse=(), before=(), after=(), more=()):
        """A row that stays until it is deleted; `use` and `unuse` make a row that refers to it."""
        u = str(uuid.uuid4())
        give = lambda ops: [op(u) if callable(op) else op for op in ops]
        self.add(table, [insert(table, u, **row), *more, *give(use)], [update(table, u, **changed)], [*give(unuse), delete(table, u)], before, after)
        return u

    def fill(self):
        switch, router = ("Logical_Switch", self.id("Logical_Switch", "node-0")), ("Logical_Router", self.id("Logical_Router", "cluster"))
        gateway, group = ("Logical_Router", self.id("Logical_Router", "gw-node-0")), ("Port_Group", self.id("Port_Group", "pg_ns0"))
        port = ("Logical_Switch_Port", self.id("Logical_Switch_Port", "pod-0-0"))
        other = self.id("Logical_Switch_Port", "pod-0-1")
        lrp = ("Logical_Router_Port", self.id("Logical_Router_Port", "rtr-to-node-0"))
        lbs = ("Load_Balancer_Group", self.id("Load_Balancer_Group", "cluster-lbs"))
        service = self.id("Load_Balancer", "svc0")
        setting = lambda target, column: ([lambda u: update(*target, **{column: ref(u)})], [update(*target, **{column: st()})])
        self.switches(switch, port, other, lbs, service, setting)
        self.policy(switch, group, port, other)
        self.routers(router, gateway, lrp, setting)
        self.others(switch, gateway, group, port, lrp, setting)

    def switches(self, switch, port, other, lbs, service, setting):
        outside = ("Logical_Switch", self.id("Logical_Switch", "ext-node-0"))
        self.add("NB_Global", [], [{"op": "update", "table": "NB_Global", "where": [], "row": {"ipsec": True}}], [],
                 after=[{"op": "update", "table": "NB_Global", "where": [], "row": {"ipsec": False}}])
        self.root("Logical_Switch", {"name": "new", "load_balancer_group": ref(lbs[1]), "other_config": m(subnet="10.255.0.0/24")},
                  {"other_config": m(subnet="10.255.0.0/24", mcast_snoop="true")})
        self.child("Logical_Switch_Port", switch, "ports", {"name": "new", "addresses": "0a:ff:00:00:00:01 10.128.1.200"},
                   {"addresses": "0a:ff:00:00:00:02 10.128.1.201"})
        self.child("Forwarding_Group", switch, "forwarding_groups", {"name": "new", "vip": "10.128.1.210", "vmac": "0a:ff:00:00:01:00", "child_port": st("pod-0-1", "pod-0-2")},
                   {"vip": "10.128.1.211"})
        self.child("Logical_Switch_Port_Health_Check", port, "health_checks", {"protocol": "icmp", "src_ip": "10.128.1.250"},
                   {"src_ip": "10.128.1.251"})
        self.root("Network_Function", {"name": "new", "id": 1, "inport": ref(port[1]), "outport": ref(other)}, {"id": 2})
        function = str(uuid.uuid4())
        member = insert("Network_Function", function, name="member", id=3, inport=ref(port[1]), outport=ref(other))
        self.root("Network_Function_Group", {"name": "new", "id": 1, "mode": "inline", "network_function": ref(function)}, {"fallback": "fail-open"},
                  before=[member], after=[delete("Network_Function", function)])
        self.child("Load_Balancer", lbs, "load_balancer", {"name": "new", "protocol": "tcp", "vips": m(**{"10.97.0.1:80": "10.128.0.12:80"})},
                   {"vips": m(**{"10.97.0.1:80": "10.128.0.12:80,10.128.0.13:80"})})
        self.all["Load_Balancer"]["delete"].append(delete("Load_Balancer", self.all["Load_Balancer"]["insert"][0]["uuid"]))
        self.root("Load_Balancer_Group", {"name": "new", "load_balancer": ref(service)}, {"load_balancer": st()},
                  [lambda u: update(*outside, load_balancer_group=ref(u))], [update(*outside, load_balancer_group=st())])
        lb = str(uuid.uuid4())
        made = insert("Load_Balancer", lb, name="checked", protocol="tcp", vips=m(**{"10.97.0.2:80": "10.128.0.11:80"}),
                      ip_port_mappings=m(**{"10.128.0.11": "pod-0-1:10.128.0.9"}))
        self.child("Load_Balancer_Health_Check", ("Load_Balancer", lb), "health_check", {"vip": "10.97.0.2:80", "options": m(interval="5")},
                   {"options": m(interval="7")}, before=[made, mutate(*lbs, "load_balancer", "insert", ref(lb))],
                   after=[mutate(*lbs, "load_balancer", "delete", ref(lb)), delete("Load_Balancer", lb)])
        use = lambda column: ([lambda u: update(*port, **{column: ref(u)})], [update(*port, **{column: st()})])
        self.root("DHCP_Options", {"cidr": "10.128.0.0/23", "options": m(server_id="10.128.0.1", server_mac="0a:ff:00:00:02:00", lease_time="3600")},
                  {"options": m(server_id="10.128.0.1", server_mac="0a:ff:00:00:02:00", lease_time="7200")}, *use("dhcpv4_options"))
        self.root("DNS", {"records": m(**{"a.example": "10.128.0.10"})}, {"records": m(**{"a.example": "10.128.0.11"})},
                  [lambda u: mutate(*switch, "dns_records", "insert", ref(u))], [lambda u: mutate(*switch, "dns_records", "delete", ref(u))])
        mirror = {"name": "new", "filter": "from-lport", "sink": "10.0.0.9", "type": "gre", "index": 1}
        self.root("Mirror", mirror, {"sink": "10.0.0.10"}, [lambda u: mutate(*port, "mirror_rules", "insert", ref(u))],
                  [lambda u: mutate(*port, "mirror_rules", "delete", ref(u))])
        lport = str(uuid.uuid4())
        self.child("Mirror_Rule", ("Mirror", lport), "mirror_rules", {"match": "ip4", "action": "mirror", "priority": 10}, {"match": "ip6"},
                   before=[insert("Mirror", lport, name="lport", filter="from-lport", sink="pod-0-1", type="lport", index=1), mutate(*port, "mirror_rules", "insert", ref(lport))],
                   after=[mutate(*port, "mirror_rules", "delete", ref(lport)), delete("Mirror", lport)])
        self.root("Copp", {"name": "new", "meters": m(arp="none")}, {"meters": m(arp="other")}, *setting(switch, "copp"))

    def policy(self, switch, group, port, other):
        addresses = self.id("Address_Set", "as_ns0")
        self.root("Address_Set", {"name": "new", "addresses": st("10.1.1.1", "10.1.1.2")}, {"addresses": st("10.1.1.1", "10.1.1.3")})
        self.all["Address_Set"]["update"] = [mutate("Address_Set", addresses, "addresses", "insert", "10.9.9.9")]
        self.all["Address_Set"]["after"] = [mutate("Address_Set", addresses, "addresses", "delete", "10.9.9.9")]
        acl = insert("ACL", str(uuid.uuid4()), priority=900, direction="to-lport", match="outport == @new && ip4", action="allow-related")
        self.root("Port_Group", {"name": "new", "ports": st(ref(port[1])), "acls": ref(acl["uuid"])}, {"ports": st(ref(port[1]), ref(other))}, more=[acl])
        row = {"priority": 1500, "direction": "to-lport", "match": "outport == @pg_ns0 && ip4 && tcp.dst == 8443", "action": "allow-related"}
        self.child("ACL", group, "acls", row, {"match": "outport == @pg_ns0 && ip4 && tcp.dst == 8444"})
        self.child("QoS", switch, "qos_rules", {"priority": 10, "direction": "from-lport", "match": 'inport == "pod-0-0"', "action": m(dscp=10)}, {"match": 'inport == "pod-0-1"'})
        band = insert("Meter_Band", str(uuid.uuid4()), action="drop", rate=100)
        self.root("Meter", {"name": "new", "unit": "pktps", "bands": ref(band["uuid"])}, {"unit": "kbps"}, more=[band])
        first, meter = insert("Meter_Band", str(uuid.uuid4()), action="drop", rate=100), str(uuid.uuid4())
        self.child("Meter_Band", ("Meter", meter), "bands", {"action": "drop", "rate": 300}, {"rate": 400},
                   before=[first, insert("Meter", meter, name="banded", unit="pktps", bands=ref(first["uuid"]))], after=[delete("Meter", meter)])
        self.sampling(group)

    def sampling(self, group):
        collector = lambda u, n: insert("Sample_Collector", u, name=n, id=1 if n == "c" else 2, probability=65535, set_id=1)
        app = str(uuid.uuid4())
        apps = [insert("Sampling_App", app, type="acl-new", id=7)]
        sampled, acl = str(uuid.uuid4()), str(uuid.uuid4())
        rule = insert("ACL", acl, priority=1600, direction="to-lport", match="outport == @pg_ns0 && ip4 && tcp.dst == 9443", action="allow-related")
        about = [collector(sampled, "c"), rule, mutate(*group, "acls", "insert", ref(acl)), *apps]
        ended = [mutate(*group, "acls", "delete", ref(acl)), delete("Sample_Collector", sampled), delete("Sampling_App", app)]
        s = str(uuid.uuid4())
        self.add("Sample", [insert("Sample", s, collectors=ref(sampled), metadata=5), update("ACL", acl, sample_new=ref(s))], [update("Sample", s, metadata=6)],
                 [update("ACL", acl, sample_new=st())], about, ended)
        s = str(uuid.uuid4())
        about = [rule, mutate(*group, "acls", "insert", ref(acl)), *apps, insert("Sample", s, metadata=5), update("ACL", acl, sample_new=ref(s))]
        ended = [mutate(*group, "acls", "delete", ref(acl)), delete("Sampling_App", app)]
        u = str(uuid.uuid4())
        self.add("Sample_Collector", [collector(u, "d"), update("Sample", s, collectors=ref(u))], [update("Sample_Collector", u, probability=100)],
                 [update("Sample", s, collectors=st()), delete("Sample_Collector", u)], about, ended)
        about = [collector(sampled, "c"), rule, mutate(*group, "acls", "insert", ref(acl)), insert("Sample", s, collectors=ref(sampled), metadata=5), update("ACL", acl, sample_new=ref(s))]
        ended = [update("Sample", s, collectors=st()), update("ACL", acl, sample_new=st()), mutate(*group, "acls", "delete", ref(acl)), delete("Sample_Collector", sampled)]
        self.add("Sampling_App", apps, [update("Sampling_App", app, id=8)], [delete("Sampling_App", app)], about, ended)

    def routers(self, router, gateway, lrp, setting):
        inner = insert("Logical_Router_Port", str(uuid.uuid4()), name="new-port", mac="0a:ff:00:00:03:00", networks="10.254.0.1/24")
        self.root("Logical_Router", {"name": "new", "ports": ref(inner["uuid"])}, {"options": m(chassis="node-0")}, more=[inner])
        self.child("Logical_Router_Port", router, "ports", {"name": "new-lrp", "mac": "0a:ff:00:00:04:00", "networks": "10.253.0.1/23"}, {"networks": "10.253.2.1/23"})
        self.child("Logical_Router_Static_Route", router, "static_routes", {"ip_prefix": "10.252.0.0/24", "nexthop": "100.64.0.2"}, {"nexthop": "100.64.0.3"})
        self.child("Logical_Router_Policy", router, "policies", {"priority": 100, "match": "ip4.src == 10.128.0.10", "action": "reroute", "nexthops": "100.64.0.2"},
                   {"match": "ip4.src == 10.128.0.11"})
        self.child("NAT", gateway, "nat", {"type": "dnat_and_snat", "external_ip": "172.18.0.2", "logical_ip": "10.128.0.10"}, {"logical_ip": "10.128.0.11"})
        # Another port of the router has two already: who is behind the router is known, as it is where there are many.
        twin, second = ("Logical_Router_Port", self.id("Logical_Router_Port", "rtr-to-node-1")), str(uuid.uuid4())
        self.child("Gateway_Chassis", lrp, "gateway_chassis", {"name": "new", "chassis_name": "node-1", "priority": 2}, {"priority": 3},
                   before=[insert("Gateway_Chassis", second, name="second", chassis_name="node-2", priority=2), mutate(*twin, "gateway_chassis", "insert", ref(second))],
                   after=[mutate(*twin, "gateway_chassis", "delete", ref(second))])
        self.root("DHCP_Relay", {"name": "new", "servers": "10.9.9.9"}, {"servers": "10.9.9.8"}, *setting(lrp, "dhcp_relay"))
        mac = {"logical_port": "rtr-to-node-0", "ip": "10.128.0.77", "mac": "0a:ff:00:00:05:00"}
        self.root("Static_MAC_Binding", mac, {"mac": "0a:ff:00:00:05:01"})
        route = insert("Logical_Router_Static_Route", str(uuid.uuid4()), ip_prefix="10.251.0.0/24", nexthop="100.64.0.2")
        self.root("BFD", {"logical_port": "rtr-to-join", "dst_ip": "100.64.0.2"}, {"min_tx": 250}, [lambda u: update("Logical_Router_Static_Route", route["uuid"], bfd=ref(u))],
                  [update("Logical_Router_Static_Route", route["uuid"], bfd=st())],
                  before=[route, mutate(*router, "static_routes", "insert", ref(route["uuid"]))], after=[mutate(*router, "static_routes", "delete", ref(route["uuid"]))])

    def others(self, switch, gateway, group, port, lrp, setting):
        external = insert("Logical_Switch_Port", str(uuid.uuid4()), name="new-ext", type="external", addresses="0a:ff:00:00:06:00 10.128.1.220")
        of = ("Logical_Switch_Port", external["uuid"])
        port_made, port_gone = [external, mutate(*switch, "ports", "insert", ref(of[1]))], [mutate(*switch, "ports", "delete", ref(of[1]))]
        chassis = lambda n, priority: insert("HA_Chassis", str(uuid.uuid4()), chassis_name=n, priority=priority)
        one, two = chassis("node-0", 10), chassis("node-1", 20)
        self.root("HA_Chassis_Group", {"name": "new", "ha_chassis": ref(one["uuid"])}, {"external_ids": m(a="b")}, *setting(of, "ha_chassis_group"),
                  before=port_made, after=port_gone, more=[one])
        ha = str(uuid.uuid4())
        self.child("HA_Chassis", ("HA_Chassis_Group", ha), "ha_chassis", {"chassis_name": "node-2", "priority": 5}, {"priority": 30},
                   before=[*port_made, two, insert("HA_Chassis_Group", ha, name="used", ha_chassis=ref(two["uuid"])), update(*of, ha_chassis_group=ref(ha))],
                   after=[update(*of, ha_chassis_group=st()), *port_gone, delete("HA_Chassis_Group", ha)])
        self.root("Chassis_Template_Var", {"chassis": "node-0", "variables": m(a="1")}, {"variables": m(a="2")})
        self.child("Connection", ("NB_Global", None), "connections", {"target": "ptcp:0:127.0.0.1"}, {"inactivity_probe": 9000})
        for ops in self.all["Connection"].values():
            for op in ops:
                if op["table"] == "NB_Global":
                    op["where"] = []
        ssl = str(uuid.uuid4())
        everywhere = lambda **row: {"op": "update", "table": "NB_Global", "where": [], "row": row}
        self.add("SSL", [insert("SSL", ssl, private_key="k", certificate="c", ca_cert="a"), everywhere(ssl=ref(ssl))], [update("SSL", ssl, ca_cert="b")], [everywhere(ssl=st())])


class Northd:
    """One northd with servers of its own."""

    def __init__(self, command, database, schemas):
        self.dir = tempfile.mkdtemp(prefix="tables")
        shutil.copy(database, f"{self.dir}/nb.db")
        P.check_call(["ovsdb-tool", "create", f"{self.dir}/sb.db", schemas["sb"]])
        (nbp, nbs), (sbp, sbs) = server(self.dir, "nb", f"{self.dir}/nb.db"), server(self.dir, "sb", f"{self.dir}/sb.db")
        self.nb = Rpc(nbs, "OVN_Northbound")
        if not self.nb.call({"op": "select", "table": "NB_Global", "where": [], "columns": ["_uuid"]})[0]["rows"]:
            self.nb.call({"op": "insert", "table": "NB_Global", "row": {"name": "bench"}})
        argv = shlex.split(command.format(nb="unix:" + nbs, sb="unix:" + sbs, dir=self.dir))
        northd = P.Popen(argv, stdout=P.DEVNULL, stderr=P.DEVNULL, env=dict(os.environ, OVN_RUNDIR=self.dir, OVS_RUNDIR=self.dir))
        self.processes, self.pid = [northd, nbp, sbp], northd.pid
        wait_sb(self.nb, None)

    def cpu_ns(self):
        total = 0
        for path in glob.glob(f"/proc/{self.pid}/task/*/schedstat"):
            with open(path) as text:
                total += int(text.read().split()[0])
        return total

    def written(self, start):
        """Rows and bytes in the southbound's file from there on, and where it ends; the acknowledgement's row aside."""
        rows = size = 0
        with open(f"{self.dir}/sb.db", "rb") as file:
            file.seek(start)
            while header := file.readline():
                body = file.read(int(header.split()[2]))
                record = json.loads(body)
                tables = {k: v for k, v in record.items() if not k.startswith("_")}
                own = tables.get("SB_Global", {})
                for key in [key for key, row in own.items() if row is not None and set(row) == {"nb_cfg"}]:
                    del own[key]
                rows += sum(map(len, tables.values()))
                size += sum(len(json.dumps({t: r}, separators=(",", ":"))) for t, r in tables.items() if r)
            return rows, size, file.tell()

    def change(self, ops):
        start, cpu = os.path.getsize(f"{self.dir}/sb.db"), self.cpu_ns()
        if ops:
            self.nb.call(*ops)
        wait_sb(self.nb, None)
        spent = self.cpu_ns() - cpu
        rows, size, _ = self.written(start) if os.path.getsize(f"{self.dir}/sb.db") >= start else (0, 0, 0)
        return spent / 1e6, rows, size

    def end(self):
        end(self.processes)
        shutil.rmtree(self.dir, ignore_errors=True)


def database(nodes, schema):
    place = tempfile.mkdtemp(prefix="tables")
    P.check_call(["ovsdb-tool", "create", f"{place}/nb.db", schema])
    process, sock = server(place, "nb", f"{place}/nb.db")
    P.check_call([sys.executable, f"{HERE}/nbgen.py", sock, "k8s", "--nodes", str(nodes), "--pods", "45"], stdout=P.DEVNULL)
    P.call(["ovs-appctl", "-t", f"{place}/nb.ctl", "ovsdb-server/compact"], stdout=P.DEVNULL)
    process.terminate()
    process.wait()
    return place


def measure(command, a, schemas):
    place = database(a.nodes, schemas["nb"])
    northd = Northd(command, f"{place}/nb.db", schemas)
    try:
        cases = Cases(northd.nb)
        cases.fill()
        there = json.load(open(schemas["nb"]))["tables"]
        only = a.only.split(",") if a.only else None
        results = {}
        median = lambda samples: tuple(statistics.median(column) for column in zip(*samples))
        results["(acknowledgement)", ""] = median([northd.change([]) for _ in range(4 * a.rounds)])
        for table, case in sorted(cases.all.items()):
            known = all(op["table"] in there and set(op.get("row", {})) <= set(there[op["table"]]["columns"]) for ops in case.values() for op in ops)
            if not known or only and table not in only:
                continue
            samples = {}
            for _ in range(a.rounds):
                northd.change(case["before"])
                for step in ("insert", "update", "delete"):
                    if case[step]:
                        samples.setdefault(step, []).append(northd.change(case[step]))
                northd.change(case["after"])
            for step, of in samples.items():
                results[table, step] = median(of)
                print(f"{table:28} {step:7} {results[table, step][0]:8.2f} ms {results[table, step][1]:5.0f} rows {results[table, step][2]:8.0f} B", flush=True)
        return results
    finally:
        northd.end()
        shutil.rmtree(place, ignore_errors=True)


def markdown(results, nodes):
    names = list(results)
    ack = ", ".join(f"{name} {results[name]['(acknowledgement)', ''][0]:.2f} ms" for name in names)
    lines = ["# One change of each northbound table", "", f"`deploy/bench/tables.py --nodes {nodes}`: processor time of northd for one change, rows and bytes written to the southbound.",
             f"The acknowledgement (`sb_cfg`) is in each: alone it is {ack}.", "",
             "| table | change | " + " | ".join(f"{n}: CPU | rows | bytes" for n in names) + " |", "| --- | --- |" + " --- | --- | --- |" * len(names)]
    keys = sorted({key for of in results.values() for key in of if key[1]}, key=lambda key: (key[0], ("insert", "update", "delete").index(key[1])))
    for key in keys:
        cells = [("{:.2f} ms | {:.0f} | {:,.0f}".format(*results[n][key])) if key in results[n] else " | | " for n in names]
        lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--impl", action="append", required=True, help="NAME=COMMAND; the command line of a northd")
    ap.add_argument("--nodes", type=int, default=250)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--only", help="these tables, separated by commas")
    ap.add_argument("--schema-dir", default=f"{HERE}/../../schemas", help="with northbound.ovsschema or ovn-nb.ovsschema, and the other")
    ap.add_argument("--markdown", help="write the table into this file")
    a = ap.parse_args()
    names = [("nb", "northbound"), ("sb", "southbound")]
    schemas = {short: next(p for p in (f"{a.schema_dir}/{long}.ovsschema", f"{a.schema_dir}/ovn-{short}.ovsschema") if os.path.exists(p)) for short, long in names}
    results = {}
    for spec in a.impl:
        name, command = spec.split("=", 1)
        print(name, flush=True)
        results[name] = measure(command, a, schemas)
    text = markdown(results, a.nodes)
    print(text)
    if a.markdown:
        with open(a.markdown, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
