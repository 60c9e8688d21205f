"""The client's address in the audit log: from a trusted proxy's header, and from nobody else's."""
from conftest import Account, Broker, rows_for


def clients(account):
    return [r["client"] for r in account.call("GET", "/v1/account/audit?action=agent.create")["records"]]


def make_agent(account, name, **headers):
    answer = account.http.post(account.broker.url + "/v1/account/agents", json={"name": name}, headers=headers)
    assert answer.status_code == 201, answer.text


def test_a_header_is_not_believed(broker):
    account = Account(broker, "untrusted@example.com")
    make_agent(account, "a", **{"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"})
    assert clients(account) == ["127.0.0.1"]


def test_a_trusted_proxy_is_believed(tmp_path, providers, certificates, monkeypatch):
    monkeypatch.setenv("SEKS_TRUSTED_PROXIES", "127.0.0.0/8,192.0.2.0/24")
    broker = Broker(tmp_path, rows_for(providers, certificates))
    account = Account(broker, "behind@example.com")
    make_agent(account, "a", **{"X-Forwarded-For": "6.6.6.6, 2001:db8::7, 192.0.2.1", "Forwarded": "for=7.7.7.7"})
    make_agent(account, "b", Forwarded="for=203.0.113.9")
    assert clients(account) == ["127.0.0.1", "2001:db8::7"]
    broker.stop()
