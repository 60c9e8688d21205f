#!/usr/bin/env python3
"""Fills every connection that the gateway takes with clients that say nothing, and times a newcomer.

usage: tests/security/crowd.py [--connections N] [--limit-ms MS]      (needs 2 * N file descriptors)
"""
import argparse
import json
import os
import pathlib
import resource
import socket
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))


def newcomer(port):
    """Milliseconds until a client that was not there before is answered; it tries again when it is turned away."""
    begin = time.perf_counter()
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                if s.recv(12) == b"HTTP/1.1 200":
                    return (time.perf_counter() - begin) * 1000
        except ConnectionError:
            pass
        time.sleep(0.01)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=9900)
    parser.add_argument("--limit-ms", type=float, default=0)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    from conftest import Broker
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(pathlib.Path(directory), [], build=os.environ.get("SEKS_BUILD") or str(ROOT / "build/release"))
        alone = max(newcomer(broker.port) for _ in range(50))
        silent, times = [], []
        for i in range(options.connections):
            silent.append(socket.create_connection(("127.0.0.1", broker.port)))
            if i % 200 == 0:
                times.append(newcomer(broker.port))
        times += [newcomer(broker.port) for _ in range(200)]
        with open(f"/proc/{broker.pid('gateway')}/status") as status:
            rss = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
        for s in silent:
            s.close()
        broker.stop()
    print(json.dumps({"silent": len(silent), "alone_max_ms": round(alone, 1), "newcomer_max_ms": round(max(times), 1),
                      "gateway_rss_mib": rss}))
    return 1 if options.limit_ms and max(times) > options.limit_ms else 0


if __name__ == "__main__":
    sys.exit(main())
