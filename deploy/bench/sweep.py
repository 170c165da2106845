#!/usr/bin/env python3
"""Time and memory of northd over sizes, stock beside ours, with a plot.

  sweep.py --impl 'stock=ovn-northd --ovnnb-db={nb} --ovnsb-db={sb} --unixctl={dir}/n.ctl -vconsole:off' \\
      --impl 'weft=weft-northd --ovnnb-db={nb} --ovnsb-db={sb} --unixctl={dir}/n.ctl --log-file={dir}/n.log -vconsole:off --grpc none' \\
      --nodes 20,60,120,250,500 --json sweep.json --svg docs/sweep.svg --markdown docs/sweep.md

Runs northd_bench.py once per size, all implementations in turn within it, and the shape of OpenStack at the end
(--openstack "--projects 40 --vms 25"; empty for none). An implementation that takes more than --limit seconds at a size
is left out at larger ones. What has been measured is written after each size, and --resume goes on from there.
"""
import argparse
import json
import os
import subprocess as P
import sys
import xml.sax.saxutils as xml

HERE = os.path.dirname(os.path.abspath(__file__))
# Figure, what it is called, unit.
FIGURES = [("cold_s", "cold start", "s"), ("cold_cpu_s", "cold start, CPU of northd", "s"), ("peak_mib", "peak memory", "MiB"),
           ("inc_port_ms", "one port", "ms"), ("inc_service_ms", "one service", "ms"), ("inc_acl_ms", "one ACL", "ms")]
COLOURS = ["#c44e52", "#4c72b0", "#55a868", "#8172b2"]


def run(gen, specs, a):
    """Figures of each implementation for a shape; those that did not end in time have none."""
    results = {}
    for spec in specs:
        name = spec.split("=", 1)[0]
        argv = [sys.executable, f"{HERE}/northd_bench.py", "--gen", gen, "--schema-dir", a.schema_dir, "--rounds", str(a.rounds),
                "--changes", str(a.changes), "--impl", spec]
        try:
            text = P.run(argv, stdout=P.PIPE, text=True, timeout=a.limit, check=True).stdout
        except (P.TimeoutExpired, P.CalledProcessError) as error:
            print(f"{gen}: {name}: {error.__class__.__name__}", flush=True)
            continue
        rounds = [json.loads(line.split(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} {{")]
        results[name] = {key: sorted(r[key] for r in rounds)[len(rounds) // 2] for key in rounds[0] if rounds[0][key] is not None}
        print(gen, name, json.dumps(results[name]), flush=True)
    return results


def panel(results, names, sizes, figure, x, y, width, height):
    key, title, unit = figure
    values = [results[s][n][key] for s in sizes for n in names if n in results.get(s, {}) and key in results[s][n]]
    top = max(values, default=1) * 1.1
    at = lambda size, value: (x + int(size) / int(sizes[-1]) * width, y + height - value / top * height)
    out = [f'<text x="{x}" y="{y - 8}" font-weight="bold">{xml.escape(title)} ({unit})</text>',
           f'<path d="M{x},{y} V{y + height} H{x + width}" fill="none" stroke="#444"/>']
    for part in (0.5, 1.0):
        level = y + height - part / 1.1 * height
        out.append(f'<path d="M{x},{level:.1f} h{width}" stroke="#ddd"/><text x="{x - 6}" y="{level + 4:.1f}" text-anchor="end">{top / 1.1 * part:.3g}</text>')
    for size in sizes:
        out.append(f'<text x="{at(size, 0)[0]:.1f}" y="{y + height + 16}" text-anchor="middle">{size}</text>')
    for colour, name in zip(COLOURS, names):
        points = [at(s, results[s][name][key]) for s in sizes if key in results.get(s, {}).get(name, {})]
        out.append(f'<polyline points="{" ".join(f"{px:.1f},{py:.1f}" for px, py in points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in points]
    return out


def svg(results, names):
    sizes = sorted((s for s in results if s.isdigit()), key=int)
    width, height, gap = 300, 180, 80
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{3 * (width + gap) + 20}" height="{2 * (height + gap) + 40}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for i, (colour, name) in enumerate(zip(COLOURS, names)):
        out.append(f'<rect x="{60 + 120 * i}" y="8" width="12" height="12" fill="{colour}"/><text x="{78 + 120 * i}" y="19">{xml.escape(name)}</text>')
    for i, figure in enumerate(FIGURES):
        out += panel(results, names, sizes, figure, 60 + i % 3 * (width + gap), 60 + i // 3 * (height + gap), width, height)
    return "\n".join(out + ["</svg>", ""])


def markdown(results, names, a):
    lines = [f"`deploy/bench/sweep.py`, nodes of `k8s --pods {a.pods}` and `openstack {a.openstack}`; " + " / ".join(names) + ".", "",
             "| shape | " + " | ".join(f"{title}, {unit}" for _, title, unit in FIGURES) + " |", "| --- |" + " --- |" * len(FIGURES)]
    for shape in sorted(results, key=lambda s: (not s.isdigit(), int(s) if s.isdigit() else 0)):
        cell = lambda n, key: f"{results[shape][n][key]:,.{0 if results[shape][n][key] >= 100 else 1 if results[shape][n][key] >= 10 else 2}f}" if key in results[shape].get(n, {}) else "-"
        lines.append(f"| {shape} | " + " | ".join(" / ".join(cell(n, key) for n in names) for key, _, _ in FIGURES) + " |")
    return "\n".join(lines) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--impl", action="append", required=True, help="NAME=COMMAND; the command line of a northd")
    ap.add_argument("--nodes", default="20,60,120,250,500")
    ap.add_argument("--pods", type=int, default=45)
    ap.add_argument("--openstack", default="--projects 40 --vms 25")
    ap.add_argument("--rounds", type=int, default=1)
    ap.add_argument("--changes", type=int, default=3)
    ap.add_argument("--limit", type=float, default=600, help="seconds for one implementation at one size")
    ap.add_argument("--schema-dir", default="/usr/share/ovn")
    ap.add_argument("--json", help="figures; with --resume read first")
    ap.add_argument("--resume", action="store_true")
    ap.add_argument("--svg")
    ap.add_argument("--markdown")
    a = ap.parse_args()
    names = [spec.split("=", 1)[0] for spec in a.impl]
    results = json.load(open(a.json)) if a.resume and a.json and os.path.exists(a.json) else {}
    shapes = [(n, f"k8s --nodes {n} --pods {a.pods}") for n in a.nodes.split(",") if n]
    if a.openstack:
        shapes.append(("openstack", f"openstack {a.openstack}"))
    slow = set()
    for shape, gen in shapes:
        todo = [s for s in a.impl if (n := s.split("=", 1)[0]) not in results.get(shape, {}) and (n not in slow or not shape.isdigit())]
        results.setdefault(shape, {}).update(run(gen, todo, a))
        if shape.isdigit():
            slow |= {s.split("=", 1)[0] for s in todo} - set(results[shape])
        for path, text in ((a.json, json.dumps(results, indent=1)), (a.svg, svg(results, names)), (a.markdown, markdown(results, names, a))):
            if path:
                with open(path, "w") as file:
                    file.write(text)
    print(markdown(results, names, a))


if __name__ == "__main__":
    main()
