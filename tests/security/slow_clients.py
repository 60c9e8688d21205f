#!/usr/bin/env python3
"""Measures a healthy client's calls while others send heads and bodies slowly and read slowly.

Starts the broker under ./run with an upstream of its own, times the healthy client's calls alone and
then beside the slow ones (a third of each kind), and prints p50 and p99.  With --limit-ms the exit
status is 1 when p99 beside them is above it.

usage: tests/security/slow_clients.py [--each N] [--calls N] [--limit-ms MS]
"""
import argparse
import asyncio
import http.client
import json
import os
import pathlib
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
KEY = "sk-slow-0123456789abcdef0123456789abcdef"


async def answer(reader, writer):
    """Small answers, endless ones under .../big, and bodies taken as they come."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"/big" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
                while True:
                    writer.write(bytes(65536))
                    await writer.drain()
            if b"content-length: " in head.lower():
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r")[0]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()


async def upstream():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Slow:
    """One connection that never gets on: sends a byte or takes a few now and then."""

    def __init__(self, port, token, kind):
        self.kind = kind
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        begin = {"head": f"GET /api/openai/v1/x HTTP/1.1\r\n{head}X-A: ",
                 "body": f"POST /api/openai/v1/x HTTP/1.1\r\n{head}Content-Length: 1000000\r\n\r\n",
                 "read": f"GET /api/openai/v1/x/big/100000000 HTTP/1.1\r\n{head}\r\n"}[kind]
        self.socket.sendall(begin.encode())
        self.socket.setblocking(False)
        self.alive = True

    def move(self):
        try:
            if self.kind == "read":
                self.alive = len(self.socket.recv(16)) > 0
            else:
                self.socket.send(b"a")
                self.alive = not self.is_ended()
        except BlockingIOError:
            pass
        except OSError:
            self.alive = False

    def is_ended(self):
        try:
            return self.socket.recv(4096) is not None  # an error's text, or the end
        except BlockingIOError:
            return False


def call_times(port, token, calls, path="/api/openai/v1/x"):
    """Milliseconds of each of CALLS, one after the other on a connection that is kept."""
    times = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(calls):
        begin = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        times.append((time.perf_counter() - begin) * 1000)
    return times


def figures(times):
    return {"p50_ms": round(statistics.median(times), 2), "p99_ms": round(sorted(times)[int(len(times) * 0.99)], 2)}


def keep_slow(slow, make, stop):
    """Moves each every two seconds or so; one that was ended comes back, as an attacker would."""
    while not stop.is_set():
        for i, one in enumerate(slow):
            if stop.wait(2 / len(slow)):
                return
            one.move()
            if not one.alive:
                one.socket.close()
                slow[i] = make(one.kind)
                slow[i].again = True


def measure(port, token, each, calls):
    """Figures of the healthy client alone and beside 3 * EACH slow ones; how many of these were ended."""
    def make(kind):
        return Slow(port, token, kind)
    alone = figures(call_times(port, token, calls))
    slow = [make(kind) for _ in range(each) for kind in ("head", "body", "read")]
    stop = threading.Event()
    mover = threading.Thread(target=keep_slow, args=(slow, make, stop))
    mover.start()
    try:
        beside = figures(call_times(port, token, calls))
        ended = sum(getattr(one, "again", False) for one in slow)
    finally:
        stop.set()
        mover.join()
        for one in slow:
            one.socket.close()
    return {"slow_clients": 3 * each, "alone": alone, "beside": beside, "came_back": ended}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=500)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--limit-ms", type=float, default=0)
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upstream:
        asyncio.run(upstream())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    from conftest import Account, Broker
    provider = subprocess.Popen([sys.executable, __file__, "--upstream"], stdout=subprocess.PIPE, text=True)
    rows = [{"name": "openai", "origin": f"http://127.0.0.1:{provider.stdout.readline().strip()}", "allow_insecure": True}]
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(pathlib.Path(directory), rows, build=os.environ.get("SEKS_BUILD") or str(ROOT / "build/release"))
        account = Account(broker, "healthy@example.com")
        account.put_secret("OPENAI_API_KEY", KEY)
        token = account.token(account.agent("healthy")["agent"]["id"], "openai")["value"]
        result = measure(broker.port, token, options.each, options.calls)
        with open(f"/proc/{broker.pid('gateway')}/status") as status:
            result["gateway_rss_mib"] = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
        broker.stop()
    provider.kill()
    print(json.dumps(result, indent=2))
    return 1 if options.limit_ms and result["beside"]["p99_ms"] > options.limit_ms else 0


if __name__ == "__main__":
    sys.exit(main())
