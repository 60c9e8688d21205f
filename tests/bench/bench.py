#!/usr/bin/env python3
"""Measures the broker against header-swapping proxies and against other gateways, in one run on the same cores.

nginx and haproxy swap the Authorization header and do nothing else; the broker runs with everything on (authentication,
sealed key, durable intent, outcome, scrub).  Runs are interleaved and medians taken; what counts are ratios, since
absolute times belong to one machine.  With --write the figures of this occasion are kept in occasions.json, and the
document gives medians over the last three occasions of each part.  Needs a release build, nginx, haproxy, wrk, curl,
openssl, a C compiler; the other gateways are installed from npm and PyPI into tests/bench/.peers.

usage: tests/bench/bench.py [--quick] [--seconds N] [--rounds N] [--parts requests,events,...] [--connections 1,64]
                            [--write [--fresh]]   (--write: docs/benchmarks.md and docs/benchmarks.svg; --fresh: forget
                            the occasions before, as after a change of the code)
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import peers
import tables
from parts import PARTS, wrk  # noqa: F401  (wrk and the next are used by ./instructions too)
from peers import ROOT, descendants, free_port  # noqa: F401

OCCASIONS = pathlib.Path(__file__).resolve().parent / "occasions.json"
KEPT = 3


def start_upstream(directory, port):
    return peers.Upstream(directory, port)


def start_broker(directory, upstream):
    broker = peers.Broker(directory, upstream)
    return broker.process, broker.base, broker.token


class Others:
    """How much of the processors others use, from here on: what is used in all less what this script and its children use."""

    def __init__(self):
        self.begin = self.read()

    @staticmethod
    def read():
        fields = [int(one) for one in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        ours, spent = os.times(), 0
        for pid in descendants(os.getpid())[1:]:
            try:
                spent += sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return sum(fields), sum(fields) - fields[3] - fields[4], sum(ours[:4]) * os.sysconf("SC_CLK_TCK") + spent

    def percent(self):
        whole, used, ours = (after - before for before, after in zip(self.begin, self.read()))
        return max(0, round(100 * (used - ours) / whole))


def conditions():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text()).group(1)
    one, five, _ = os.getloadavg()
    probe = pathlib.Path(tempfile.gettempdir()) / f"seks-sync-{os.getpid()}"
    spent = []
    with open(probe, "ab", buffering=0) as file:
        for _ in range(300):
            begin = time.perf_counter()
            file.write(b"x" * 500)
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - begin)
    probe.unlink()
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    spent.sort()
    return {"when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "commit": commit, "cores": f"{os.cpu_count()} cores of {cpu}",
            "load": f"{one:.1f} and {five:.1f}", "sync_us": round(statistics.median(spent) * 1e6), "sync_99_us": round(spent[-4] * 1e6)}


def keep(part, where, figures, fresh):
    """Adds the occasion; those of the part that are to be merged, the last one last."""
    kept = json.loads(OCCASIONS.read_text()) if OCCASIONS.exists() else {}
    before = [] if fresh else [one for one in kept.get(part, []) if one["figures"].keys() == figures.keys()]
    kept[part] = (before + [where | {"figures": {key: float(f"{value:.4g}") for key, value in figures.items()}}])[-KEPT:]
    OCCASIONS.write_text(json.dumps(kept, indent=1) + "\n")


def merged(occasions):
    return {key: statistics.median(one["figures"][key] for one in occasions) for key in occasions[-1]["figures"]}


def said(occasions):
    """The conditions, beside the figures.  Older occasions have no more than the load average, in which the part before is, too."""
    def one_of(one):
        busy = f"others used {one['busy']} % of the processors" if "busy" in one else f"load average before it {one['load']} (1 and 5 min)"
        tail = f", one of a hundred over {one['sync_99_us']}" if "sync_99_us" in one else ""
        return f"{one['when']} UTC{' at ' + one['commit'] if one.get('commit') else ''}: {busy}, append with fdatasync {one['sync_us']} us{tail}"
    shared = any(one["busy"] > 10 if "busy" in one else float(one["load"].split()[0]) > 2 for one in occasions)
    busy = "Others used the machine meanwhile: times and rates say little, ratios of processor time more." if shared else "Nobody else used the machine much."
    return (f"Conditions: {occasions[-1]['cores']}, shared by the load generator, the provider and what is measured; "
            f"{'median of ' + str(len(occasions)) + ' occasions' if len(occasions) > 1 else 'one occasion'} ({'; '.join(one_of(one) for one in occasions)}). {busy}")


def write():
    """The document from all that is kept; sections that are not ours stay."""
    path, kept = ROOT / "docs" / "benchmarks.md", json.loads(OCCASIONS.read_text())
    old = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", path.read_text(), re.M | re.S)) if path.exists() else {}
    out = ["# Benchmarks", "", "Made by `tests/bench/bench.py --write` (see there what it needs); trust the ratios, not the times.", ""]
    for part, (title, section) in tables.SECTIONS.items():
        if part in kept:
            out += [f"## {title}", "", *section(merged(kept[part])), "", said(kept[part]), ""]
        elif title in old:
            out += [f"## {title}", old[title].rstrip("\n"), ""]
    for title, text in old.items():  # those of other scripts
        if title not in [name for name, _ in tables.SECTIONS.values()]:
            out += [f"## {title}", text.rstrip("\n"), ""]
    path.write_text("\n".join(out))
    if "requests" in kept:
        (ROOT / "docs" / "benchmarks.svg").write_text(tables.plot(merged(kept["requests"])))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a short one: a round of a second each, without other gateways")
    options.add_argument("--seconds", type=int, default=3)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--mib", type=int, default=256, help="of a large body")
    options.add_argument("--connections", type=lambda text: [int(one) for one in text.split(",")], default=[1, 16, 64, 256])
    options.add_argument("--parts", default=None, help=",".join(PARTS))
    options.add_argument("--write", action="store_true")
    options.add_argument("--fresh", action="store_true")
    options = options.parse_args()
    if options.quick:
        options.seconds, options.rounds = 1, 1
    names = options.parts.split(",") if options.parts else [name for name in PARTS if not (options.quick and name == "gateways")]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    directory = pathlib.Path(tempfile.mkdtemp(prefix="seks-bench-"))
    directory.chmod(0o755)
    with peers.World(directory) as world:
        for part in names:
            where, begin, others = conditions(), time.monotonic(), Others()
            figures = PARTS[part](options, world)
            print("\n".join(tables.SECTIONS[part][1](figures)), f"\n({part}: {time.monotonic() - begin:.0f} s, others used {others.percent()} % of the processors)\n", flush=True)
            if options.write:
                where["busy"] = others.percent()
                keep(part, where, figures, options.fresh)
                write()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
