#!/usr/bin/env python3
"""Gateways at size, stock northd and Weft's in one run.

  gateways.py --impl 'stock=ovn-northd --ovnnb-db={nb} --ovnsb-db={sb} --unixctl={dir}/n.ctl -vconsole:off' \\
      --impl 'weft=weft-northd --ovnnb-db={nb} --ovnsb-db={sb} --unixctl={dir}/n.ctl --log-file={dir}/n.log -vconsole:off --grpc none'

* balancers: --nodes switches and as many gateway routers share one group of --balancers load balancers;
  then one more, one with another backend, and one switch more;
* routes: one router with --routes static routes, and one more;
* nats: one gateway router with --nats floating addresses, and one more.

Of each the time on the clock until the southbound has it, the processor time of northd, and the bytes by which the
southbound's file grew; of the cold start the peak of northd's memory as well.
"""
import argparse
import json
import os
import shlex
import shutil
import subprocess as P
import sys
import tempfile
import time

from common import Rpc, end, server, stat, wait_sb

BATCH = 500


def named(row):
    return ["named-uuid", row]


def insert(table, uuid=None, **row):
    op = {"op": "insert", "table": table, "row": row}
    return op if uuid is None else op | {"uuid-name": uuid}


def add(table, name, column, value):
    return {"op": "mutate", "table": table, "where": [["name", "==", name]], "mutations": [[column, "insert", value]]}


def balancer(i, backend="10.1.0.5:8080"):
    return insert("Load_Balancer", f"l{i}", name=f"lb{i}", protocol="tcp",
                  vips=["map", [[f"10.96.{i >> 8}.{i & 255}:80", backend]]])


def switch(i, group):
    return insert("Logical_Switch", name=f"s{i}", load_balancer_group=group)


def gateway(i, group):
    return [
        insert("Logical_Router_Port", f"p{i}", name=f"gw{i}-out", mac=f"0a:01:00:00:{i >> 8:02x}:{i & 255:02x}", networks=f"172.18.{i >> 6}.{(i & 63) * 4 + 1}/30"),
        insert("Logical_Router", name=f"gw{i}", ports=named(f"p{i}"), load_balancer_group=group, options=["map", [["chassis", f"hv{i}"]]]),
    ]


def batched(nb, make, count):
    for first in range(0, count, BATCH):
        nb.call(*make(range(first, min(first + BATCH, count))))


def fill_balancers(nb, a):
    group = nb.call(insert("Load_Balancer_Group", name="all"))[0]["uuid"]
    for i in range(a.nodes):
        nb.call(switch(i, group), *gateway(i, group))
    more = lambda i: [balancer(i), add("Load_Balancer_Group", "all", "load_balancer", named(f"l{i}"))]
    batched(nb, lambda part: [op for i in part for op in more(i)], a.balancers)
    backend = {"op": "update", "table": "Load_Balancer", "where": [["name", "==", "lb7"]],
               "row": {"vips": ["map", [["10.96.0.7:80", "10.1.0.6:8080"]]]}}
    return {"one more": more(a.balancers), "another backend": [backend], "one switch more": [switch(a.nodes, group)],
            "one gateway more": gateway(a.nodes, group)}


def router(nb, **more):
    nb.call(insert("Logical_Router_Port", "p", name="out", mac="0a:00:00:00:00:01", networks="172.16.0.1/12"),
            insert("Logical_Router", name="r", ports=named("p"), **more))


def fill_routes(nb, a):
    router(nb)
    more = lambda i: [insert("Logical_Router_Static_Route", f"x{i}", ip_prefix=f"10.{i >> 8}.{i & 255}.0/24", nexthop=f"172.16.{i & 15}.9"),
                      add("Logical_Router", "r", "static_routes", named(f"x{i}"))]
    batched(nb, lambda part: [op for i in part for op in more(i)], a.routes)
    return {"one more": more(a.routes)}


def fill_nats(nb, a):
    router(nb, options=["map", [["chassis", "hv0"]]])
    more = lambda i: [insert("NAT", f"x{i}", type="dnat_and_snat", external_ip=f"172.17.{i >> 8}.{i & 255}", logical_ip=f"10.9.{i >> 8}.{i & 255}"),
                      add("Logical_Router", "r", "nat", named(f"x{i}"))]
    batched(nb, lambda part: [op for i in part for op in more(i)], a.nats)
    return {"one more": more(a.nats)}


CASES = {"balancers": fill_balancers, "routes": fill_routes, "nats": fill_nats}


class Run:
    """One northd on a northbound of its own."""

    def __init__(self, command, case, a):
        self.dir = tempfile.mkdtemp(prefix="gwbench")
        self.processes = []
        sockets = {}
        for name in ("nb", "sb"):
            P.check_call(["ovsdb-tool", "create", f"{self.dir}/{name}.db", f"{a.schema_dir}/ovn-{name}.ovsschema"])
            process, sockets[name] = server(self.dir, name, f"{self.dir}/{name}.db")
            self.processes.append(process)
        self.nb, self.sb = Rpc(sockets["nb"], "OVN_Northbound"), Rpc(sockets["sb"], "OVN_Southbound")
        self.nb.call(insert("NB_Global", name="bench"))
        self.changes = CASES[case](self.nb, a)
        self.command = shlex.split(command.format(nb="unix:" + sockets["nb"], sb="unix:" + sockets["sb"], dir=self.dir))

    def cold(self):
        env = dict(os.environ, OVN_RUNDIR=self.dir, OVS_RUNDIR=self.dir)
        start = time.time()
        self.northd = P.Popen(self.command, stdout=P.DEVNULL, stderr=P.DEVNULL, env=env)
        self.processes.append(self.northd)
        wait_sb(self.nb, self.sb)
        wall = time.time() - start
        wait_sb(self.nb, self.sb)
        cpu, peak, _ = stat(self.northd.pid)
        flows = len(self.sb.call({"op": "select", "table": "Logical_Flow", "where": [], "columns": ["_uuid"]})[0]["rows"])
        return {"wall_ms": wall * 1000, "cpu_ms": cpu * 1000, "written": self.written(), "peak_mib": peak, "flows": flows}

    def written(self):
        return os.path.getsize(f"{self.dir}/sb.db")

    def change(self, ops):
        before, cpu = self.written(), stat(self.northd.pid)[0]
        start = time.time()
        self.nb.call(*ops)
        wait_sb(self.nb, self.sb)
        wall = time.time() - start
        return {"wall_ms": wall * 1000, "cpu_ms": (stat(self.northd.pid)[0] - cpu) * 1000, "written": self.written() - before}

    def end(self):
        end(self.processes)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--impl", action="append", required=True)
    ap.add_argument("--schema-dir", default="/usr/share/ovn")
    ap.add_argument("--case", action="append", choices=list(CASES))
    ap.add_argument("--nodes", type=int, default=250)
    ap.add_argument("--balancers", type=int, default=10_000)
    ap.add_argument("--routes", type=int, default=2_000)
    ap.add_argument("--nats", type=int, default=5_000)
    a = ap.parse_args()
    for case in a.case or CASES:
        for spec in a.impl:
            name, command = spec.split("=", 1)
            run = Run(command, case, a)
            try:
                show = lambda what, figures: print(f"{case:10} {what:16} {name:8}", json.dumps({k: round(v, 1) for k, v in figures.items()}), flush=True)
                show("cold", run.cold())
                for what, ops in run.changes.items():
                    show(what, run.change(ops))
            finally:
                run.end()


if __name__ == "__main__":
    sys.exit(main())
