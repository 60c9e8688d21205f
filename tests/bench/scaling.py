#!/usr/bin/env python3
"""CPU per request of each daemon for 1 to 3 gateways and proxies against one vault, and for 1 to 3 vaults on one
PostgreSQL, on hosts of their own.

Needs root, wrk, nginx, PostgreSQL's server and a release build; run with the tests' Python:
    tests/e2e/.venv/bin/python tests/bench/scaling.py [--store sqlite|postgres]
Processor time is counted, so that the figures hold on a machine with few cores, where throughput says little."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
os.environ.setdefault("SEKS_BUILD", str(pathlib.Path(__file__).resolve().parents[2] / "build/release"))
import cluster as net  # noqa: E402

SECONDS, CONNECTIONS = 6, 64
TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def database(cluster):
    """The processes of the server."""
    master = (cluster.postgres / "pg/data/postmaster.pid").read_text().split()[0]
    return [master, *subprocess.run(["pgrep", "-P", master], capture_output=True, text=True).stdout.split()]


def spent_by(cluster, nodes):
    """Seconds so far, by kind of daemon."""
    spent = {}
    for node in nodes:
        kind = node.rstrip("0123456789")
        spent[kind] = spent.get(kind, 0) + cpu(cluster.processes[node].pid)
    if cluster.store:
        spent["database"] = sum(cpu(pid) for pid in database(cluster))
    return spent


def wrk(cluster, gateway, token):
    script = cluster.directory / "post.lua"
    script.write_text('wrk.method = "POST"\nwrk.body = "{}"\n')
    out = subprocess.run(["ip", "netns", "exec", cluster.space("client"), "wrk", f"-d{SECONDS}", f"-c{CONNECTIONS}", "-t1", "-s", script,
                          "-H", f"Authorization: Bearer {token}", f"http://{cluster.nodes[gateway]}:8787/api/openai/x"],
                         capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return int(re.search(r"(\d+) requests in", out).group(1)) - int(bad.group(1) if bad else 0)


NGINX = """daemon off; pid {d}/nginx.pid; error_log /dev/null; worker_processes 1; events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {d}/nginx; proxy_temp_path {d}/nginx; fastcgi_temp_path {d}/nginx;
uwsgi_temp_path {d}/nginx; scgi_temp_path {d}/nginx;
server {{ listen {address}:9000; location / {{ return 200 "{body}"; }} }} }}
"""


def serve(cluster):
    """nginx in the provider's place: 1 KiB, fast enough never to be what is measured."""
    cluster.server.shutdown()
    cluster.server.server_close()
    (cluster.directory / "nginx").mkdir()  # it gives its directories away to its own user
    config = cluster.directory / "nginx.conf"
    config.write_text(NGINX.format(d=cluster.directory, address=cluster.nodes["provider"], body="x" * 1024))
    return subprocess.Popen(["ip", "netns", "exec", cluster.space("provider"), "nginx", "-c", config], stderr=subprocess.DEVNULL)


def measure(gateways, proxies, vaults=1, postgres=False):
    """Requests per second, and microseconds of CPU per request for each kind of daemon."""
    with tempfile.TemporaryDirectory() as directory:
        cluster = net.Cluster(directory)
        provider = serve(cluster)
        try:
            gates = [f"gateway{i + 1}" for i in range(gateways)]
            nodes = ["audit", *gates, *(f"vault{i + 1}" for i in range(vaults)), *(f"proxy{i + 1}" for i in range(proxies))]
            cluster.resolve(vault=[n for n in nodes if n.startswith("vault")], audit=["audit"],
                            proxies=[n for n in nodes if n.startswith("proxy")])
            if postgres:
                cluster.start_postgres()
            cluster.start(*nodes)
            while not all(cluster.ready(n) for n in nodes):
                time.sleep(0.1)
            client = net.Client(cluster, gates)
            before = spent_by(cluster, nodes)
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(gateways) as pool:
                count = sum(pool.map(lambda g: wrk(cluster, g, client.token), gates))
            took = time.monotonic() - began
            return count / took, {kind: (after - before[kind]) / count * 1e6 for kind, after in spent_by(cluster, nodes).items()}
        finally:
            provider.terminate()
            provider.wait()
            cluster.close()


SETS = {"sqlite": [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 1), (3, 3, 1)], "postgres": [(1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 3), (3, 3, 3)]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", choices=SETS, default="sqlite")
    store = parser.parse_args().store
    kinds = ["gateway", "proxy", "vault", "audit"] + ["database"] * (store == "postgres")
    print("| gateways | proxies | vaults | requests/s | " + " | ".join(f"{k} us" for k in kinds) + " |\n" + "| --- " * (4 + len(kinds)) + "|")
    for gateways, proxies, vaults in SETS[store]:
        rate, spent = measure(gateways, proxies, vaults, store == "postgres")
        print(f"| {gateways} | {proxies} | {vaults} | {rate:.0f} | " + " | ".join(f"{spent[k]:.0f}" for k in kinds) + " |", flush=True)


if __name__ == "__main__":
    main()
