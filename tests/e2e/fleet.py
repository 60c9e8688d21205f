"""Several vaults on one PostgreSQL, each with a gateway of its own and one gateway that asks all of them; audit and a proxy."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import requests

import standin
from conftest import PASSWORD, ROOT, Postgres, free_port, rows_for, until

BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")


class Server:
    """A PostgreSQL server of the test's own, which may be killed."""

    def __init__(self, primary=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="seks-pg-"))
        self.directory.chmod(0o711)
        words = ("standby", self.directory / "pg", primary.directory / "pg") if primary else ("start", self.directory / "pg")
        self.url = subprocess.run([Postgres.tool, *words], check=True, capture_output=True, text=True).stdout.strip()
        self.port = int(re.search(r":(\d+)/", self.url)[1])

    def do(self, word, *more):
        subprocess.run([Postgres.tool, word, self.directory / "pg", *more], check=True)

    def sql(self, text):
        return Postgres.sql(text, self.url)

    def end_backends(self):
        """Every vault's connection, as an operator or a pooler ends it."""
        return int(self.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'seks-vault'"))

    def close(self):
        self.do("stop")
        shutil.rmtree(self.directory, ignore_errors=True)


class Fleet:
    def __init__(self, directory, providers, certificates, url, vaults=2):
        self.directory, self.url, self.vaults = pathlib.Path(directory), url, vaults
        self.processes, self.ports, self.admin = {}, {}, {}
        (self.directory / "providers.json").write_text(json.dumps({"providers": rows_for(providers, certificates)}))
        subprocess.run([BUILD / "cli/seks", "keygen", self.directory / "keys"], check=True, capture_output=True)
        for node in ["audit", "proxy", *self.numbered("vault"), *self.numbered("gateway"), "gateway"]:
            self.ports[node], self.admin[node] = free_port(), free_port()

    def numbered(self, kind):
        return [f"{kind}{i + 1}" for i in range(self.vaults)]

    def end(self, node):
        return f"ipc://{self.directory}/{node}.door/d"

    def arguments(self, node):
        kind, number = node.rstrip("0123456789"), node.lstrip("abcdefghijklmnopqrstuvwxyz")
        common = ["--keys", self.directory / "keys", "--admin", f"127.0.0.1:{self.admin[node]}"]
        table = ["--providers", self.directory / "providers.json"]
        asked = [f"vault{number}"] if number else self.numbered("vault")
        return kind, common + {
            "audit": ["--data", self.directory / "audit", "--listen-vault", self.end("audit-vault"), "--listen-proxy",
                      self.end("audit-proxy")],
            "vault": ["--data", self.directory / node, "--listen-gateway", self.end(node), "--audit", self.end("audit-vault"),
                      "--signup", "open", "--store", self.url, *table],
            "proxy": ["--listen-gateway", self.end("proxy"), "--audit", self.end("audit-proxy"), *table],
            "gateway": ["--listen", f"127.0.0.1:{self.ports[node]}", "--proxy", self.end("proxy"), *table,
                        *[word for vault in asked for word in ("--vault", self.end(vault))]],
        }[kind]

    def start(self, *nodes):
        for node in nodes:
            kind, arguments = self.arguments(node)
            doors = {"audit": ["audit-vault", "audit-proxy"], "vault": [node], "proxy": ["proxy"], "gateway": []}[kind]
            for door in doors:
                (self.directory / f"{door}.door").mkdir(mode=0o700, exist_ok=True)
            self.processes[node] = subprocess.Popen([BUILD / f"services/{kind}/seks-{kind}", *arguments],
                                                    stderr=open(self.directory / f"{node}.log", "a"))

    def start_all(self):
        self.start("audit", "proxy", *self.numbered("vault"), *self.numbered("gateway"), "gateway")
        for node in self.processes:
            until(lambda node=node: self.ready(node), f"{node} is not ready: {self.log(node)[-2000:]}")

    def stop(self, node, how=signal.SIGTERM):
        process = self.processes.pop(node)
        process.send_signal(how)
        return process.wait(40)

    def ready(self, node):
        with contextlib.suppress(requests.exceptions.RequestException):
            return requests.get(f"http://127.0.0.1:{self.admin[node]}/readyz", timeout=5).status_code == 200
        return False

    def log(self, node):
        return (self.directory / f"{node}.log").read_text(errors="replace")

    def base(self, gateway="gateway"):
        return f"http://127.0.0.1:{self.ports[gateway]}"

    def close(self):
        order = sorted(self.processes, key=lambda node: ("gateway", "proxy", "vault", "audit").index(node.rstrip("0123456789")))
        statuses = {node: self.stop(node) for node in order}
        assert set(statuses.values()) <= {0}, statuses
        for log in self.directory.glob("*.log"):
            assert not re.search(r"AddressSanitizer|LeakSanitizer|runtime error:", log.read_text(errors="replace")), log.read_text()[-4000:]


class Owner:
    """An account with a provider's secret, an agent and a key that is good at every gateway."""

    def __init__(self, fleet, email="owner@example.com", gateway="gateway"):
        self.fleet = fleet
        http = requests.Session()
        made = http.post(f"{fleet.base(gateway)}/v1/account", json={"email": email, "password": PASSWORD}, timeout=20)
        assert made.status_code == 201, made.text
        http.headers["X-CSRF-Token"] = made.json()["csrf"]
        key = http.post(f"{fleet.base(gateway)}/v1/account/keys", json={"name": "all"}, timeout=20).json()["key"]
        self.header = {"Authorization": f"Bearer {key}"}
        self.ask("PUT", "/v1/account/secrets/OPENAI_API_KEY", {"value": standin.KEYS["openai"]}, gateway).raise_for_status()
        self.agent = self.ask("POST", "/v1/account/agents", {"name": "coder"}, gateway).json()["agent"]["id"]
        self.token, self.token_id = self.new_token(gateway)

    def ask(self, method, path, body=None, gateway="gateway"):
        return requests.request(method, self.fleet.base(gateway) + path, json=body, headers=self.header, timeout=30)

    def new_token(self, gateway="gateway"):
        made = self.ask("POST", f"/v1/account/agents/{self.agent}/tokens", {"provider": "openai"}, gateway).json()
        return made["value"], made["token"]["id"]

    def revoke(self, token_id, gateway="gateway"):
        return self.ask("DELETE", f"/v1/account/agents/{self.agent}/tokens/{token_id}", None, gateway).status_code

    def call(self, token=None, gateway="gateway", http=requests):
        return http.get(f"{self.fleet.base(gateway)}/api/openai/v1/models",
                        headers={"Authorization": f"Bearer {token or self.token}"}, timeout=30)

    @contextlib.contextmanager
    def load(self, gateways=("gateway",), threads=2):
        """Calls, all the time; yields the list of their (status, Retry-After)."""
        seen, stop = [], threading.Event()

        def run(gateway):
            with requests.Session() as http:
                while not stop.is_set():
                    answer = self.call(None, gateway, http)
                    seen.append((answer.status_code, answer.headers.get("Retry-After")))
        running = [threading.Thread(target=run, args=(gateway,)) for gateway in gateways for _ in range(threads)]
        for thread in running:
            thread.start()
        try:
            until(lambda: len(seen) > 5, "no calls")
            yield seen
        finally:
            stop.set()
            for thread in running:
                thread.join()

    @contextlib.contextmanager
    def changes(self, gateways=("gateway",), threads=1):
        """Account keys, made all the time, by accounts of their own, for one has at most a thousand; yields {name: status}."""
        made, stop, began = {}, threading.Event(), time.monotonic_ns()
        pairs = [(gateway, i) for gateway in gateways for i in range(threads)]
        self.makers = [Owner(self.fleet, f"m{began}-{gateway}-{i}@example.com", gateway) for gateway, i in pairs]

        def run(maker, gateway, index):
            number = 0
            while not stop.wait(0.01):
                name = f"k{began}-{gateway}-{index}-{number}"
                made[name] = maker.ask("POST", "/v1/account/keys", {"name": name}, gateway).status_code
                number += 1
        running = [threading.Thread(target=run, args=(maker, *pair)) for maker, pair in zip(self.makers, pairs)]
        for thread in running:
            thread.start()
        try:
            until(lambda: len(made) > 3, "no changes")
            yield made
        finally:
            stop.set()
            for thread in running:
                thread.join()

    def key_names(self, gateway="gateway"):
        return [key["name"] for key in self.ask("GET", "/v1/account/keys", None, gateway).json()["keys"]]

    def check(self, made):
        """What was acknowledged is there, once."""
        there = [name for maker in self.makers for name in maker.key_names() if name != "all"]
        assert len(there) == len(set(there))
        lost = [name for name, status in made.items() if status == 201 and name not in there]
        assert not lost, lost
