"""What bench.py measures, part by part: each function gives figures by name, as numbers, for `tables.py` to write down."""
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import threading
import time
import urllib.error
import urllib.request

import peers
from peers import descendants

KEEP_ALIVE, SILENT, STREAMS, SETTLED_S = 1000, 3000, 500, 5


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


def daemons(pid):
    found = {}
    for one in descendants(pid):
        try:
            name = pathlib.Path(f"/proc/{one}/comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name.startswith("seks-"):
            found[name[5:]] = one
    return found


def memory_mib(pids):
    """Proportional set size of these processes together."""
    rows = [pathlib.Path(f"/proc/{one}/smaps_rollup").read_text() for one in pids]
    return sum(int(re.search(r"^Pss:\s+(\d+)", row, re.M).group(1)) for row in rows) / 1024


class Peak(threading.Thread):
    """The most memory that the processes have had inside the block, in MiB above that at its beginning."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.over, self.base = pids, threading.Event(), memory_mib(pids)
        self.peak = self.base

    def run(self):
        while not self.over.wait(0.02):
            self.peak = max(self.peak, memory_mib(self.pids))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        self.growth = self.peak - self.base


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
    assert result.pop("bad") == 0, f"{peer.name}: answers that were not 2xx"
    spent = {n: (after[n] - before.get(n, 0)) * 1e6 / max(result["requests"], 1) for n in after}
    result["cpu"] = sum(spent.values())
    return result | {f"cpu {n}": v for n, v in spent.items() if n.startswith("seks-")}


def interleave(rounds, them, once):
    """ONCE of each peer in turns; medians, as {"peer/figure": number}."""
    rows = {peer.name: [] for peer in them}
    for _ in range(rounds):
        for peer in them:
            rows[peer.name].append(once(peer))
    return {f"{name}/{key}": statistics.median(row[key] for row in rows[name]) for name in rows for key in rows[name][0]}


def prefixed(prefix, figures):
    return {f"{prefix}/{key}": value for key, value in figures.items()}


# ---- requests per second, latency, CPU ----

def requests(options, world):
    them = [world.nginx, world.haproxy, world.broker, world.nginx_tls, world.broker_tls, world.broker_curve]
    found = {}
    for connections in options.connections:
        found |= prefixed(connections, interleave(options.rounds, them, lambda p: measure(p, connections, options.seconds)))
        print(connections, {p.name: round(found[f"{connections}/{p.name}/rate"]) for p in them}, flush=True)
    return found


def gateways(options, world):
    script, chat = world.directory / "chat.lua", json.dumps({"model": "gpt-bench", "messages": [{"role": "user", "content": "hello"}]})
    script.write_text(f"wrk.method='POST'\nwrk.headers['Content-Type']='application/json'\nwrk.body='{chat}'\n")
    others = peers.gateways(world)
    for peer in others:  # workers may begin long after their port is open, and the first calls are slow
        headers = {"Authorization": f"Bearer {peer.token}", "Content-Type": "application/json", **dict(h.split(": ", 1) for h in peer.headers)}
        with urllib.request.urlopen(urllib.request.Request(peer.url, chat.encode(), headers), timeout=120) as answer:
            answer.read()
        measure(peer, 64, options.seconds, str(script))
    them = [world.nginx.at("/v1/chat/completions"), world.broker.at("/api/openai/v1/chat/completions"), *others]
    found = interleave(min(options.rounds, 2), them, lambda p: measure(p, 64, options.seconds, str(script)))
    for peer in others:
        found[f"{peer.label}/label"] = 1
        found |= {f"{peer.label}/{k}": found.pop(f"{peer.name}/{k}") for k in ("rate", "cpu", "p50", "p99")}
        peer.stop()
        world.started.remove(peer)
    return found


LATE_RATE, AT_ONCE = 1000, 50


def open_loop_once(world, peer, seconds, at_once):
    at = world.at_standin(peer, "/v1/later")
    out = subprocess.run([world.openloop, *port_and_target(at.url), at.token, str(LATE_RATE), str(seconds), str(at_once)],
                         capture_output=True, text=True, check=True).stdout
    return {key: value / 1000 for key, value in json.loads(out).items() if key != "count"}


def late(options, world):
    """Each by itself, and so many at once."""
    them = [world.direct, world.nginx, world.haproxy, world.broker, world.broker_curve]
    found = interleave(options.rounds, them, lambda p: open_loop_once(world, p, options.seconds, 1))
    return found | prefixed("at once", interleave(1, them, lambda p: open_loop_once(world, p, options.seconds, AT_ONCE)))


# ---- event streams ----

def port_and_target(url):
    address, _, target = url.removeprefix("http://").partition("/")
    return address.split(":")[1], "/" + target


def streams(world, peer, path, count, seconds):
    at = world.at_standin(peer, path)
    return subprocess.Popen([world.streams, *port_and_target(at.url), at.token, str(count), str(seconds)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


def wait_until_open(run):
    assert run.stdout.readline() == "open\n", "the streams did not open"


def events_once(world, peer, seconds, path="/v1/events"):
    run = streams(world, peer, path, 200, seconds)
    wait_until_open(run)
    time.sleep(1)  # what comes in the first second does not count
    before = sum(cpu_by_name(peer.pid).values())
    time.sleep(seconds - 0.5)
    after, begin = sum(cpu_by_name(peer.pid).values()), seconds - 0.5
    found = json.loads(run.communicate()[0])
    return {"count": found["count"], "p50": found["p50"], "p99": found["p99"], "cpu": (after - before) * 1e6 / (200 * 50 * begin)}


def events(options, world):
    them = [world.direct, world.nginx, world.haproxy, world.broker, world.broker_curve]
    found = interleave(min(options.rounds, 2), them, lambda p: events_once(world, p, options.seconds + 2))
    found |= prefixed("in step", interleave(1, them, lambda p: events_once(world, p, options.seconds + 2, "/v1/events?instep")))
    return found | silent(options, world)


def silent(options, world):
    """CPU per request at 64 connections, without and with silent open streams beside."""
    found = {}
    for name in ("without", "with", "without again"):
        run = streams(world, world.broker, "/v1/silent", SILENT, 0) if name == "with" else None
        if run:
            wait_until_open(run)
        found |= {f"silent {name}/{k}": v for k, v in measure(world.broker, 64, options.seconds).items() if k in ("rate", "cpu")}
        if run:
            run.communicate()
            time.sleep(1)
    return found


# ---- large bodies ----

def transfer(at, *arguments):
    out = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{time_total} %{http_code}", "-H",
                          f"Authorization: Bearer {at.token}", "-H", "Expect:", *arguments, at.url], capture_output=True, text=True, check=True)
    seconds, status = out.stdout.split()
    assert status == "200", f"{at.url}: {out.stdout}"
    return float(seconds)


def large_file(world, mib):
    path = world.directory / f"large-{mib}"
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    return str(path)


def large_once(world, peer, mib):
    spent = []
    for path, arguments in ((f"/v1/large?mib={mib}", ()), ("/v1/upload", ("-X", "PUT", "-T", large_file(world, mib)))):
        before = sum(cpu_by_name(peer.pid).values())
        seconds = transfer(world.at_standin(peer, path), *arguments)
        spent += [(mib << 20) / seconds / 1e9, (sum(cpu_by_name(peer.pid).values()) - before) * 1e9 / (mib << 20)]
    return {"down": spent[0], "down cpu": spent[1], "up": spent[2], "up cpu": spent[3]}


def bodies(options, world):
    them = [world.direct, world.nginx, world.haproxy, world.broker, world.broker_curve]
    return interleave(4 * options.rounds, them, lambda p: large_once(world, p, options.mib))  # they differ much, and are quick


# ---- memory ----

def keep_alive(world, count):
    """COUNT idle connections that have had one answer each."""
    port, target = port_and_target(world.broker.url)
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {world.broker.token}\r\n\r\n".encode()
    found = []
    for _ in range(count):
        found.append(socket.create_connection(("127.0.0.1", int(port))))
        found[-1].sendall(request)
        assert b" 200 " in found[-1].recv(65536).split(b"\r\n")[0]
    return found


def memory(options, world):
    """In a broker of its own, since what others left is nobody's idle memory."""
    broker = peers.Broker(world.directory, world.upstream_port, standin=world.standin.origin)
    peer = broker.peer("broker")
    world.started.append(peer)
    pids = list(daemons(peer.pid).values())
    assert len(pids) == 4, pids
    time.sleep(1)
    found = {"idle": memory_mib(pids)}
    warm, world.broker = world.broker, peer
    for connection in keep_alive(world, 64):
        connection.close()
    for name, path, arguments in (("down", "/v1/large?mib=1024", ()), ("up", "/v1/upload", ("-X", "PUT", "-T", large_file(world, 1024)))):
        with Peak(pids) as peak:
            transfer(world.at_standin(peer, path), *arguments)
        found[f"1 GiB {name}, growth"] = peak.growth
    before = memory_mib(pids)
    idle = keep_alive(world, KEEP_ALIVE)
    time.sleep(SETTLED_S)
    found["idle connection, KiB"] = (memory_mib(pids) - before) * 1024 / KEEP_ALIVE
    for connection in idle:
        connection.close()
    for name, path in (("silent stream, KiB", "/v1/silent"), ("event stream, KiB", "/v1/events")):
        time.sleep(1)
        before = memory_mib(pids)
        run = streams(world, peer, path, STREAMS, 0)
        wait_until_open(run)
        time.sleep(2)
        found[f"{STREAMS} streams"] = memory_mib(pids)
        found[name] = (found[f"{STREAMS} streams"] - before) * 1024 / STREAMS
        run.communicate()
    for connections in (64, 256):
        measure(peer, connections, options.seconds)
    found["after load"] = memory_mib(pids)
    world.broker = warm
    peer.stop()
    world.started.remove(peer)
    return found


# ---- starting ----

def first_answer(peer, seconds=10):
    """The seconds until a call through the broker is answered with 200."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        try:
            request = urllib.request.Request(peer.url, headers={"Authorization": f"Bearer {peer.token}"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
            return time.perf_counter() - begin
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.002)
    raise SystemExit("the broker did not serve again")


def restart_once(peer, name):
    os.kill(daemons(peer.pid)[name], signal.SIGKILL)
    taken = first_answer(peer)
    while len(daemons(peer.pid)) < 4:
        time.sleep(0.01)
    time.sleep(0.5)
    return taken


def times(options, world):
    broker = peers.Broker(world.directory, world.upstream_port)
    peer = broker.peer("broker")
    world.started.append(peer)
    rows = {name: [restart_once(peer, name) for _ in range(options.rounds)] for name in ("gateway", "vault", "proxy", "audit")}
    found = {f"SIGKILL of {name}": statistics.median(row) for name, row in rows.items()}
    starts = []
    for _ in range(options.rounds):
        peer.stop()
        peer.process = subprocess.Popen(broker.command(), stdout=subprocess.DEVNULL, stderr=broker.log)
        starts.append(first_answer(peer))
        peer.pid = peer.process.pid
    found["start"] = statistics.median(starts)
    peer.stop()
    world.started.remove(peer)
    return found


PARTS = {"requests": requests, "late": late, "gateways": gateways, "events": events, "bodies": bodies, "memory": memory, "times": times}
