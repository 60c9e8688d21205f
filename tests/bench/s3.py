#!/usr/bin/env python3
"""S3 through the broker against the same Swift directly and behind nginx as a plain proxy.

A 1 GiB PUT and GET each way, interleaved, medians; the growth of the four daemons' memory meanwhile;
the p99 of a small GET beside 64 uploads and downloads; and a scan of the proxy's memory for the secret
access key under that load.  Needs root (to read a daemon's memory), nginx, and what the tests install.

usage: tests/bench/s3.py [--size MIB] [--rounds N] [--write]   (--write: its part of docs/benchmarks.md)
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
for name in [n for n in os.environ if n.startswith("AWS_")]:
    del os.environ[name]
VENV = ROOT / "tests/e2e/.venv/bin/python"
if VENV.exists() and pathlib.Path(sys.prefix) != VENV.parents[1]:
    os.execv(VENV, [str(VENV), *sys.argv])
sys.path.insert(0, str(ROOT / "tests/e2e"))
import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402

import conftest  # noqa: E402
import s3_swift  # noqa: E402
from memory import Peak, memory_holds  # noqa: E402

DAEMONS = ("gateway", "vault", "proxy", "audit")


class Nginx:
    def __init__(self, directory, upstream):
        self.port = s3_swift.free_port()
        conf = directory / "nginx.conf"
        conf.write_text(f"""daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log {directory}/access.log; client_max_body_size 0; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream swift {{ server {upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{self.port}; location / {{ proxy_pass http://swift; proxy_http_version 1.1; proxy_buffering off;
    proxy_request_buffering off; proxy_set_header Connection ""; proxy_set_header Host {upstream}; }} }} }}""")
        self.process = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf)], stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Ways:
    """The three ways to one object: for each a function that gives URL and headers."""

    def __init__(self, directory):
        self.swift = s3_swift.Swift(directory / "swift")
        host = self.swift.origin.split("//")[1]
        self.nginx = Nginx(directory, host)
        (directory / "broker").mkdir()
        self.broker = conftest.Broker(directory / "broker", [{"name": "aws", "origin": self.swift.origin, "allow_insecure": True}],
                                      str(ROOT / "build/release"))
        account = conftest.Account(self.broker, "bench@example.com")
        account.put_secret("AWS_ACCESS_KEY_ID", s3_swift.ID)
        account.put_secret("AWS_SECRET_ACCESS_KEY", s3_swift.SECRET)
        self.token = account.token(account.agent("bench")["agent"]["id"], "aws")["value"]
        self.s3 = boto3.client("s3", endpoint_url=self.swift.origin, aws_access_key_id=s3_swift.ID, aws_secret_access_key=s3_swift.SECRET,
                               region_name=s3_swift.REGION, config=Config(signature_version="s3v4"))
        self.s3.create_bucket(Bucket="bench")
        self.names = ("direct", "nginx", "broker")

    def request(self, way, method, key):
        if way == "broker":
            return f"{self.broker.url}/api/aws/s3/{s3_swift.REGION}/bench/{key}", {"Authorization": f"Bearer {self.token}"}
        url = self.s3.generate_presigned_url(f"{method.lower()}_object", {"Bucket": "bench", "Key": key})
        return (url if way == "direct" else url.replace(self.swift.origin, f"http://127.0.0.1:{self.nginx.port}")), {}

    def curl(self, way, method, key, source=None):
        url, headers = self.request(way, method, key)
        command = ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", url]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        return command + (["-T", str(source), "-H", "Expect:"] if source else [])

    def pids(self):
        return {name: self.broker.pid(name) for name in DAEMONS}

    def stop(self):
        self.broker.stop()
        self.nginx.stop()
        self.swift.stop()


def transfer(command):
    status, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert status == "200", status
    return float(seconds)


def throughput(ways, size_mib, rounds, directory):
    source = directory / "source"
    with open(source, "wb") as out:
        for _ in range(size_mib):
            out.write(os.urandom(1 << 20))
    seconds = {(way, method): [] for way in ways.names for method in ("PUT", "GET")}
    growth = 0
    for _ in range(rounds):
        for method in ("PUT", "GET"):
            for way in ways.names:
                with Peak(ways.pids()) as peak:
                    seconds[way, method].append(transfer(ways.curl(way, method, "big", source if method == "PUT" else None)))
                growth = max(growth, peak.growth_mib)
    source.unlink()
    return {k: size_mib / statistics.median(v) for k, v in seconds.items()}, growth


def small_gets(ways, way, count):
    times = []
    for _ in range(count):
        url, headers = ways.request(way, "GET", "small")
        begin = time.perf_counter()
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            answer.read()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.quantiles(times, n=100)[98]


def crowded(ways, way, directory, transfers=64, size_mib=16, seconds=12):
    """p99 in ms of a small GET while TRANSFERS uploads and downloads run, and MiB per second of those."""
    source = directory / "piece"
    source.write_bytes(os.urandom(size_mib << 20))
    until, moved, lock, scans = time.monotonic() + seconds, [0, 0], threading.Lock(), []

    def loop(number):
        while time.monotonic() < until:
            upload = number % 2 == 0
            try:
                transfer(ways.curl(way, "PUT" if upload else "GET", f"up{number}" if upload else "piece", source if upload else None))
            except subprocess.CalledProcessError:
                with lock:
                    moved[1] += 1  # Swift gives up on one now and then under such a load
                continue
            with lock:
                moved[0] += size_mib

    transfer(ways.curl(way, "PUT", "piece", source))
    threads = [threading.Thread(target=loop, args=(n,)) for n in range(transfers)]
    pids = ways.pids()
    with Peak(pids) as peak:
        for thread in threads:
            thread.start()
        p99 = small_gets(ways, way, 150)
        if way == "broker":
            scans = [memory_holds(pids["proxy"], [s3_swift.SECRET.encode(), s3_swift.ID.encode()]) for _ in range(3)]
        for thread in threads:
            thread.join()
    return p99, moved[0] / (time.monotonic() - until + seconds), moved[1], peak.growth_mib, scans


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large object")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crowd", type=int, default=12, help="seconds of 64 transfers, 0 for none")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="s3bench", dir="/dev/shm" if s3_swift.has_attributes(pathlib.Path("/dev/shm")) else None))
    (directory / "swift").mkdir()
    ways = Ways(directory)
    lines = []
    try:
        ways.s3.put_object(Bucket="bench", Key="small", Body=b"x" * 1024)
        rates, growth = throughput(ways, arguments.size, arguments.rounds, directory)
        lines += ["| | direct MiB/s | nginx MiB/s | broker MiB/s | broker to direct | broker to nginx |", "| --- | --- | --- | --- | --- | --- |"]
        for method in ("PUT", "GET"):
            direct, nginx, broker = (rates[way, method] for way in ways.names)
            lines.append(f"| {method} {arguments.size} MiB | {direct:.0f} | {nginx:.0f} | {broker:.0f} | {broker / direct:.2f} | {broker / nginx:.2f} |")
        lines += ["", f"Growth of the four daemons' memory together meanwhile: at most {growth:.1f} MiB."]
        if arguments.crowd:
            lines += ["", "| 64 transfers of 16 MiB at once | small GET p99 ms | MiB/s | refused by Swift |", "| --- | --- | --- | --- |"]
            for way in ways.names:
                p99, rate, failed, crowd_growth, scans = crowded(ways, way, directory, seconds=arguments.crowd)
                lines.append(f"| {way} | {p99:.0f} | {rate:.0f} | {failed} |")
            assert all(s3_swift.SECRET.encode() not in found for found in scans), "the secret access key is in the proxy's memory"
            seen = sum(s3_swift.ID.encode() in found for found in scans)
            lines += ["", f"The daemons grew by {crowd_growth:.1f} MiB under these. The secret access key was nowhere in the proxy's memory in "
                          f"{len(scans)} scans; the access key's id, which travels, was found in {seen}."]
    finally:
        ways.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print("\n".join(lines))
    if arguments.write:
        document = ROOT / "docs/benchmarks.md"
        before, _, after = document.read_text().partition("## S3\n")
        after = after[after.index("\n## ") + 1:] if "\n## " in after else ""
        text = ("## S3\n\nMade by `tests/bench/s3.py --write`: OpenStack Swift with s3api on the same two cores is the server, directly, behind an\n"
                "nginx that only passes on, and behind the broker with everything on; plain HTTP on loopback, interleaved, medians. Swift itself\n"
                "takes most of the time, so the ratios say what a user of a real server sees and not what the broker could carry.\n\n"
                + "\n".join(lines) + "\n")
        document.write_text(before.rstrip() + "\n\n" + text + ("\n" + after if after else ""))



main()
