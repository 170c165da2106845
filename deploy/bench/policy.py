#!/usr/bin/env python3
"""Policy at size, stock OVN and Weft side by side.

Two stacks (databases, northd, one chassis without packets) get the same northbound; every step is timed in one, then in
the other, in turn, and the ratio of the medians is printed:

* cold: the controller starts on a filled southbound and an empty br-int, until all flows are there;
* acl: one ACL more, until it is in br-int (`nbctl --wait=hv`, by the same nbctl for both);
* address: one address into a set of 10,000 that one ACL names;
* groups: one port into 200 port groups with an ACL each.

Beside the time on the clock stands the processor time of northd and of the controller, which says more where the machine
has other things to do.

    deploy/bench/policy.py --bin target/release
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


def run(argv, **more):
    done = subprocess.run(argv, text=True, capture_output=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(argv)[:300]}: {done.stderr}")
    return done.stdout.strip()


class Stack:
    """Databases, northd, Open vSwitch and a controller of one origin."""

    def __init__(self, name, base, bin_dir, schemas):
        self.name, self.ours = name, name == "weft"
        self.dir = os.path.join(base, name)
        self.bin, self.schemas = bin_dir, schemas
        self.started = []
        os.makedirs(self.dir)
        self.env = dict(os.environ)
        for key in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVN_RUNDIR", "OVN_LOGDIR", "OVN_DBDIR"):
            self.env[key] = self.dir

    def path(self, name):
        return os.path.join(self.dir, name)

    def daemon(self, name, argv):
        options = [f"--pidfile={self.path(name)}.pid", f"--log-file={self.path(name)}.log", "-vconsole:off", "--detach", "--no-chdir"]
        run(argv + options, env=self.env)
        if name not in self.started:
            self.started.append(name)

    def pid(self, name):
        with open(self.path(name) + ".pid") as file:
            return int(file.read())

    def stop(self, name):
        pid = self.pid(name)
        os.kill(pid, 15)
        deadline = time.monotonic() + 30
        while os.path.exists(f"/proc/{pid}"):
            if time.monotonic() > deadline:
                os.kill(pid, 9)
            time.sleep(0.02)

    def end(self):
        for name in reversed(self.started):
            try:
                self.stop(name)
            except (OSError, ValueError):
                pass  # It has ended by itself.

    def processor_seconds(self, name):
        with open(f"/proc/{self.pid(name)}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def start(self):
        names = {"nb": "northbound", "sb": "southbound"} if self.ours else {"nb": "ovn-nb", "sb": "ovn-sb"}
        for db, schema in names.items():
            run(["ovsdb-tool", "create", self.path(db + ".db"), f"{self.schemas if self.ours else '/usr/share/ovn'}/{schema}.ovsschema"])
            self.daemon(db, ["ovsdb-server", self.path(db + ".db"), f"--remote=punix:{self.path(db)}.sock", f"--unixctl={self.path(db)}.ctl"])
        run(["ovsdb-tool", "create", self.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema"])
        self.daemon("ovs", ["ovsdb-server", self.path("conf.db"), f"--remote=punix:{self.path('db.sock')}", f"--unixctl={self.path('ovs.ctl')}"])
        self.vs("--no-wait", "init")
        self.vs(
            "--no-wait", "set", "open", ".", "external-ids:system-id=h1", "external-ids:hostname=h1", "external-ids:ovn-encap-type=geneve",
            "external-ids:ovn-encap-ip=127.0.0.1", f"external-ids:ovn-remote=unix:{self.path('sb')}.sock",
            "external-ids:ovn-bridge-datapath-type=dummy", "--", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=dummy",
            "fail_mode=secure", "--", "add-port", "br-int", "vif", "--", "set", "interface", "vif", "type=dummy", "external_ids:iface-id=p0",
        )
        self.daemon("vswitchd", ["ovs-vswitchd", f"unix:{self.path('db.sock')}", f"--unixctl={self.path('vswitchd.ctl')}", "--enable-dummy=override"])
        self.nb("init")
        northd = os.path.join(self.bin, "weft-northd") if self.ours else "ovn-northd"
        self.daemon("northd", [northd, f"--ovnnb-db=unix:{self.path('nb')}.sock", f"--ovnsb-db=unix:{self.path('sb')}.sock", f"--unixctl={self.path('northd.ctl')}"])

    def start_controller(self):
        program = os.path.join(self.bin, "weft-controller") if self.ours else "ovn-controller"
        self.daemon("controller", [program, f"unix:{self.path('db.sock')}"])

    def vs(self, *words):
        return run(["ovs-vsctl", f"--db=unix:{self.path('db.sock')}", *words], env=self.env)

    def nb(self, *words):
        return run(["ovn-nbctl", "--timeout=900", f"--db=unix:{self.path('nb')}.sock", *words])

    def flows(self):
        text = run(["ovs-ofctl", "-O", "OpenFlow15", "dump-aggregate", f"unix:{self.path('br-int.mgmt')}"])
        return int(text.split("flow_count=")[1].split()[0])

    def settle(self):
        """Waits until flows have stopped coming; how many there are."""
        deadline = time.monotonic() + 600
        while "ovn-installed" not in self.vs("get", "interface", "vif", "external_ids"):
            if time.monotonic() > deadline:
                sys.exit(f"{self.name}: the port never came up")
            time.sleep(0.1)
        self.nb("--wait=hv", "sync")
        count, since = self.flows(), time.monotonic()
        while time.monotonic() - since < 3:
            time.sleep(0.1)
            now = self.flows()
            if now != count:
                count, since = now, time.monotonic()
        return count

    def cold_start(self, wanted):
        """Starts the controller again and waits for its flows: that it says so is not enough, stock's says so early."""
        self.start_controller()
        while self.flows() < wanted:
            time.sleep(0.02)


def batches(stack, commands, most=200_000):
    """Transactions as long as a command line may be, roughly."""
    words, length = [], 0
    for command in commands:
        size = sum(map(len, command))
        if words and length + size > most:
            stack.nb(*words)
            words, length = [], 0
        words += (["--"] if words else []) + command
        length += size
    stack.nb(*words)


def address(n):
    return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def northbound(args):
    """The commands that fill it."""
    out = [["ls-add", "s"]]
    out += [["lsp-add", "s", f"p{n}", "--", "lsp-set-addresses", f"p{n}", f"0a:00:00:00:{n >> 8:02x}:{n & 255:02x} 192.168.{n >> 8}.{n & 255}"] for n in range(args.ports)]
    out.append(["pg-add", "all"] + [f"p{n}" for n in range(args.ports)])
    for n in range(args.sets):
        members = ",".join(f'"{address(n * 7919 + i)}"' for i in range(args.members))
        out.append(["create", "address_set", f"name=as{n}", f"addresses={members}"])
    for n in range(args.acls):
        match = f"outport == @all && ip4.src == $as{n % args.sets} && tcp.dst == {{{1000 + n}, {5000 + n}, {9000 + n}}}"
        out.append(["acl-add", "all", "to-lport", str(1000 + n % 5), match, "allow-related"])
    out.append(["create", "address_set", "name=large"])
    for start in range(0, args.large, 4000):
        members = ",".join(f'"{address(1 << 20 | i)}"' for i in range(start, min(start + 4000, args.large)))
        out.append(["add", "address_set", "large", "addresses", members])
    out.append(["acl-add", "all", "to-lport", "2000", 'outport == "p0" && ip4.src == $large', "drop"])
    for n in range(args.groups):
        out.append(["pg-add", f"g{n}"] + [f"p{i}" for i in range(1, args.ports)])
        out.append(["acl-add", f"g{n}", "to-lport", "3000", f"outport == @g{n} && udp.dst == {n + 1}", "drop"])
    return out


class Result:
    def __init__(self):
        self.times = {}

    def take(self, step, stack, work, watched):
        before = {name: stack.processor_seconds(name) for name in watched}
        start = time.monotonic()
        work()
        seconds = time.monotonic() - start
        spent = {name: stack.processor_seconds(name) - before.get(name, 0.0) for name in ("northd", "controller")}
        for what, value in [("clock", seconds), *spent.items()]:
            self.times.setdefault((step, what), {}).setdefault(stack.name, []).append(value)

    def show(self):
        print(f"{'step':9} {'of':10} {'stock s':>9} {'weft s':>9} {'stock/weft':>10}")
        for (step, what), by in self.times.items():
            stock, weft = (statistics.median(by[name]) for name in ("stock", "weft"))
            ratio = f"{stock / weft:10.2f}" if weft > 0 else f"{'-':>10}"
            print(f"{step:9} {what:10} {stock:9.3f} {weft:9.3f} {ratio}")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(here, "../../target/release"), help="where Weft's programs are")
    parser.add_argument("--rounds", type=int, default=5, help="how often each step is timed")
    for name, value in [("acls", 3500), ("sets", 50), ("members", 450), ("large", 10000), ("groups", 200), ("ports", 40)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    # Ends as after an error, taking its daemons with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    base = tempfile.mkdtemp(prefix="weft-bench-")
    stacks = [Stack(name, base, args.bin, os.path.join(here, "../../schemas")) for name in ("stock", "weft")]
    result = Result()
    try:
        commands = northbound(args)
        for stack in stacks:
            stack.start()
            batches(stack, commands)
            stack.nb("--wait=sb", "sync")
        wanted = {}
        for stack in stacks:
            stack.start_controller()
            wanted[stack.name] = stack.settle()
        for _ in range(2):
            for stack in stacks:
                stack.stop("controller")
                stack.vs("--if-exists", "remove", "interface", "vif", "external_ids", "ovn-installed")
                run(["ovs-ofctl", "-O", "OpenFlow15", "del-flows", f"unix:{stack.path('br-int.mgmt')}"])
                result.take("cold", stack, lambda: stack.cold_start(wanted[stack.name]), ["northd"])
                stack.settle()
        print("flows in br-int:", ", ".join(f"{stack.name} {stack.flows()}" for stack in stacks), flush=True)
        port = {stack.name: stack.nb("--bare", "--columns=_uuid", "find", "logical_switch_port", "name=p0") for stack in stacks}
        both = ["northd", "controller"]
        for n in range(args.rounds):
            for stack in stacks:
                match = f"outport == @all && ip4.src == $as{n} && tcp.dst == {{{n + 1}, {n + 101}, {n + 201}}}"
                result.take("acl", stack, lambda: stack.nb("--wait=hv", "acl-add", "all", "to-lport", "1000", match, "allow-related"), both)
            for stack in stacks:
                new = address(3 << 20 | n)
                result.take("address", stack, lambda: stack.nb("--wait=hv", "add", "address_set", "large", "addresses", new), both)
            verb = "remove" if n % 2 else "add"
            for stack in stacks:
                words = []
                for group in range(args.groups):
                    words += (["--"] if words else []) + [verb, "port_group", f"g{group}", "ports", port[stack.name]]
                result.take("groups", stack, lambda: stack.nb("--wait=hv", *words), both)
        print("flows in br-int:", ", ".join(f"{stack.name} {stack.flows()}" for stack in stacks))
        result.show()
    finally:
        for stack in stacks:
            stack.end()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
