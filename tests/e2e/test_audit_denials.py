"""Refusals in the audit log: each by itself, until there are too many; then they are counted."""
import json
import secrets
import zlib

import pytest
import requests

import standin
from conftest import PASSWORD
from test_audit import call, new_broker, records_of, verify

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def token_of_nobody(label="openai"):
    """Well formed, with a right checksum, and nobody's."""
    text = f"seks_{label}_" + "".join(secrets.choice(DIGITS) for _ in range(43))
    number, check = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        check = DIGITS[digit] + check
    return text + check


@pytest.fixture(scope="module")
def log(tmp_path_factory, providers, certificates):
    """What a stopped broker's log says after each kind of refusal, some of them far too often."""
    broker = new_broker(tmp_path_factory.mktemp("denials"), providers, certificates)
    account = broker.account
    assert call(broker).status_code == 200
    for _ in range(120):
        answer = requests.get(f"{broker.url}/api/openai/x", headers={"Authorization": f"Bearer {token_of_nobody()}"})
        assert answer.status_code == 401
    for token in ["seks_openai_" + 49 * "x"] * 20 + ["sk-something-else"] * 20:
        assert requests.get(f"{broker.url}/api/openai/x", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    dead = account.token(account.agent("dead")["agent"]["id"], "openai")
    account.call("DELETE", f"/v1/account/agents/{dead['token']['agent']}/tokens/{dead['token']['id']}")
    for _ in range(30):
        assert requests.get(f"{broker.url}/api/openai/x", headers={"Authorization": f"Bearer {dead['value']}"}).status_code == 401
    for password in ("wrong password", PASSWORD):
        requests.post(f"{broker.url}/v1/session", json={"email": account.email, "password": password})
    requests.post(f"{broker.url}/v1/session", json={"email": "nobody@example.com", "password": PASSWORD})
    assert account.http.put(f"{broker.url}/v1/account/secrets/X", json={"value": "x"}, headers={"X-CSRF-Token": "no"}).status_code == 403
    agent = account.agent("reader", direct_access=["OPENAI_API_KEY"])
    get = {"url": f"{broker.url}/v1/secrets/get", "headers": {"Authorization": f"Bearer {agent['token']}"}}
    assert requests.post(**get, json={"name": "OPENAI_API_KEY"}).json()["value"] == standin.KEYS["openai"]
    account.put_secret("OTHER", "other value")
    assert requests.post(**get, json={"name": "OTHER"}).status_code == 403
    broker.stop()
    directory = broker.directory / "data"
    status, verdict, _ = verify(directory / "audit", directory / "keys/audit-sign.pub", "--head", directory / "vault/audit.head")
    assert status == 0, verdict
    return account.id, records_of(directory / "audit")


def denied(log, reason):
    return [r for r in log[1] if r["kind"] == "denied" and r["reason"].startswith(reason)]


def test_a_flood_is_counted(log):
    records = denied(log, "unknown token")
    assert [r["reason"] for r in records] == ["unknown token"] * 10 + ["unknown token: 110 more"]
    assert all(r["tenant"] is None and r["client"] == "127.0.0.1" and r["decision"] == "deny" for r in records)
    assert records[-1]["duration_ms"] is not None and records[-1]["path"] is None


def test_what_the_gateway_refuses_is_counted_too(log):
    records = denied(log, "no well-formed token")
    first = [r for r in records if r["reason"] == "no well-formed token"]
    assert 1 <= len(first) <= 10 and all(r["request"].startswith("req_") and r["client"] == "127.0.0.1" for r in first)
    more = [r for r in records if r not in first]
    assert len(more) == 1 and more[0]["reason"] == f"no well-formed token: {40 - len(first)} more"


def test_what_is_an_accounts_is_counted_by_itself(log):
    records = denied(log, "revoked token")
    assert [r["reason"] for r in records] == ["revoked token"] * 10 + ["revoked token: 20 more"]
    assert {r["tenant"] for r in records} == {log[0]}
    assert all(r["path"] == "/x" and r["agent"] for r in records[:10])


def test_logins(log):
    (good,) = [r for r in log[1] if r["action"] == "session.create" and r["kind"] == "account"]
    assert good["tenant"] == log[0] and good["decision"] == "allow" and good["client"] == "127.0.0.1"
    (wrong,) = denied(log, "wrong password")
    assert wrong["action"] == "session.create" and wrong["tenant"] == log[0]
    (nobody,) = denied(log, "unknown email")
    assert nobody["action"] == "session.create" and nobody["tenant"] is None


def test_changes_and_raw_reads(log):
    actions = [r["action"] for r in log[1] if r["kind"] == "account"]
    for action in ("account.create", "secret.put", "agent.create", "token.create", "token.delete"):
        assert action in actions
    (read,) = [r for r in log[1] if r["action"] == "secret.get" and r["kind"] == "account"]
    assert read["reason"] == "OPENAI_API_KEY" and read["agent"] and read["tenant"] == log[0]
    (refused,) = denied(log, "no direct access")
    assert refused["action"] == "secret.get" and refused["agent"] == read["agent"]
    (forged,) = denied(log, "wrong CSRF token")
    assert forged["action"] == "secret.put" and forged["tenant"] == log[0]
    assert not any(key in json.dumps(log[1]) for key in (standin.KEYS["openai"], PASSWORD, "other value", "seks_openai"))
