"""What happens when the audit daemon cannot write: nothing is called, callers are told why, and it ends by itself."""
import concurrent.futures
import contextlib
import os
import signal
import subprocess
import time

import pytest
import requests

import standin
from conftest import PASSWORD
from test_audit import call, new_broker, records_of, verify, wait_for

REFUSED_WITHIN_S, RESUMED_WITHIN_S = 2.0, 5.0


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, providers, certificates):
    broker = new_broker(tmp_path_factory.mktemp("faulty"), providers, certificates)
    yield broker
    broker.stop()
    status, verdict, findings = verify(broker.directory / "data/audit", broker.directory / "data/keys/audit-sign.pub",
                                       "--head", broker.directory / "data/vault/audit.head")
    assert status == 0 and not findings, verdict


def records(broker):
    return records_of(broker.directory / "data/audit")


@contextlib.contextmanager
def injected(broker, rule):
    """The daemon's system calls on the log fail, and on no other file."""
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-p", str(broker.pid("audit")), "-P", broker.directory / "data/audit/audit.log",
                               "-e", f"inject={rule}:syscall=getppid",  # in its place one that the daemon's filter allows
                               "-o", "/dev/null"], stderr=subprocess.PIPE, text=True)
    status = f"/proc/{broker.pid('audit')}/status"
    wait_for(lambda: tracer.poll() is not None or f"TracerPid:\t{tracer.pid}" in open(status).read(), 5)
    assert tracer.poll() is None, tracer.stderr.read()
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)


@contextlib.contextmanager
def stopped(broker):
    pid = broker.pid("audit")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("name", ["full disk", "failing disk", "stopped"])
def test_nothing_is_called_unwritten(faulty, providers, name):
    assert call(faulty).status_code == 200
    gaps = sum(r["action"] == "audit.gap" for r in records(faulty))
    seen = len(providers["openai"].seen)
    fault = {"full disk": lambda: injected(faulty, "write:error=ENOSPC"),
             "failing disk": lambda: injected(faulty, "fdatasync:error=EIO"),
             "stopped": lambda: stopped(faulty)}[name]
    with fault():
        for _ in range(4):
            began = time.monotonic()
            answer = call(faulty)
            took = time.monotonic() - began
            assert answer.status_code == 503 and answer.headers["Retry-After"]
            assert "audit log" in answer.json()["detail"], answer.text
            assert took < REFUSED_WITHIN_S
        assert len(providers["openai"].seen) == seen
    began = time.monotonic()
    while call(faulty).status_code != 200:
        assert time.monotonic() - began < RESUMED_WITHIN_S
    assert time.monotonic() - began < RESUMED_WITHIN_S
    wait_for(lambda: sum(r["action"] == "audit.gap" for r in records(faulty)) == gaps + 1, 3)
    gap = [r for r in records(faulty) if r["action"] == "audit.gap"][-1]
    assert "4 requests refused" in gap["reason"] and gap["duration_ms"] > 0
    assert len(providers["openai"].seen) == seen + 1


@pytest.mark.parametrize("name", ["full disk", "stopped"])
def test_nothing_else_is_done_unwritten(faulty, name):
    """No raw secret, no change and no login either; what was refused did not happen."""
    account, url = faulty.account, faulty.url
    agent = account.agent(f"reader {name}", direct_access=True)
    get = {"json": {"name": "OPENAI_API_KEY"}, "headers": {"Authorization": f"Bearer {agent['token']}"}}
    assert requests.post(f"{url}/v1/secrets/get", **get).status_code == 200
    login = {"email": account.email, "password": PASSWORD}
    with injected(faulty, "write:error=ENOSPC") if name == "full disk" else stopped(faulty):
        asks = [lambda: requests.post(f"{url}/v1/secrets/get", **get, timeout=20),
                lambda: requests.post(f"{url}/v1/session", json=login, timeout=20),
                lambda: account.http.post(f"{url}/v1/account/agents", json={"name": f"never {name}"}, timeout=20),
                lambda: account.http.delete(f"{url}/v1/account/agents/{agent['agent']['id']}", timeout=20)]
        with concurrent.futures.ThreadPoolExecutor(len(asks)) as pool:
            answers = list(pool.map(lambda ask: ask(), asks))
        for answer in answers:
            assert answer.status_code == 503 and "audit log" in answer.json()["error"], answer.text
            assert standin.KEYS["openai"] not in answer.text and "Set-Cookie" not in answer.headers
    wait_for(lambda: call(faulty).status_code == 200, RESUMED_WITHIN_S)
    names = {a["name"] for a in account.call("GET", "/v1/account/agents")["agents"]}
    assert f"reader {name}" in names and f"never {name}" not in names


def test_killed_again_and_again(faulty, providers):
    """Each call is answered within two seconds, and only those that were written reached the provider."""
    seen, good, slowest = len(providers["openai"].seen), 0, 0
    for i in range(12):
        if i % 3 == 0:
            with contextlib.suppress(IndexError):  # it is not up yet
                os.kill(faulty.pid("audit"), signal.SIGKILL)
        began = time.monotonic()
        answer = call(faulty)
        slowest = max(slowest, time.monotonic() - began)
        assert answer.status_code in (200, 503), answer.text
        good += answer.status_code == 200
    assert slowest < REFUSED_WITHIN_S + 0.2
    wait_for(lambda: call(faulty).status_code == 200, RESUMED_WITHIN_S)
    assert good > 0
    started = sum(r["action"] == "audit.start" for r in records(faulty))
    assert started >= 3
    intents = {r["request"] for r in records(faulty) if r["kind"] == "intent"}
    assert len(providers["openai"].seen) - seen <= len(intents)
