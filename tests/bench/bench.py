#!/usr/bin/env python3
"""Measures the broker against nginx as a header-swapping proxy, in the same run on the same cores.

One nginx is the provider (1 KiB of JSON), another swaps the Authorization header and writes its
access log, and the broker runs with everything on under ./run.  Runs are interleaved and medians
taken; figures are ratios, since absolute times belong to one machine.  Needs nginx and wrk.

usage: tests/bench/bench.py [--seconds N] [--rounds N] [--write]   (--write: docs/benchmarks.md)
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")
KEY = "sk-benchmark-0123456789abcdef0123456789abcdef"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nginx_conf(directory, port, server, log):
    return f"""
daemon off; worker_processes 1; pid {directory}/nginx-{port}.pid; error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {log}; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  keepalive_requests 100000000;
  {server}
}}"""


class Nginx:
    def __init__(self, directory, port, server, log="off"):
        conf = directory / f"nginx-{port}.conf"
        conf.write_text(nginx_conf(directory, port, server, log))
        self.process = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf)],
                                        stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def descendants(pid):
    out = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    children = {}
    for line in out.stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    todo, found = [pid], []
    while todo:
        one = todo.pop()
        found.append(one)
        todo.extend(children.get(one, []))
    return found


def cpu_by_name(pid):
    usage = {}
    for one in descendants(pid):
        try:
            text = pathlib.Path(f"/proc/{one}/stat").read_text()
        except FileNotFoundError:
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        fields = text[text.rindex(")") + 2:].split()
        usage[name] = usage.get(name, 0) + (int(fields[11]) + int(fields[12])) / TICK
    return usage


def memory_mib(pid):
    total = 0
    for one in descendants(pid):
        try:
            text = pathlib.Path(f"/proc/{one}/smaps_rollup").read_text()
            name = pathlib.Path(f"/proc/{one}/comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name.startswith("seks-"):
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return total / 1024


def call(base, method, path, body=None, headers=None):
    request = urllib.request.Request(base + path, method=method, headers=headers or {},
                                     data=json.dumps(body).encode() if body is not None else None)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer), answer.headers


def start_broker(directory, upstream):
    port = free_port()
    providers = directory / "providers.json"
    providers.write_text(json.dumps({"providers": [
        {"name": "openai", "origin": f"http://127.0.0.1:{upstream}", "allow_insecure": True}]}))
    process = subprocess.Popen([str(ROOT / "run"), "--listen", f"127.0.0.1:{port}", "--data",
                                str(directory / "data"), "--providers", str(providers)],
                               stdout=subprocess.PIPE, text=True, stderr=open(directory / "broker.log", "w"))
    for line in process.stdout:
        if "SEKS Broker is ready" in line:
            break
    base = f"http://127.0.0.1:{port}"
    account, headers = call(base, "POST", "/v1/account", {"email": "b@example.com", "password": "benchmark password"})
    session = {"Cookie": headers["Set-Cookie"].split(";")[0], "X-CSRF-Token": account["csrf"]}
    call(base, "PUT", "/v1/account/secrets/OPENAI_API_KEY", {"value": KEY}, session)
    agent, _ = call(base, "POST", "/v1/account/agents", {"name": "bench"}, session)
    token, _ = call(base, "POST", f"/v1/account/agents/{agent['agent']['id']}/tokens", {"provider": "openai"}, session)
    return process, base, token["value"]


def wrk(url, token, connections, seconds):
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H",
                          f"Authorization: Bearer {token}", url], capture_output=True, text=True, check=True).stdout
    unit = {"us": 1e-3, "ms": 1, "s": 1e3}
    def percentile(name):
        number, suffix = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(number) * unit[suffix]
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), "requests": requests,
            "p50": percentile(50), "p99": percentile(99), "bad": int(bad.group(1)) if bad else 0}


def measure(url, token, connections, seconds, pid):
    before = cpu_by_name(pid)
    result = wrk(url, token, connections, seconds)
    after = cpu_by_name(pid)
    result["cpu"] = {n: (after[n] - before.get(n, 0)) * 1e6 / max(result["requests"], 1) for n in after}
    result["cpu_us"] = sum(result["cpu"].values())
    return result


def start_upstream(directory, port):
    body = json.dumps({"pad": "x" * 1010})
    return Nginx(directory, port, f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ "
                 f"default_type application/json; return 200 '{body}'; }} }}")


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--write", action="store_true")
    options = options.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="seks-bench-"))
    upstream, proxy = free_port(), free_port()
    body = json.dumps({"pad": "x" * 1010})
    started = [
        Nginx(directory, upstream, f"server {{ listen 127.0.0.1:{upstream} backlog=4096; location / {{ "
              f"default_type application/json; return 200 '{body}'; }} }}"),
        Nginx(directory, proxy, f"upstream u {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }} "
              f"map $http_authorization $key {{ default 'Bearer {KEY}'; }} server {{ listen 127.0.0.1:{proxy} backlog=4096; "
              "location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ''; "
              "proxy_set_header Authorization $key; proxy_buffering off; } }", log=str(directory / "access.log"))]
    broker, base, token = start_broker(directory, upstream)
    time.sleep(0.5)
    idle = memory_mib(broker.pid)
    peers = {"nginx": (f"http://127.0.0.1:{proxy}/v1/models", started[1].process.pid),
             "broker": (f"{base}/api/openai/v1/models", broker.pid)}
    lines = ["| connections | nginx req/s | broker req/s | ratio | nginx CPU us/req | broker CPU us/req | CPU ratio | p50 added ms | p99 added ms |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    parts = {}
    try:
        for connections in (1, 16, 64, 256):
            rows = {name: [] for name in peers}
            for _ in range(options.rounds):
                for name, (url, pid) in peers.items():
                    rows[name].append(measure(url, token, connections, options.seconds, pid))
            bad = sum(row["bad"] for row in rows["broker"])
            n, b = rows["nginx"], rows["broker"]
            parts[connections] = b[-1]["cpu"]
            lines.append("| {} | {:.0f} | {:.0f} | {:.2f} | {:.1f} | {:.1f} | {:.2f} | {:.2f} | {:.2f} |{}".format(
                connections, median(n, "rate"), median(b, "rate"), median(b, "rate") / median(n, "rate"),
                median(n, "cpu_us"), median(b, "cpu_us"), median(b, "cpu_us") / median(n, "cpu_us"),
                median(b, "p50") - median(n, "p50"), median(b, "p99") - median(n, "p99"),
                f" {bad} answers were not 2xx" if bad else ""))
            print(lines[-1], flush=True)
        print("CPU us per request by daemon at 64:", {k: round(v, 1) for k, v in parts[64].items() if k.startswith("seks")})
        print(f"memory of four daemons: idle {idle:.0f} MiB, after load {memory_mib(broker.pid):.0f} MiB")
    finally:
        broker.send_signal(signal.SIGTERM)
        broker.wait()
        for one in started:
            one.stop()
    if options.write:
        write(lines, parts[64], idle)
    shutil.rmtree(directory)


def write(lines, parts, idle):
    text = ["# Benchmarks", "",
            "Made by `tests/bench/bench.py --write`: one nginx is the provider (1 KiB of JSON, plain HTTP on loopback), another swaps the",
            "header and writes its access log, the broker runs with everything on (authentication, sealed key, durable intent, outcome,",
            "scrub). Interleaved runs, medians, wrk with one thread on the same cores as all others: trust the ratios.", "",
            *lines, "", "CPU microseconds per request by daemon at 64 connections: "
            + ", ".join(f"{k} {v:.1f}" for k, v in sorted(parts.items()) if k.startswith("seks")) + ".",
            f"Memory of the four daemons when idle: {idle:.0f} MiB (proportional set size).", ""]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
