"""What the benchmarks share: a small OVSDB client, servers, processor time and memory of a process."""
import json
import os
import socket
import subprocess as P
import time


class Rpc:
    """An OVSDB session: `PATH`, `unix:PATH` or `tcp:HOST:PORT`."""

    def __init__(self, target, db):
        if target.startswith("tcp:"):
            host, port = target[4:].rsplit(":", 1)
            self.s = socket.create_connection((host, int(port)))
        else:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.connect(target.removeprefix("unix:"))
        self.buf, self.n, self.dec, self.db = "", 0, json.JSONDecoder(), db

    def call(self, *ops):
        self.n += 1
        self.s.sendall(json.dumps({"method": "transact", "id": self.n, "params": [self.db, *ops]}).encode())
        while True:
            try:
                msg, end = self.dec.raw_decode(self.buf)
                self.buf = self.buf[end:].lstrip()
            except ValueError:
                d = self.s.recv(1 << 20)
                if not d:
                    raise SystemExit("database closed the connection")
                self.buf += d.decode()
                continue
            if msg.get("method") == "echo":
                self.s.sendall(json.dumps({"id": msg["id"], "result": msg["params"], "error": None}).encode())
                continue
            break
        if msg.get("error"):
            raise SystemExit(f"transact: {msg['error']}")
        for i, r in enumerate(msg["result"]):
            if r and "error" in r:
                raise SystemExit(f"transact: {r} in {ops[i] if i < len(ops) else ops[-1]}")
        return msg["result"]


def stat(pid):
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    cpu = (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
    hwm = rss = 0
    for l in open(f"/proc/{pid}/status"):
        if l.startswith("VmHWM"):
            hwm = int(l.split()[1]) / 1024
        if l.startswith("VmRSS"):
            rss = int(l.split()[1]) / 1024
    return cpu, hwm, rss


def server(d, name, db, extra=()):
    sock = f"{d}/{name}.sock"
    p = P.Popen(["ovsdb-server", db, f"--remote=punix:{sock}", f"--unixctl={d}/{name}.ctl", f"--log-file={d}/{name}.log", "-vconsole:off", *extra],
                stdout=P.DEVNULL, stderr=P.DEVNULL)
    for _ in range(600):
        if os.path.exists(sock):
            return p, sock
        time.sleep(0.05)
    raise SystemExit("ovsdb-server did not start")


def end(processes):
    """Ends processes, the last one first, by force if need be."""
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except P.TimeoutExpired:
            process.kill()
            process.wait()


def wait_sb(nb, sb, timeout=900):
    """bump nb_cfg, wait until NB_Global.sb_cfg follows; returns seconds"""
    t = time.time()
    nb.call({"op": "mutate", "table": "NB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]})
    want = nb.call({"op": "select", "table": "NB_Global", "where": [], "columns": ["nb_cfg"]})[0]["rows"][0]["nb_cfg"]
    # Short, or the pauses are what is measured.
    pause = 0.0001
    while time.time() - t < timeout:
        if nb.call({"op": "select", "table": "NB_Global", "where": [], "columns": ["sb_cfg"]})[0]["rows"][0]["sb_cfg"] >= want:
            return time.time() - t
        time.sleep(pause)
        pause = min(pause * 1.2, 0.05)
    raise SystemExit("southbound never caught up")
