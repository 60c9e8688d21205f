"""Daemons on hosts of their own: network namespaces joined by a bridge, tcp and CURVE between them.

Each namespace stands for a pod with an address; one hosts file stands for the cluster's DNS.  Nothing
of it is visible outside the namespaces."""
import concurrent.futures
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import types

import requests

import served
from conftest import ROOT, Account, openai_token

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
KEY = "sk-planted-cluster-77aa"
ADMIN = 9100


def possible():
    if os.geteuid() != 0:
        return False
    name = f"seks-try-{os.getpid()}"
    made = all(subprocess.run(["ip", *words], capture_output=True).returncode == 0 for words in (
        ["netns", "add", name], ["-n", name, "link", "add", "br0", "type", "bridge"]))
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return made


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def enter(namespace):
    """The calling thread makes its sockets there from now on."""
    with open(f"/run/netns/{namespace}") as handle:
        if LIBC.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def inside(namespace, function, *arguments):
    """What FUNCTION returns, run in a thread of that namespace."""
    with concurrent.futures.ThreadPoolExecutor(1, initializer=enter, initargs=(namespace,)) as pool:
        return pool.submit(function, *arguments).result()


class Provider(served.Handler):
    def do_POST(self):
        body = self.read_body()
        with self.server.lock:
            self.server.requests += 1
        good = self.headers.get("Authorization") == f"Bearer {KEY}"
        if self.path.endswith("/slow"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"6\r\nbegun \r\n")
            self.server.gate.wait(60)  # a stream runs until the test opens the gate
            self.wfile.write(b"5\r\nended\r\n0\r\n\r\n")
            return
        answer = json.dumps({"good": good, "size": len(body)}).encode()
        self.send_response(200 if good else 418)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST


class Cluster:
    """vault, audit, N proxies and N gateways; start() and stop() them one by one."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.build = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")
        self.tag = f"seks{os.getpid()}"
        self.processes, self.nodes, self.names = {}, {}, {}
        self.data = {}  # of a node, where it is not its own
        self.store = []  # the vaults' options for a database that they share
        self.hosts = self.directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.hub = f"{self.tag}-hub"
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
        ip("-n", self.hub, "link", "set", "br0", "up")
        subprocess.run([self.build / "cli/seks", "keygen", self.directory / "keys"], check=True)
        self.node("provider")
        self.node("client")
        self.server = inside(self.space("provider"), self.make_provider)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        (self.directory / "providers.json").write_text(json.dumps({"providers": [
            {"name": "openai", "origin": f"http://{self.nodes['provider']}:9000", "allow_insecure": True}]}))

    def make_provider(self):
        server = served.Server((self.nodes["provider"], 9000), Provider)
        server.requests, server.lock, server.gate = 0, threading.Lock(), threading.Event()
        return server

    def space(self, node):
        return f"{self.tag}-{node}"

    def node(self, name):
        """A namespace with an address, joined to the others."""
        if name in self.nodes:
            return self.nodes[name]
        index = len(self.nodes) + 1
        space, outer, address = self.space(name), f"v{index}", f"10.77.0.{index}"
        ip("netns", "add", space)
        ip("-n", self.hub, "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("-n", self.hub, "link", "set", outer, "master", "br0", "up")
        ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", space, "link", "set", "lo", "up")
        self.nodes[name] = address
        return address

    def resolve(self, **names):
        """What each name stands for from now on: the nodes given."""
        self.names.update(names)
        lines = ["127.0.0.1 localhost"]
        for name, nodes in self.names.items():
            lines += [f"{self.node(node)} {name}" for node in nodes]
        self.hosts.write_text("\n".join(lines) + "\n")  # in place: it is mounted

    def arguments(self, node):
        kind = node.rstrip("0123456789")
        data = self.directory / self.data.get(node, node)  # the daemon makes it
        return kind, ["--keys", self.directory / "keys", "--admin", f"{self.node(node)}:{ADMIN}"] + {
            "audit": ["--data", data, "--listen-vault", "tcp://0.0.0.0:7103", "--listen-proxy", "tcp://0.0.0.0:7104"],
            "vault": ["--data", data, "--listen-gateway", "tcp://0.0.0.0:7101", "--audit", "tcp://audit:7103",
                      "--signup", "open", "--providers", self.directory / "providers.json", *self.store],
            "proxy": ["--listen-gateway", "tcp://0.0.0.0:7102", "--audit", "tcp://audit:7104",
                      "--providers", self.directory / "providers.json"],
            "gateway": ["--listen", "0.0.0.0:8787", "--public-url", "http://broker:8787", "--vault", "tcp://vault:7101",
                        "--proxy", "tcp://proxies:7102", "--providers", self.directory / "providers.json"],
        }[kind]

    def start(self, *nodes):
        for node in nodes:
            kind, arguments = self.arguments(node)
            log = open(self.directory / f"{node}.log", "a")
            self.processes[node] = subprocess.Popen(
                ["ip", "netns", "exec", self.space(node), "unshare", "-m", "--propagation", "private", "sh", "-c",
                 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh", self.hosts,
                 self.build / f"services/{kind}/seks-{kind}", *arguments], stderr=log)

    def stop(self, node, how=signal.SIGTERM):
        process = self.processes.pop(node)
        process.send_signal(how)
        return process.wait(40)

    def cut(self, node, yes=True):
        """Takes the node off the bridge, or puts it back."""
        index = list(self.nodes).index(node) + 1
        ip("-n", self.hub, "link", "set", f"v{index}", "down" if yes else "up")

    def part(self, node, other, yes=True):
        """Leaves no way between the two, or opens it again."""
        for one, two in ((node, other), (other, node)):
            ip("-n", self.space(one), "route", "add" if yes else "del", "blackhole", f"{self.nodes[two]}/32")

    def start_postgres(self):
        """A server on a host of its own; vaults that are started from now on share it."""
        self.postgres = pathlib.Path(tempfile.mkdtemp(prefix="seks-pg-"))  # its own user has to reach it
        self.postgres.chmod(0o711)
        address = self.node("postgres")
        url = subprocess.run(["ip", "netns", "exec", self.space("postgres"), ROOT / "tests/tools/postgres", "start", self.postgres / "pg"],
                             env=dict(os.environ, LISTEN=address), check=True, capture_output=True, text=True).stdout.strip()
        self.store = ["--store", url, "--store-allow-insecure"]

    def metrics(self, node):
        """The daemon's own /metrics, asked for from its own namespace."""
        return inside(self.space(node), lambda: requests.get(f"http://{self.nodes[node]}:{ADMIN}/metrics", timeout=5).text)

    def metric(self, node, name):
        return float(next(line.split()[-1] for line in self.metrics(node).splitlines() if line.startswith(name)))

    def ready(self, node):
        def ask():
            try:
                return requests.get(f"http://{self.nodes[node]}:{ADMIN}/readyz", timeout=5).status_code == 200
            except requests.exceptions.ConnectionError:
                return False
        return inside(self.space(node), ask)

    def close(self):
        statuses = {}
        for node in list(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                statuses[node] = self.stop(node)
        if self.store:
            subprocess.run([ROOT / "tests/tools/postgres", "stop", self.postgres / "pg"])
            shutil.rmtree(self.postgres)
        self.server.shutdown()
        self.server.server_close()
        for node in self.nodes:
            subprocess.run(["ip", "netns", "del", self.space(node)], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.hub], capture_output=True)
        logs = "".join(p.read_text(errors="replace") for p in self.directory.glob("*.log"))
        assert KEY not in logs and "Sanitizer" not in logs, logs[-6000:]
        assert set(statuses.values()) <= {0}, (statuses, logs[-3000:])


class Client:
    """Calls from the client's namespace, over any of the gateways, as a Service would spread them."""

    def __init__(self, cluster, gateways):
        self.cluster, self.gateways = cluster, gateways
        account = inside(cluster.space("client"), Account, types.SimpleNamespace(url=self.url(0)), "a@example.com")
        self.session = account.http
        self.token = inside(cluster.space("client"), openai_token, account, KEY)

    def url(self, index):
        return f"http://{self.cluster.nodes[self.gateways[index % len(self.gateways)]]}:8787"

    def call(self, index=0, path="/x", patient=False):
        """One call; a connection that is refused is tried again elsewhere, as every Service does.  PATIENT: it
        does what Retry-After says, as the SDKs do: without audit a call is refused within 2 s."""
        for attempt in range(100):
            try:
                answer = requests.post(f"{self.url(index + attempt)}/api/openai{path}", data=b"x" * 100, timeout=30,
                                       headers={"Authorization": f"Bearer {self.token}"})
                if not patient or answer.status_code != 503:
                    return answer
                time.sleep(float(answer.headers["Retry-After"]))
            except requests.exceptions.ConnectionError:
                time.sleep(0.1)
        raise AssertionError("no gateway takes connections")

    @contextlib.contextmanager
    def load(self, threads=6, patient=False):
        """Calls without a pause meanwhile; yields the list of status codes that grows."""
        statuses, stop = [], threading.Event()

        def run(index):
            while not stop.is_set():
                statuses.append(self.call(index, patient=patient).status_code)
        with concurrent.futures.ThreadPoolExecutor(threads, initializer=enter,
                                                   initargs=(self.cluster.space("client"),)) as pool:
            running = [pool.submit(run, i) for i in range(threads)]
            try:
                yield statuses
            finally:
                stop.set()
                for future in running:
                    future.result()
