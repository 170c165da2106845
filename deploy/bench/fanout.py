#!/usr/bin/env python3
"""Many chassis that follow one southbound change: when does each of them have it?

  fanout.py --gen "k8s --nodes 60 --pods 45" --sessions 500 --northd 'weft-northd --ovnnb-db={nb} --ovnsb-db={sb} ...' \
      --impl stock='ovn-controller {ovs} --log-file={dir}/c.log -vconsole:off' --impl weft='weft-controller {ovs} ... --grpc none'

Per implementation a real controller of chassis 'node-0' runs once against the compiled southbound, through a proxy that notes
what it monitors: tables, columns, conditions. These are asked for by --sessions simulated sessions, each for another chassis
(names and datapaths of node-0 stand for those of its node); they read, but do not parse, as controllers have processors of
their own. Then northbound changes are committed one at a time: update_ms is how long after asking for the commit the last session had the
change (half_ms: half of them), server_cpu_ms what it cost ovsdb-server, bytes what one session was sent.
"""
import argparse, copy, json, os, select, shlex, shutil, socket, statistics as S, subprocess as P, sys, tempfile, threading, time
from common import Rpc, server, stat, wait_sb

here = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--gen", required=True)
ap.add_argument("--schema-dir", default="/usr/share/ovn")
ap.add_argument("--northd", required=True)
ap.add_argument("--impl", action="append", required=True)
ap.add_argument("--sessions", type=int, default=500)
ap.add_argument("--changes", type=int, default=5)
ap.add_argument("--monitor-all", default="false")
a = ap.parse_args()
d = tempfile.mkdtemp(prefix="fanout")
sh = lambda c, **k: P.run(c, shell=True, check=True, stdout=P.PIPE, stderr=P.STDOUT, text=True, **k).stdout
for n, s in (("nb", "ovn-nb"), ("sb", "ovn-sb")):
    P.check_call(["ovsdb-tool", "create", f"{d}/{n}.db", f"{a.schema_dir}/{s}.ovsschema"])
nbp, nbs = server(d, "nb", f"{d}/nb.db")
sbp, sbs = server(d, "sb", f"{d}/sb.db")
generated = json.loads(P.check_output([sys.executable, f"{here}/nbgen.py", nbs, *shlex.split(a.gen)], text=True).strip().splitlines()[-1].replace("'", '"'))
print("generated", generated, flush=True)
nb, sb = Rpc(nbs, "OVN_Northbound"), Rpc(sbs, "OVN_Southbound")
if not nb.call({"op": "select", "table": "NB_Global", "where": [], "columns": ["_uuid"]})[0]["rows"]:
    nb.call({"op": "insert", "table": "NB_Global", "row": {"name": "bench"}})
northd = P.Popen(shlex.split(a.northd.format(nb="unix:" + nbs, sb="unix:" + sbs, dir=d)), stdout=P.DEVNULL, stderr=P.DEVNULL, env=dict(os.environ, OVN_RUNDIR=d, OVS_RUNDIR=d))
wait_sb(nb, sb)


def cpu_ms(pid):
    """finer than the clock ticks of stat"""
    return int(open(f"/proc/{pid}/schedstat").read().split()[0]) / 1e6


class Proxy(threading.Thread):
    """relays one session to the southbound and notes what it monitors"""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.asked, self.seen = {}, threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(sbs)
            threading.Thread(target=self.down, args=(upstream, client), daemon=True).start()
            threading.Thread(target=self.up, args=(client, upstream), daemon=True).start()

    def down(self, upstream, client):
        try:
            while data := upstream.recv(1 << 20):
                client.sendall(data)
        except OSError:
            pass
        client.close()

    def up(self, client, upstream):
        text, decoder = "", json.JSONDecoder()
        try:
            while data := client.recv(1 << 20):
                upstream.sendall(data)
                text += data.decode()
                while text:
                    try:
                        message, end = decoder.raw_decode(text)
                    except ValueError:
                        break
                    text = text[end:].lstrip()
                    self.note(message)
        except OSError:
            pass
        upstream.close()

    def note(self, message):
        method, params = message.get("method"), message.get("params")
        if method in ("monitor_cond", "monitor_cond_since") and params[0] == "OVN_Southbound":
            self.asked = {t: r if isinstance(r, list) else [r] for t, r in params[2].items()}
        elif method == "monitor_cond_change":
            for table, requests in params[2].items():
                requests = requests if isinstance(requests, list) else [requests]
                for old, new in zip(self.asked[table], requests):
                    old["where"] = new["where"]


def asked_by(impl, cmd):
    """what a controller of node-0 monitors once it is in step"""
    w = f"{d}/{impl}"
    os.mkdir(w)
    e = dict(os.environ, OVS_RUNDIR=w, OVN_RUNDIR=w, OVS_LOGDIR=w, OVN_LOGDIR=w)
    proxy = Proxy(f"{w}/sb.sock")
    proxy.start()
    sh(f"ovsdb-tool create {w}/conf.db /usr/share/openvswitch/vswitch.ovsschema")
    procs = [P.Popen(["ovsdb-server", f"{w}/conf.db", f"--remote=punix:{w}/db.sock", f"--unixctl={w}/o.ctl", "-vconsole:off"], env=e, stderr=P.DEVNULL)]
    try:
        for _ in range(200):
            if os.path.exists(f"{w}/db.sock"):
                break
            time.sleep(0.05)
        vs = f"ovs-vsctl --db=unix:{w}/db.sock "
        sh(vs + "--no-wait init", env=e)
        procs.append(P.Popen(["ovs-vswitchd", f"unix:{w}/db.sock", f"--unixctl={w}/v.ctl", f"--log-file={w}/v.log", "-vconsole:off", "--enable-dummy=override", "--disable-system"], env=e, stderr=P.DEVNULL))
        sh(vs + "add-br br-int -- set bridge br-int datapath_type=dummy fail_mode=secure", env=e)
        for j in range(min(20, generated.get("ports", 20) // max(1, generated.get("nodes", 1)))):
            sh(vs + f"add-port br-int p{j} -- set interface p{j} type=dummy external_ids:iface-id=pod-0-{j}", env=e)
        sh(vs + f"set open . external-ids:system-id=node-0 external-ids:hostname=node-0 external-ids:ovn-remote=unix:{w}/sb.sock external-ids:ovn-encap-type=geneve external-ids:ovn-encap-ip=127.0.0.1 external-ids:ovn-monitor-all={a.monitor_all}", env=e)
        procs.append(P.Popen(shlex.split(cmd.format(ovs=f"unix:{w}/db.sock", sb=f"unix:{w}/sb.sock", dir=w)), env=e, stdout=open(f"{w}/out", "w"), stderr=P.STDOUT))
        nb.call({"op": "mutate", "table": "NB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]})
        want = nb.call({"op": "select", "table": "NB_Global", "where": [], "columns": ["nb_cfg"]})[0]["rows"][0]["nb_cfg"]
        limit = time.time() + 600
        while True:
            rows = sb.call({"op": "select", "table": "Chassis_Private", "where": [["name", "==", "node-0"]], "columns": ["nb_cfg"]})[0]["rows"]
            if rows and rows[0]["nb_cfg"] >= want:
                break
            if time.time() > limit:
                raise SystemExit(f"{impl}: the controller never caught up")
            time.sleep(0.05)
        chassis = sb.call({"op": "select", "table": "Chassis", "where": [["name", "==", "node-0"]], "columns": ["_uuid"]})[0]["rows"][0]["_uuid"][1]
        return copy.deepcopy(proxy.asked), chassis
    finally:
        for p in reversed(procs):
            p.kill()
            p.wait()


def datapaths():
    rows = sb.call({"op": "select", "table": "Datapath_Binding", "where": [], "columns": ["_uuid", "external_ids"]})[0]["rows"]
    return {dict(r["external_ids"][1])["name"]: r["_uuid"][1] for r in rows}


class Swap:
    """the texts that stand for node-0, as those of another node"""

    def __init__(self, n, chassis, known):
        self.words = {"node-0": f"node-{n}", chassis: f"{n:08x}-0000-4000-8000-000000000000"}
        self.n = n
        for name, uuid in known.items():
            for prefix in ("", "gw-", "ext-"):
                there = known.get(f"{prefix}node-{n}")
                if name == f"{prefix}node-0" and there:
                    self.words.update({uuid: there, there: uuid})

    def __call__(self, value):
        if isinstance(value, str):
            value = self.words.get(value, value)
            return f"pod-{self.n}-" + value[6:] if value.startswith("pod-0-") else value
        if isinstance(value, list):
            return [self(v) for v in value]
        return value


class Follower:
    """a session that reads"""

    def __init__(self, asked):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(sbs)
        self.bytes, self.at, self.tail = 0, None, b""
        self.say({"method": "set_db_change_aware", "id": 0, "params": [True]})
        self.say({"method": "monitor_cond_since", "id": 1, "params": ["OVN_Southbound", "fan", asked, "00000000-0000-0000-0000-000000000000"]})
        self.say({"method": "echo", "id": 2, "params": ["all-is-here"]})
        while b"all-is-here" not in self.tail:
            data = self.s.recv(1 << 20)
            if not data:
                raise SystemExit("the server closed a session")
            if b'"error":{' in data[:200]:
                raise SystemExit(data[:500])
            self.bytes += len(data)
            self.tail = (self.tail + data)[-400:]
        self.snapshot, self.tail = self.bytes, b""
        self.s.setblocking(False)

    def say(self, message):
        self.s.sendall(json.dumps(message).encode())


def measure(impl, cmd):
    asked, chassis = asked_by(impl, cmd)
    known = datapaths()
    clauses = {t: sum(len(r.get("where", [])) for r in rs if isinstance(r.get("where", []), list)) for t, rs in asked.items()}
    print(impl, "clauses:", {t: n for t, n in sorted(clauses.items()) if n > 1}, flush=True)
    t, c0 = time.time(), stat(sbp.pid)[0]
    followers, nodes = [], generated.get("nodes", 1)
    for i in range(a.sessions):
        swap = Swap(i % nodes, chassis, known)
        mine = {t: [dict(r, where=swap(r["where"])) if "where" in r else r for r in rs] for t, rs in asked.items()}
        followers.append(Follower(mine))
    o = {"snapshot_s": (time.time() - t) / a.sessions, "snapshot_cpu_s": (stat(sbp.pid)[0] - c0) / a.sessions, "snapshot_mb": followers[0].snapshot / 1e6}
    poll = select.epoll()
    by_fd = {f.s.fileno(): f for f in followers}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)

    def drain(until):
        """reads whatever comes"""
        while not until():
            for fd, _ in poll.poll(0.02):
                f = by_fd[fd]
                data = f.s.recv(1 << 20)
                f.bytes += len(data)
                f.tail = (f.tail + data)[-(1 << 16):]
                if f.at is None and marker in f.tail:
                    f.at = time.time()
                if b'"method":"echo"' in f.tail:
                    f.say({"id": "echo", "result": [], "error": None})
                    f.tail = b""

    marker = b"\0"
    quiet = time.time() + 0.5
    drain(lambda: time.time() > quiet)
    last, half, cpu, size = [], [], [], []
    # A service of a group that all switches have: every chassis needs it, whatever else it needs.
    group = nb.call({"op": "select", "table": "Load_Balancer_Group", "where": [], "columns": ["_uuid"]})[0]["rows"][0]["_uuid"]
    made = []
    for i in range(a.changes):
        vip = f"10.98.{len(res)}.{100 + i}"
        marker = vip.encode()
        for f in followers:
            f.at, f.bytes, f.tail = None, 0, b""
        c0, t = cpu_ms(sbp.pid), time.time()
        done = nb.call({"op": "insert", "table": "Load_Balancer", "row": {"name": f"fan-{vip}", "protocol": "tcp", "vips": ["map", [[f"{vip}:80", "10.128.0.12:80"]]]}, "uuid-name": "l"},
                       {"op": "mutate", "table": "Load_Balancer_Group", "where": [["_uuid", "==", group]], "mutations": [["load_balancer", "insert", ["named-uuid", "l"]]]})
        made.append(done[0]["uuid"])
        drain(lambda: all(f.at for f in followers) or time.time() > t + 20)
        missing = sum(f.at is None for f in followers)
        if missing:
            raise SystemExit(f"{impl}: {missing} sessions never saw the change")
        times = sorted(f.at - t for f in followers)
        last.append(times[-1] * 1000)
        half.append(times[len(times) // 2] * 1000)
        quiet = time.time() + 0.5
        drain(lambda: time.time() > quiet)
        cpu.append(cpu_ms(sbp.pid) - c0)
        size.append(S.mean(f.bytes for f in followers))
    for f in followers:
        f.s.close()
    nb.call({"op": "mutate", "table": "Load_Balancer_Group", "where": [["_uuid", "==", group]], "mutations": [["load_balancer", "delete", ["set", made]]]},
            *({"op": "delete", "table": "Load_Balancer", "where": [["_uuid", "==", uuid]]} for uuid in made))
    wait_sb(nb, sb)
    return dict(o, update_ms=S.median(last), worst_ms=max(last), half_ms=S.median(half), server_cpu_ms=S.median(cpu), bytes=S.median(size))


res = {}
try:
    for s in a.impl:
        name, cmd = s.split("=", 1)
        res[name] = measure(name, cmd)
        print(name, json.dumps({k: round(v, 3) for k, v in res[name].items()}), flush=True)
finally:
    for p in (northd, nbp, sbp):
        p.terminate()
names = list(res)
print(f"{'':24}" + "".join(f"{n:>14}" for n in names))
for k in res[names[0]]:
    print(f"{k:24}" + "".join(f"{res[n][k]:14.3f}" for n in names))
shutil.rmtree(d, ignore_errors=True)
