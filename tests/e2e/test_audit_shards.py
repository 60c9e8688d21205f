"""Several audit daemons: each has its tenants and its own chain; the list of them grows while calls go on; one that dies
stops its tenants' calls and no others'; a list in another order is refused."""
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest
import requests

import standin
from conftest import ROOT, Account, free_port, rows_for, until
from test_audit import records_of, verify

BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")
MASK = (1 << 64) - 1


def shard_of(tenant, count):
    """The contract of docs/audit.md, a second time."""
    seed = 0xCBF29CE484222325
    for byte in tenant.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK

    def score(number):
        word = (seed + (number + 1) * 0x9E3779B97F4A7C15) & MASK
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        return word ^ (word >> 31)
    return max(range(count), key=score)


class Daemons:
    """The daemons one by one, over ipc, with as many audit daemons as are asked for."""

    def __init__(self, rows):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="seks-shards-"))  # short, for the sockets' paths
        self.keys, self.processes = self.directory / "keys", {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (self.directory / "providers.json").write_text(json.dumps({"providers": rows}))
        subprocess.run([BUILD / "cli/seks", "keygen", self.keys], check=True, capture_output=True)

    def socket(self, name):
        return f"ipc://{self.directory}/{name}.sock"

    def start(self, name, audits=(0,)):
        kind = name.rstrip("-0123456789")
        lists = {role: [w for i in audits for w in ("--audit", self.socket(f"audit-{i}-{role}"))] for role in ("vault", "proxy")}
        words = {
            "audit": ["--shard", name, "--listen-vault", self.socket(f"{name}-vault"), "--listen-proxy",
                      self.socket(f"{name}-proxy"), "--outcome-wait", "6", "--data", self.directory / name],
            "vault": ["--data", self.directory / "vault", "--listen-gateway", self.socket("vault"), "--signup", "open",
                      *lists["vault"]],
            "proxy": ["--listen-gateway", self.socket("proxy"), *lists["proxy"]],
            "gateway": ["--listen", f"127.0.0.1:{self.port}", "--vault", self.socket("vault"), "--proxy", self.socket("proxy")],
        }[kind]
        if kind != "audit":
            words += ["--providers", self.directory / "providers.json"]
        self.processes[name] = subprocess.Popen(
            [BUILD / f"services/{kind}/seks-{kind}", "--keys", self.keys, *words, "--user", os.environ["SEKS_USER"],
             "--die-with-parent"], stderr=open(self.directory / f"{name}.log", "a"))

    def stop(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(how)
        status = process.wait(40)
        assert status == (0 if how == signal.SIGTERM else -how), (name, self.log(name)[-3000:])

    def again(self, name, *audits):
        self.stop(name)
        self.start(name, *audits)

    def log(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def ready(self):
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200

    def records(self, number):
        return records_of(self.directory / f"audit-{number}")

    def close(self):
        for name in ("gateway", "proxy", "vault", *list(self.processes)):
            if name in self.processes:
                self.stop(name)
        logs = "".join(self.log(p.stem) for p in self.directory.glob("*.log"))
        assert "Sanitizer" not in logs and "runtime error" not in logs and standin.KEYS["openai"] not in logs, logs[-5000:]
        shutil.rmtree(self.directory)


class Tenant(Account):
    def __init__(self, daemons, name):
        super().__init__(daemons, f"{name}@example.com")
        assert self.put_secret("OPENAI_API_KEY", standin.KEYS["openai"]).status_code == 201
        self.value = self.token(self.agent("a")["agent"]["id"], "openai")["value"]

    def ask(self):
        began = time.monotonic()
        answer = requests.get(f"{self.broker.url}/api/openai/x/echo", timeout=30, headers={"Authorization": f"Bearer {self.value}"})
        answer.took_s = time.monotonic() - began
        return answer

    def log(self, limit=1000):
        """All of it, page by page."""
        records, before = [], ""
        while before is not None:
            page = self.call("GET", f"/v1/account/audit?limit={limit}" + (f"&before={before}" if before else ""))
            records, before = records + page["records"], page["next"]
        return records


@contextlib.contextmanager
def load(tenants):
    """Calls of each tenant without a pause meanwhile; yields the answers of each."""
    answers, stop = collections.defaultdict(list), threading.Event()

    def run(tenant):
        while not stop.is_set():
            answers[tenant.id].append(tenant.ask())
    with concurrent.futures.ThreadPoolExecutor(len(tenants)) as pool:
        running = [pool.submit(run, tenant) for tenant in tenants]
        try:
            yield answers
        finally:
            stop.set()
            for future in running:
                future.result()


@pytest.fixture(scope="module")
def daemons(providers, certificates):
    daemons = Daemons([row for row in rows_for(providers, certificates) if row["name"] == "openai"])
    try:
        for name in ("audit-0", "vault", "proxy", "gateway"):
            daemons.start(name, (0,))
        until(daemons.ready, "not ready")
        yield daemons
    finally:
        daemons.close()


@pytest.fixture(scope="module")
def tenants(daemons):
    """One that stays with audit-0 when there are two, one that moves to audit-1, both with a past in audit-0 alone."""
    found = {}
    for i in range(64):
        account = Tenant(daemons, f"t{i}") if len(found) < 2 else None
        if account:
            found.setdefault(shard_of(account.id, 2), account)
    for tenant in found.values():
        assert [tenant.ask().status_code for _ in range(3)] == [200] * 3
    return [found[0], found[1]]


def numbers(records):
    return [(r.get("log", "audit-0"), r["seq"]) for r in records]


def test_the_list_grows_while_calls_go_on(daemons, tenants):
    """The proxies have the longer list first; no call fails, and each outcome lies with its intent."""
    with load(tenants) as answers:
        until(lambda: all(len(answers[t.id]) > 5 for t in tenants))
        daemons.start("audit-1")
        daemons.again("proxy", (0, 1))
        daemons.again("vault", (0, 1))
        seen = {t.id: len(answers[t.id]) for t in tenants}
        until(lambda: all(len(answers[t.id]) > seen[t.id] + 10 for t in tenants))
        until(lambda: any(r["kind"] == "outcome" for r in daemons.records(1)), "nothing came to audit-1")
    assert {a.status_code for some in answers.values() for a in some} == {200}
    assert {r["tenant"] for r in daemons.records(1) if r["kind"] != "system"} == {tenants[1].id}
    until(lambda: all(intents_of(daemons, i) == outcomes_of(daemons, i) for i in (0, 1)), "an intent without its outcome")
    assert not [r for i in (0, 1) for r in daemons.records(i) if r["reason"] == "unknown"]


def of_kind(daemons, number, kind):
    return sorted(r["request"] for r in daemons.records(number) if r["kind"] == kind)


def intents_of(daemons, number):
    return of_kind(daemons, number, "intent")


def outcomes_of(daemons, number):
    return of_kind(daemons, number, "outcome")


def test_one_log_over_both(daemons, tenants):
    stays, moved = tenants
    whole = moved.log()
    assert {r["log"] for r in whole} == {"audit-0", "audit-1"}
    assert [r["time"] for r in whole] == sorted((r["time"] for r in whole), reverse=True)
    mine = {(f"audit-{i}", r["seq"]) for i in (0, 1) for r in daemons.records(i) if r["tenant"] == moved.id}
    assert len(whole) == len(set(numbers(whole))) and set(numbers(whole)) == mine
    assert {r["log"] for r in stays.log()} == {"audit-0"}
    first = moved.call("GET", "/v1/account/audit?limit=7")
    assert moved.ask().status_code == 200  # what comes meanwhile shifts no page
    pages, before = numbers(first["records"]), first["next"]
    while before is not None:
        page = moved.call("GET", f"/v1/account/audit?limit=7&before={before}")
        pages, before = pages + numbers(page["records"]), page["next"]
    assert pages == numbers(whole)
    calls = moved.call("GET", "/v1/account/audit?action=call&kind=intent&limit=1000")["records"]
    assert numbers(calls) == numbers(r for r in moved.log() if r["kind"] == "intent")
    for wrong in ("1.2.3", "1.", ".", "1..2", "x", "1.x"):
        moved.call("GET", f"/v1/account/audit?before={wrong}", want=400)


def test_the_command_shows_one_log(daemons, tenants):
    moved = tenants[1]
    environment = dict(os.environ, SEKS_SERVER=daemons.url, SEKS_ACCOUNT_KEY=moved.call("POST", "/v1/account/keys", {"name": "k"}, 201)["key"])

    def seks(*words):
        return subprocess.run([BUILD / "cli/seks", "audit", *words], env=environment, capture_output=True, text=True, timeout=30, check=True)
    listed = seks("list", "--limit", "5")
    before = listed.stderr.split("--before ")[1].strip()
    older = [json.loads(line) for line in json.dumps(json.loads(seks("list", "--limit", "5", "--before", before, "--json").stdout)["records"]).splitlines()][0]
    assert numbers(older) == numbers(moved.log())[5:10]
    with subprocess.Popen([BUILD / "cli/seks", "audit", "tail", "--limit", "2", "--json"], env=environment, stdout=subprocess.PIPE, text=True) as tail:
        there = [json.loads(tail.stdout.readline()) for _ in range(2)]
        request = moved.ask().headers["Seks-Request-Id"]
        fresh = [json.loads(tail.stdout.readline()) for _ in range(2)]
        tail.terminate()
    assert numbers(there) == numbers(moved.log()[2:4])[::-1]
    assert [(r["request"], r["kind"], r["log"]) for r in fresh] == [(request, "intent", "audit-1"), (request, "outcome", "audit-1")]


def test_one_that_dies_stops_its_own_tenants_alone(daemons, tenants):
    stays, moved = tenants
    with load([stays, stays, moved, moved]) as answers:
        until(lambda: all(len(answers[t.id]) > 5 for t in tenants))
        daemons.stop("audit-1", signal.SIGKILL)
        until(lambda: sum(a.status_code == 503 for a in answers[moved.id]) >= 4, "nothing was refused")
        daemons.start("audit-1")
        seen = len(answers[moved.id])
        until(lambda: 200 in {a.status_code for a in answers[moved.id][seen:]}, "not served again")
    assert {a.status_code for a in answers[stays.id]} == {200}
    refused = [a for a in answers[moved.id] if a.status_code == 503]
    assert {a.status_code for a in answers[moved.id]} == {200, 503}
    assert all("Retry-After" in a.headers for a in refused)
    assert min(a.took_s for a in refused) < 2.5  # 2 s, the rest is the loaded machine's
    until(lambda: intents_of(daemons, 1) == outcomes_of(daemons, 1), "an intent got no outcome", 30)
    assert not any(r["tenant"] == moved.id and r["kind"] == "intent" and r["request"] in intents_of(daemons, 0)
                   for r in daemons.records(1))


def test_a_list_in_another_order_is_noticed(daemons, tenants):
    """By the audit daemons, each of which knows its number: nothing is written into the wrong log."""
    stays, moved = tenants
    before = [len(intents_of(daemons, i)) for i in (0, 1)]
    daemons.again("proxy", (1, 0))
    assert moved.ask().status_code == 200  # the call itself is done ...
    until(lambda: "says that it is not audit-1" in daemons.log("proxy"), "the proxy does not say so")
    assert len(intents_of(daemons, 1)) == len(outcomes_of(daemons, 1)) + 1
    daemons.stop("proxy", signal.SIGKILL)  # ... and its outcome is unknown, when this proxy never tells it
    daemons.start("proxy", (0, 1))
    until(lambda: intents_of(daemons, 1) == outcomes_of(daemons, 1), "no outcome", 30)
    daemons.again("vault", (1, 0))
    until(lambda: "says that it is not audit-0" in daemons.log("vault"), "the vault does not say so")
    assert stays.ask().status_code == 503
    daemons.again("vault", (0, 1))
    until(lambda: stays.ask().status_code == 200)
    assert [len(intents_of(daemons, i)) - n for i, n in enumerate(before)] == [1, 1]


def test_a_proxy_with_a_shorter_list_refuses(daemons, tenants):
    stays, moved = tenants
    daemons.again("proxy", (0,))
    until(lambda: stays.ask().status_code == 200)
    answer = moved.ask()
    assert answer.status_code == 503 and "audit daemon" in answer.json()["detail"]
    assert "a grant names audit-1, and this proxy's --audit has 1" in daemons.log("proxy")
    daemons.again("proxy", (0, 1))
    until(lambda: moved.ask().status_code == 200)


def database_of(daemons, into=None):
    """The files of the vault's database, while no vault runs; or INTO the directory, back again."""
    directory = daemons.directory / "vault"
    if into is None:
        return {p.name: p.read_bytes() for p in directory.glob("vault.db*")}
    for path in directory.glob("vault.db*"):
        path.unlink()
    for name, content in into.items():
        (directory / name).touch(0o600)
        (directory / name).write_bytes(content)


def test_any_of_them_knows_an_older_database(daemons, tenants):
    """All are told of each change; one that is away keeps no vault from starting, and is heard when it is back."""
    stays, moved = tenants
    daemons.stop("vault")
    older = database_of(daemons)
    daemons.start("vault", (0, 1))
    until(lambda: moved.ask().status_code == 200)
    moved.agent("b")
    until(lambda: all(daemons.records(i)[-1]["action"] == "vault.epoch" for i in (0, 1)), "not both were told")
    daemons.stop("vault")
    newer = database_of(daemons)
    daemons.stop("audit-0")
    database_of(daemons, older)
    daemons.start("vault", (0, 1))
    until(lambda: "an older copy was put back" in daemons.log("vault"), "audit-1 alone did not say so")
    assert moved.ask().status_code == 503
    daemons.stop("vault")
    database_of(daemons, newer)
    daemons.start("vault", (0, 1))
    until(lambda: moved.ask().status_code == 200, "no start without audit-0")
    assert stays.ask().status_code == 503
    moved.agent("c")  # of which only audit-1 hears
    until(lambda: daemons.records(1)[-1]["action"] == "vault.epoch")
    daemons.stop("vault")
    newest = database_of(daemons)
    daemons.stop("audit-1")
    database_of(daemons, newer)
    said = daemons.log("vault").count("an older copy was put back")
    daemons.start("audit-0")
    daemons.start("vault", (0, 1))
    until(lambda: stays.ask().status_code == 200, "no start without audit-1")
    daemons.start("audit-1")
    until(lambda: daemons.log("vault").count("an older copy was put back") > said, "audit-1 was not heard when it came back")
    assert stays.ask().status_code == 503
    daemons.stop("vault")
    database_of(daemons, newest)
    daemons.start("vault", (0, 1))
    until(lambda: [t.ask().status_code for t in tenants] == [200, 200])


def test_each_chain_is_whole_and_named(daemons, tenants):
    """And the vault kept the head of each."""
    key = daemons.keys / "audit-sign.pub"
    for number, mark in enumerate(("audit.head", "audit-1.head")):
        directory = daemons.directory / f"audit-{number}"
        head = daemons.directory / "vault" / mark
        until(head.exists, f"{mark} is not there")
        status, verdict, findings = verify(directory, key, "--head", head)
        assert status == 0 and not findings, (verdict, findings)
        assert (" of audit-1," in verdict) == (number == 1), verdict
        other = daemons.directory / "vault" / ("audit-1.head", "audit.head")[number]
        result = subprocess.run([BUILD / "cli/seks", "audit", "verify", directory, "--key", key, "--head", other], capture_output=True, text=True)
        assert result.returncode == 2 and "is of the log of audit-" in result.stdout + result.stderr
    daemons.stop("audit-1")
    wrong = subprocess.run([BUILD / "services/audit/seks-audit", "--shard", "2", "--data", daemons.directory / "audit-1", "--keys", daemons.keys,
                            "--listen-vault", daemons.socket("x"), "--listen-proxy", daemons.socket("y"), "--user", os.environ["SEKS_USER"]],
                           capture_output=True, text=True, timeout=20)
    assert wrong.returncode != 0 and "this is the log of audit daemon 1" in wrong.stderr
    daemons.start("audit-1")
    until(lambda: tenants[1].ask().status_code == 200)
