#!/usr/bin/env python3
"""Measures the broker against header-swapping proxies and against other gateways, in one run on the same cores.

An nginx is the provider.  nginx and haproxy swap the Authorization header and do nothing else; the broker runs with
everything on (authentication, sealed key, durable intent, outcome, scrub).  Runs are interleaved and medians taken;
what counts are ratios, since absolute times belong to one machine.  Needs nginx, haproxy, wrk, curl, openssl; the other
gateways are installed from npm and PyPI into tests/bench/.peers when that is asked for.

usage: tests/bench/bench.py [--seconds N] [--rounds N] [--parts requests,gateways,events,bodies] [--write]
       (--write: docs/benchmarks.md and docs/benchmarks.svg; a part that was not run keeps its old text)
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

import peers
from peers import ROOT, descendants, free_port  # noqa: F401  (used by ./instructions too)

CONNECTIONS = (1, 16, 64, 256)
PARTS = ("requests", "gateways", "events", "bodies")
BODY_MIB = 512


def cpu_by_name(pid):
    """Seconds on a core so far, by the program's name; from the scheduler's own nanoseconds."""
    usage = {}
    for one in descendants(pid):
        try:
            name = pathlib.Path(f"/proc/{one}/comm").read_text().strip()
            spent = sum(int(task.read_text().split()[0]) for task in pathlib.Path(f"/proc/{one}/task").glob("*/schedstat"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        usage[name] = usage.get(name, 0) + spent / 1e9
    return usage


def memory_mib(pid, prefix="seks-"):
    total = 0
    for one in descendants(pid):
        try:
            name = pathlib.Path(f"/proc/{one}/comm").read_text().strip()
            text = pathlib.Path(f"/proc/{one}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name.startswith(prefix):
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return total / 1024


def wrk(url, token, connections, seconds, script=None, headers=()):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s",
               "-H", f"Authorization: Bearer {token}"]
    for header in headers:
        command += ["-H", header]
    out = subprocess.run([*command, *(["-s", script] if script else []), url], capture_output=True, text=True, check=True).stdout
    unit = {"us": 1e-3, "ms": 1, "s": 1e3}

    def percentile(name):
        number, suffix = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(number) * unit[suffix]

    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            "requests": int(re.search(r"(\d+) requests in", out).group(1)),
            "p50": percentile(50), "p99": percentile(99), "bad": int(bad.group(1)) if bad else 0}


def measure(peer, connections, seconds, script=None):
    before = cpu_by_name(peer.pid)
    result = wrk(peer.url, peer.token, connections, seconds, script, peer.headers)
    after = cpu_by_name(peer.pid)
    result["cpu"] = {n: (after[n] - before.get(n, 0)) * 1e6 / max(result["requests"], 1) for n in after}
    result["cpu_us"] = sum(result["cpu"].values())
    return result


def start_upstream(directory, port):
    return peers.Upstream(directory, port)


def start_broker(directory, upstream):
    broker = peers.Broker(directory, upstream)
    return broker.process, broker.base, broker.token


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def interleave(options, them, connections, script=None):
    rows = {peer.name: [] for peer in them}
    for _ in range(options.rounds):
        for peer in them:
            rows[peer.name].append(measure(peer, connections, options.seconds, script))
    bad = {name: sum(row["bad"] for row in rows[name]) for name in rows}
    assert not any(bad.values()), f"answers that were not 2xx: {bad}"
    return {name: {key: median(rows[name], key) for key in ("rate", "p50", "p99", "cpu_us")} | {"cpu": rows[name][-1]["cpu"]}
            for name in rows}


# ---- requests per second, latency, CPU ----

def requests_part(options, world):
    them = [world.nginx, world.haproxy, world.broker, world.nginx_tls, world.broker_tls, world.broker_curve]
    base = {"broker, https provider": "nginx, https provider"}
    idle = memory_mib(world.broker.pid)
    lines = ["| connections | | req/s | to nginx | CPU us/req | to nginx | p50 ms | p99 ms | p50 added | p99 added |", "| --- " * 10 + "|"]
    results = {}
    for connections in CONNECTIONS:
        results[connections] = found = interleave(options, them, connections)
        for peer in them:
            row, nginx = found[peer.name], found[base.get(peer.name, "nginx")]
            lines.append("| {} | {} | {:.0f} | {:.2f} | {:.1f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |".format(
                connections, peer.name, row["rate"], row["rate"] / nginx["rate"], row["cpu_us"], row["cpu_us"] / nginx["cpu_us"],
                row["p50"], row["p99"], row["p50"] - nginx["p50"], row["p99"] - nginx["p99"]))
            print(lines[-1], flush=True)
    daemons = {n: v for n, v in results[64]["broker"]["cpu"].items() if n.startswith("seks-")}
    lines += ["", "CPU microseconds per request by daemon at 64 connections: " + ", ".join(
        f"{n} {v:.1f}" for n, v in sorted(daemons.items())) + ".",
        f"Memory of the four daemons (proportional set size): {idle:.0f} MiB idle, {memory_mib(world.broker.pid):.0f} MiB after the load."]
    plot({c: {p.name: results[c][p.name]["rate"] / results[c]["nginx"]["rate"] for p in them[1:3] + them[5:]} for c in CONNECTIONS}, options)
    return ["1 KiB of JSON. \"https provider\" is TLS towards the provider and compared with nginx doing the same; \"tcp and CURVE\" has the "
            "daemons talk over TCP with CURVE instead of local sockets.", "", *lines, "", "![Requests per second, as a share of nginx's](benchmarks.svg)"]


def plot(shares, options):
    """Bars of the share of nginx's requests per second, by connections."""
    names = list(next(iter(shares.values())))
    colours = ["#8c8c8c", "#1f6feb", "#8250df"]
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 320" font-family="sans-serif" font-size="12">',
             '<rect width="640" height="320" fill="#fff"/>']
    for i in range(0, 6):
        y = 260 - i * 40
        parts.append(f'<path d="M50 {y}H620" stroke="#ddd"/><text x="42" y="{y + 4}" text-anchor="end">{i * 0.2:.1f}</text>')
    for g, (connections, row) in enumerate(shares.items()):
        for i, name in enumerate(names):
            x, height = 70 + g * 140 + i * 36, min(row[name], 1.2) * 200
            parts.append(f'<rect x="{x}" y="{260 - height:.0f}" width="32" height="{height:.0f}" fill="{colours[i]}"/>'
                         f'<text x="{x + 16}" y="{254 - height:.0f}" text-anchor="middle">{row[name]:.2f}</text>')
        parts.append(f'<text x="{122 + g * 140}" y="278" text-anchor="middle">{connections} connections</text>')
    for i, name in enumerate(names):
        parts.append(f'<rect x="{70 + i * 190}" y="294" width="12" height="12" fill="{colours[i]}"/><text x="{88 + i * 190}" y="304">{name}</text>')
    if options.write:
        (ROOT / "docs" / "benchmarks.svg").write_text("\n".join([*parts, "</svg>", ""]))


# ---- other gateways ----

def gateways_part(options, world):
    script = world.directory / "chat.lua"
    script.write_text("wrk.method='POST'\nwrk.headers['Content-Type']='application/json'\nwrk.body='" + json.dumps(
        {"model": "gpt-bench", "messages": [{"role": "user", "content": "hello"}]}) + "'\n")
    them = [world.nginx.at("/v1/chat/completions"), world.broker.at("/api/openai/v1/chat/completions"), *peers.gateways(world)]
    found = interleave(options, them, 64, str(script))
    lines = ["| | req/s | the broker is | CPU us/req | p50 ms | p99 ms |", "| --- " * 6 + "|"]
    for peer in them:
        row = found[peer.name]
        lines.append("| {} | {:.0f} | {:.2f} times as fast | {:.0f} | {:.1f} | {:.1f} |".format(
            peer.label, row["rate"], found["broker"]["rate"] / row["rate"], row["cpu_us"], row["p50"], row["p99"]))
        print(lines[-1], flush=True)
    return ["A chat completion (POST, 1 KiB back) at 64 connections. None of the others opens a sealed key or writes a durable record for "
            "each call.", "", *lines]


# ---- event streams ----

def events_part(options, world):
    out = {}
    for name, url in {"direct": f"{world.events.origin}/v1/events", "nginx": world.nginx.at("/v1/events").url,
                      "broker": world.broker.at("/api/notion/v1/events").url}.items():
        pid = {"nginx": world.nginx.pid, "broker": world.broker.pid}.get(name)
        before = sum(cpu_by_name(pid).values()) if pid else 0
        token = world.broker.events_token if name == "broker" else "x"
        run = subprocess.run(["python3", str(ROOT / "tests/bench/events.py"), "read", url, token, "200", "10"],
                             capture_output=True, text=True, check=True)
        out[name] = json.loads(run.stdout)
        out[name]["memory"] = out[name]["count"] and memory_mib(world.broker.pid) if name == "broker" else 0
        out[name]["cpu"] = (sum(cpu_by_name(pid).values()) - before) * 1e6 / out[name]["count"] if pid else 0
        print(name, out[name], flush=True)
    direct = out["direct"]
    lines = ["| | events | p50 added us | p99 added us | CPU us/event |", "| --- " * 5 + "|"]
    for name, row in out.items():
        lines.append(f"| {name} | {row['count']} | {row['p50'] - direct['p50']:.0f} | {row['p99'] - direct['p99']:.0f} | {row['cpu']:.1f} |")
    return [f"200 streams of 50 events/s each, for 10 s, from one Python program to another (direct: p50 {direct['p50']:.0f} us, p99 "
            f"{direct['p99']:.0f} us).", "", *lines, "", f"Memory of the four daemons meanwhile: {out['broker']['memory']:.0f} MiB."]


# ---- large bodies ----

def transfer(url, token, *arguments):
    out = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{speed_download} %{speed_upload} %{http_code}", "-H",
                          f"Authorization: Bearer {token}", "-H", "Expect:", *arguments, url], capture_output=True, text=True, check=True)
    down, up, status = out.stdout.split()
    assert status == "200", out.stdout
    return max(float(down), float(up)) / 1e9


def bodies_part(options, world):
    lines = ["| | GB/s down | GB/s up |", "| --- " * 3 + "|"]
    speed = {}
    for _ in range(options.rounds):
        for peer in (world.nginx, world.broker):
            prefix = "/api/openai" if peer is world.broker else ""
            down = transfer(peer.at(f"{prefix}/v1/large").url, peer.token)
            up = transfer(peer.at(f"{prefix}/v1/upload").url, peer.token, "-X", "PUT", "-T", str(world.upstream.large))
            speed.setdefault(peer.name, []).append((down, up))
    for name, rows in speed.items():
        lines.append(f"| {name} | {statistics.median(r[0] for r in rows):.2f} | {statistics.median(r[1] for r in rows):.2f} |")
        print(lines[-1], flush=True)
    return [f"One body of {BODY_MIB} MiB at a time; nginx with its buffering off.", "", *lines]


# ---- all of it ----

def conditions():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text()).group(1)
    one, five, _ = os.getloadavg()
    probe = pathlib.Path(tempfile.gettempdir()) / f"seks-sync-{os.getpid()}"
    times = []
    with open(probe, "ab", buffering=0) as file:
        for _ in range(100):
            begin = time.perf_counter()
            file.write(b"x" * 500)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    probe.unlink()
    return (f"{os.cpu_count()} cores of {cpu}, shared by the load generator, the provider and what is measured; load average before the "
            f"run {one:.1f} (1 min) and {five:.1f} (5 min), so others were {'at' if one > 0.7 else 'not at'} work on the machine; an append "
            f"with fdatasync took {statistics.median(times) * 1e6:.0f} us (median). {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC.")


def write(texts):
    path = ROOT / "docs" / "benchmarks.md"
    old = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", path.read_text(), re.M | re.S)) if path.exists() else {}
    titles = {"requests": "Requests", "gateways": "Other gateways", "events": "Event streams", "bodies": "Large bodies"}
    out = ["# Benchmarks", "", "Made by `tests/bench/bench.py --write` (see there what it needs); trust the ratios, not the times.", ""]
    for part, title in titles.items():
        text = "\n".join(["", *texts[part], ""]) if part in texts else old.get(title)
        if text:
            out += [f"## {title}", text.rstrip("\n"), ""]
    for title, text in old.items():  # those of other scripts
        if title not in titles.values():
            out += [f"## {title}", text.rstrip("\n"), ""]
    path.write_text("\n".join(out))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--parts", default=",".join(PARTS))
    options.add_argument("--write", action="store_true")
    options = options.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="seks-bench-"))
    directory.chmod(0o755)  # nginx reads the large body as another user
    where, texts = conditions(), {}
    print(where)
    run = {"requests": requests_part, "gateways": gateways_part, "events": events_part, "bodies": bodies_part}
    with peers.World(directory, BODY_MIB) as world:
        for part in options.parts.split(","):
            texts[part] = [*run[part](options, world), "", f"Conditions: {where}"]
            if options.write:
                write(texts)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
