"""What breaks, and what the caller sees: a broker of its own, whose daemons are stopped and killed."""
import concurrent.futures
import os
import signal
import subprocess
import time

import pytest
import requests

import standin
from conftest import ROOT, SECRET_NAMES, Account, Broker, free_port, rows_for, store_digest, store_environment


@pytest.fixture(scope="module")
def frail(tmp_path_factory, providers, certificates):
    """Short timeouts; brave is refused, notion shows a certificate of nobody."""
    rows = rows_for(providers, certificates, timeouts_ms={"connect": 1000, "first_byte": 700, "idle": 700})
    for row in rows:
        if row["name"] == "brave":
            row["origin"] = f"https://127.0.0.1:{free_port()}"
        if row["name"] == "notion":
            row["ca_file"] = str(certificates / "other.pem")
        if row["name"] == "cloudflare":
            row["allow_insecure"] = False
    broker = Broker(tmp_path_factory.mktemp("frail"), rows)
    account = Account(broker, "frail@example.com")
    agent = account.agent("a")["agent"]["id"]
    broker.tokens = {}
    for name, secret in SECRET_NAMES.items():
        account.put_secret(secret, standin.KEYS[name])
        broker.tokens[name] = account.token(agent, name)["value"]
    broker.account = account
    yield broker
    broker.stop()


def call(broker, provider, path, **more):
    return requests.get(f"{broker.url}/api/{provider}{path}", timeout=20,
                        headers={"Authorization": f"Bearer {broker.tokens[provider]}"}, **more)


def test_refused_connection_is_502(frail):
    assert call(frail, "brave", "/web/search").status_code == 502


def test_wrong_authority_is_502(frail):
    assert call(frail, "notion", "/v1/users/me").status_code == 502


def test_private_address_needs_leave(frail, providers):
    before = len(providers["cloudflare"].seen)
    assert call(frail, "cloudflare", "/zones").status_code == 502
    assert len(providers["cloudflare"].seen) == before


def test_late_first_byte_is_504(frail):
    answer = call(frail, "openai", "/v1/x/slow")
    assert answer.status_code == 504 and answer.json()["status"] == 504


@pytest.mark.parametrize("daemon", ["vault", "proxy", "audit", "gateway"])
def test_killed_daemon_comes_back(frail, daemon):
    os.kill(frail.pid(daemon), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while True:
        try:
            answer = call(frail, "openai", "/v1/models")
            if answer.status_code == 200:
                return
            assert answer.status_code in (502, 503), answer.text
        except requests.exceptions.ConnectionError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_vault_restart_costs_a_wait(frail):
    os.kill(frail.pid("vault"), signal.SIGKILL)
    assert call(frail, "openai", "/v1/models").status_code == 200


def test_proxy_that_was_replaced_while_the_vault_decided(frail):
    """The grant is for the process that was chosen; the one that came after it needs its own."""
    vault, proxy = frail.pid("vault"), frail.pid("proxy")
    assert call(frail, "openai", "/v1/models").status_code == 200
    begun = frail.log().count(" proxy start version")
    os.kill(vault, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answer = pool.submit(call, frail, "openai", "/v1/models")
            time.sleep(0.2)  # the vault has been asked
            os.kill(proxy, signal.SIGKILL)
            while frail.log().count(" proxy start version") == begun:
                assert not answer.done()
                time.sleep(0.02)
            time.sleep(1)  # the gateway has heard from the new one, which sends no call yet
            os.kill(vault, signal.SIGCONT)
            answer = answer.result()
    finally:
        os.kill(vault, signal.SIGCONT)
    assert answer.status_code == 200, answer.text


def test_no_audit_no_call(frail, providers):
    pid = frail.pid("audit")
    os.kill(pid, signal.SIGSTOP)
    before = len(providers["openai"].seen)
    try:
        answer = call(frail, "openai", "/v1/models")
        assert answer.status_code == 503 and answer.headers["Retry-After"]
        assert len(providers["openai"].seen) == before
    finally:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1)
    assert call(frail, "openai", "/v1/models").status_code == 200
    assert len(providers["openai"].seen) == before + 1


def test_every_upstream_call_has_one_intent(frail, providers):
    for _ in range(20):
        assert call(frail, "github", "/user").status_code == 200
    time.sleep(0.3)
    records = frail.account.call("GET", "/v1/account/audit?provider=github&limit=1000")["records"]
    intents = {r["request"]: r["seq"] for r in records if r["kind"] == "intent"}
    outcomes = {r["request"]: r["seq"] for r in records if r["kind"] == "outcome"}
    assert len(intents) == 20 and intents.keys() == outcomes.keys()
    assert all(intents[r] < outcomes[r] for r in intents)


@pytest.mark.parametrize("damage", ["missing", "short", "readable", "wrong"])
def test_bad_master_key_refuses_to_start(tmp_path, providers, certificates, damage):
    broker = Broker(tmp_path, rows_for(providers, certificates))
    Account(broker, "a@example.com")
    broker.stop()
    key = tmp_path / "data/keys/master.key"
    before = store_digest(tmp_path / "data")
    good = key.read_text()
    os.chmod(key, 0o600)
    if damage == "missing":
        key.unlink()
    elif damage == "short":
        key.write_text(good[:40])
    elif damage == "wrong":
        key.write_text("0" * 64)
    else:
        os.chmod(key, 0o644)
    build = os.environ.get("SEKS_BUILD") or ROOT / "build/release"
    result = subprocess.run([f"{build}/services/vault/seks-vault", "--data", tmp_path / "data/vault", "--keys", tmp_path / "data/keys",
                             "--listen-gateway", f"ipc://{tmp_path}/data/ipc/v", "--audit", f"ipc://{tmp_path}/data/ipc/a"],
                            capture_output=True, text=True, timeout=20, env=dict(os.environ, **store_environment(tmp_path / "data")))
    assert result.returncode == 1 and "master" in result.stderr
    assert store_digest(tmp_path / "data") == before
