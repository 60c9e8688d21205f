"""The HTTP contract of /v1 and the errors of /api, call by call."""
import time

import pytest
import requests

import standin
from conftest import PASSWORD, Account

STRANGER = "0" * 43 + "000000"


@pytest.fixture(scope="module")
def other(broker):
    return Account(broker, "other@example.com")


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_account_life(broker):
    account = Account(broker, "  Life@Example.com ")
    got = account.call("GET", "/v1/account")
    assert got["ok"] is True and got["account"]["email"] == "life@example.com" and got["csrf"]
    again = requests.post(broker.url + "/v1/account", json={"email": "life@example.com", "password": PASSWORD})
    assert again.status_code == 409 and again.json()["ok"] is False
    session = requests.Session()
    bad = session.post(broker.url + "/v1/session", json={"email": "life@example.com", "password": "wrong password"})
    nobody = session.post(broker.url + "/v1/session", json={"email": "nobody@example.com", "password": "wrong password"})
    assert bad.status_code == nobody.status_code == 401 and bad.content == nobody.content
    good = session.post(broker.url + "/v1/session", json={"email": "LIFE@example.com", "password": PASSWORD})
    assert good.status_code == 200
    cookie = good.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    account.call("POST", "/v1/account/password", {"old": PASSWORD, "new": "another long one"})
    assert session.get(broker.url + "/v1/account").status_code == 401
    fresh = requests.Session()
    csrf = fresh.post(broker.url + "/v1/session", json={"email": "life@example.com", "password": "another long one"}).json()["csrf"]
    fresh.headers["X-CSRF-Token"] = csrf
    assert fresh.delete(broker.url + "/v1/account", json={"password": "not this one"}).status_code in (401, 403)
    assert fresh.delete(broker.url + "/v1/account", json={"password": "another long one"}).status_code == 200
    assert fresh.get(broker.url + "/v1/account").status_code == 401


def test_logout(broker):
    account = Account(broker, "logout@example.com")
    answer = account.http.delete(broker.url + "/v1/session")
    assert answer.status_code == 200 and "Max-Age=0" in answer.headers["Set-Cookie"]
    assert account.http.get(broker.url + "/v1/account").status_code == 401


def test_csrf(broker, account):
    cookies = account.http.cookies.get_dict()
    bare = requests.post(broker.url + "/v1/account/agents", json={"name": "forged"}, cookies=cookies)
    assert bare.status_code == 403
    wrong = requests.post(broker.url + "/v1/account/agents", json={"name": "forged"}, cookies=cookies,
                          headers={"X-CSRF-Token": "0" * 64})
    assert wrong.status_code == 403
    assert requests.get(broker.url + "/v1/account", cookies=cookies).status_code == 200


def test_account_keys(broker, account):
    made = account.call("POST", "/v1/account/keys", {"name": "ci"}, 201)
    assert made["key"].startswith("seks_account_")
    assert requests.get(broker.url + "/v1/account", headers=bearer(made["key"])).json()["account"]["id"] == account.id
    assert made["id"] in [k["id"] for k in account.call("GET", "/v1/account/keys")["keys"]]
    account.call("DELETE", f"/v1/account/keys/{made['id']}")
    assert requests.get(broker.url + "/v1/account", headers=bearer(made["key"])).status_code == 401


def test_secrets(account):
    assert account.put_secret("team/deploy.KEY-1", "v1-secret").status_code == 201
    answer = account.put_secret("team/deploy.KEY-1", "v2-secret")
    assert answer.status_code == 200 and answer.json()["secret"]["version"] == 2
    listed = account.call("GET", "/v1/account/secrets")["secrets"]
    assert "team/deploy.KEY-1" in [s["name"] for s in listed] and "v2-secret" not in str(listed)
    account.call("DELETE", "/v1/account/secrets/team%2Fdeploy.KEY-1")
    account.call("DELETE", "/v1/account/secrets/team%2Fdeploy.KEY-1", want=404)


@pytest.mark.parametrize("value", ["", "a\rb", "a\nb", "a\0b"])
def test_bad_secret_values(account, value):
    assert account.put_secret("BAD", value).status_code == 400


@pytest.mark.parametrize("body, word", [
    ('{"name":"x"', "JSON"), ("[]", "object"), ('{"name":5}', "name"), ('{"name":"x","extra":1}', "extra"),
    ('{"name":"%s"}' % ("n" * 129), "name"), ("{}", "name"), ('{"name":"x","direct_access":"all"}', "direct_access"),
    ('{"name":"x","name":"y"}', "JSON")])
def test_bad_bodies(broker, account, body, word):
    answer = account.http.post(broker.url + "/v1/account/agents", data=body)
    assert answer.status_code == 400 and answer.json()["ok"] is False and word in answer.json()["error"]


def test_agents(account):
    made = account.agent("reader", direct_access=["OPENAI_API_KEY"])
    agent = made["agent"]["id"]
    assert made["token"].startswith("seks_agent_") and made["agent"]["direct_access"] == ["OPENAI_API_KEY"]
    account.call("POST", "/v1/account/agents", {"name": "reader"}, 409)
    got = account.call("GET", f"/v1/account/agents/{agent}")["agent"]
    assert got["name"] == "reader"
    changed = account.call("PATCH", f"/v1/account/agents/{agent}", {"name": "renamed", "direct_access": True})["agent"]
    assert changed["name"] == "renamed" and changed["direct_access"] is True
    assert agent in [a["id"] for a in account.call("GET", "/v1/account/agents")["agents"]]
    renewed = account.call("POST", f"/v1/account/agents/{agent}/token")["token"]
    url = account.broker.url + "/v1/secrets/list"
    assert requests.post(url, headers=bearer(made["token"])).status_code == 401
    assert requests.post(url, headers=bearer(renewed)).status_code == 200
    account.call("DELETE", f"/v1/account/agents/{agent}")
    account.call("GET", f"/v1/account/agents/{agent}", want=404)
    assert requests.post(url, headers=bearer(renewed)).status_code == 401


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_agent_secrets(broker, account, prefix):
    made = account.agent("direct" + prefix.replace("/", "-"), direct_access=["OPENAI_API_KEY"])
    listed = requests.post(f"{broker.url}{prefix}/secrets/list", headers=bearer(made["token"])).json()
    assert {"name": "OPENAI_API_KEY", "provider": "openai"} in listed["secrets"]
    get = lambda name: requests.post(f"{broker.url}{prefix}/secrets/get", json={"name": name}, headers=bearer(made["token"]))
    assert get("OPENAI_API_KEY").json() == {"ok": True, "value": standin.KEYS["openai"]}
    assert get("GITHUB_TOKEN").status_code == 403
    assert get("NO_SUCH").status_code == 404
    records = account.call("GET", f"/v1/account/audit?agent={made['agent']['id']}&action=secret.get")["records"]
    assert len(records) >= 2


def test_tokens(broker, account, agent):
    made = account.token(agent["agent"]["id"], "openai", expires_in=3600)
    token = made["token"]
    assert made["value"].startswith("seks_openai_") and made["value"].endswith(token["last4"])
    assert made["base_url"] == broker.url + "/api/openai" and token["expires_at"]
    path = f"/v1/account/agents/{agent['agent']['id']}/tokens"
    assert token["id"] in [t["id"] for t in account.call("GET", path)["tokens"]]
    url = broker.url + "/api/openai/models"
    assert requests.get(url, headers=bearer(made["value"])).status_code == 200
    renewed = account.call("POST", f"{path}/{token['id']}/renew")
    assert requests.get(url, headers=bearer(made["value"])).status_code == 401
    assert requests.get(url, headers=bearer(renewed["value"])).status_code == 200
    account.call("DELETE", f"{path}/{token['id']}")
    assert requests.get(url, headers=bearer(renewed["value"])).status_code == 401


def test_refusals_look_alike(broker, account, agent, tokens):
    """No, malformed, unknown, expired, deleted, other provider's, other tenant's agent."""
    agent_id = agent["agent"]["id"]
    expiring = account.token(agent_id, "openai", expires_in=1)["value"]
    deleted = account.token(agent_id, "openai")
    account.call("DELETE", f"/v1/account/agents/{agent_id}/tokens/{deleted['token']['id']}")
    time.sleep(1.1)
    url = broker.url + "/api/openai/models"
    answers = [requests.get(url)]
    for token in ("nothing", "seks_openai_" + STRANGER, expiring, deleted["value"], tokens["github"]):
        answers.append(requests.get(url, headers=bearer(token)))
    assert {a.status_code for a in answers} == {401}
    assert len({a.content for a in answers}) == 1
    assert "Basic" in answers[0].headers["WWW-Authenticate"] and "Bearer" in answers[0].headers["WWW-Authenticate"]


def test_two_tokens(broker, tokens):
    answer = requests.get(broker.url + "/api/openai/models", headers={**bearer(tokens["openai"]), "x-api-key": tokens["github"]})
    assert answer.status_code == 400


def test_tenants_do_not_meet(other, account, agent):
    other.call("GET", f"/v1/account/agents/{agent['agent']['id']}", want=404)
    other.call("DELETE", f"/v1/account/agents/{agent['agent']['id']}", want=404)
    assert other.call("GET", "/v1/account/secrets")["secrets"] == []
    assert all(r["tenant"] == other.id for r in other.call("GET", "/v1/account/audit")["records"])


def test_missing_secret_is_named(broker, other):
    agent = other.agent("poor")["agent"]["id"]
    token = other.token(agent, "openai")["value"]
    answer = requests.get(broker.url + "/api/openai/models", headers=bearer(token))
    assert answer.status_code == 404 and "OPENAI_API_KEY" in answer.json()["detail"]
    assert answer.json()["error"]["message"] == answer.json()["message"] == answer.json()["detail"]


def test_unknown_provider(broker, tokens):
    answer = requests.get(broker.url + "/api/nosuch/x", headers=bearer(tokens["openai"]))
    assert answer.status_code == 404 and answer.headers["Content-Type"] == "application/problem+json"


def test_denied_call(broker, tokens, providers):
    before = len(providers["openai"].seen)
    answer = requests.get(broker.url + "/api/openai/v1/organization/admin_api_keys", headers=bearer(tokens["openai"]))
    assert answer.status_code == 403 and len(providers["openai"].seen) == before


def test_limits(broker, account, tokens):
    head = bearer(tokens["openai"])
    assert requests.get(broker.url + "/api/openai/" + "x" * 8200, headers=head).status_code == 414
    many = {**head, **{f"x-h{i}": "1" for i in range(110)}}
    assert requests.get(broker.url + "/api/openai/models", headers=many).status_code == 431
    large = {**head, "x-large": "v" * 33000}
    assert requests.get(broker.url + "/api/openai/models", headers=large).status_code == 431
    assert account.http.post(broker.url + "/v1/account/agents", data="x" * 70000).status_code == 413


def test_paths_and_methods(broker):
    assert requests.get(broker.url + "/v1/nothing").status_code == 404
    answer = requests.delete(broker.url + "/v1/account/keys")
    assert answer.status_code == 405 and "GET" in answer.headers["Allow"]
    for path in ("/healthz", "/health", "/v1/health", "/readyz"):
        answer = requests.get(broker.url + path)
        assert answer.status_code == 200 and answer.json() == {"ok": True}
        assert answer.headers["Seks-Request-Id"].startswith("req_")


def test_cors(broker):
    for path in ("/api/openai/models", "/v1/secrets/list"):
        answer = requests.options(broker.url + path, headers={"Origin": "https://a.example"})
        assert answer.status_code == 204 and answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in requests.options(broker.url + "/v1/account").headers
    assert "Access-Control-Allow-Origin" not in requests.get(broker.url + "/v1/account").headers


def test_providers(broker):
    listed = requests.get(broker.url + "/v1/providers").json()
    by_name = {p["name"]: p for p in listed["providers"]}
    assert listed["ok"] and set(standin.KEYS) <= set(by_name)
    assert by_name["anthropic"]["aliases"] == ["claude"] and by_name["openai"]["secrets"] == ["OPENAI_API_KEY"]
    assert by_name["openai"]["base_url"] == broker.url + "/api/openai"
    assert by_name["openai"]["env"]["OPENAI_BASE_URL"] == "{base_url}"
    assert by_name["aws"]["optional_secrets"] == ["AWS_SESSION_TOKEN"]
    for row in by_name.values():
        assert any("{token}" in text for text in row["env"].values()), row["name"]
        assert row["snippets"] and all("{token}" in text for text in row["snippets"].values()), row["name"]
        assert row["test_path"].startswith("/")


def test_audit_pages(account, agent):
    first = account.call("GET", "/v1/account/audit?limit=2")
    assert len(first["records"]) == 2 and first["next"]
    assert first["records"][0]["seq"] > first["records"][1]["seq"]
    second = account.call("GET", f"/v1/account/audit?limit=2&before={first['next']}")
    assert second["records"][0]["seq"] < first["records"][1]["seq"]
    calls = account.call("GET", "/v1/account/audit?provider=openai&action=call")["records"]
    assert calls and {r["provider"] for r in calls} == {"openai"}
    kinds = {r["kind"] for r in calls}
    assert {"intent", "outcome"} <= kinds
    account.call("GET", "/v1/account/audit?limit=x", want=400)


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_proxy_request(broker, account, agent, prefix):
    def call(body, token=agent["token"]):
        return requests.post(f"{broker.url}{prefix}/proxy/request", json=body, headers=bearer(token))
    answer = call({"service": "openai", "method": "GET", "path": "/v1/models"})
    assert answer.status_code == 200 and answer.json()["ok"] is True and answer.json()["status"] == 200
    assert answer.json()["body"]["data"][0]["id"] == "m1"
    sent = {"service": "openai", "method": "POST", "path": "/v1/x/echo?a=b", "headers": {"X-Mine": "1", "Authorization": "Bearer mine"},
            "body": {"text": "é" * 20000}}
    got = call(sent).json()["body"]
    assert got["path"] == "/v1/x/echo?a=b" and got["headers"]["X-Mine"] == "1" and got["size"] > 40000
    assert got["headers"]["Content-Type"] == "application/json" and "****" in got["headers"]["Authorization"]
    assert call({"service": "openai", "method": "PUT", "path": "/v1/x/echo", "body": "plain"}).json()["body"]["size"] == 5
    missing = call({"service": "openai", "method": "GET", "path": "/v1/x/status/404"}).json()
    assert missing["ok"] is False and missing["status"] == 404
    assert call({"service": "openai", "method": "GET", "path": "/v1/x/status/204"}).json()["body"] == ""
    for body, word in (({"service": "nosuch", "method": "GET", "path": "/"}, "service"), ({"service": "openai", "method": "TRACE", "path": "/"}, "method"),
                       ({"service": "openai", "method": "GET", "path": "/a/../b"}, "path"), ({"service": "openai", "method": "GET", "path": "/", "x": 1}, "x")):
        refused = call(body)
        assert refused.status_code == 400 and word in refused.json()["error"]
    for headers in ({"": "x"}, {"X ": "x"}, {"X:": "x"}, {"X\r\nY": "x"}, {"X": "a\r\nY: b"}, {"X": "a\x01"}, {"X": "\x7f"}, {"X": 1}):
        refused = call({**sent, "headers": headers})
        assert refused.status_code == 400 and "headers" in refused.json()["error"], headers
    own = call({**sent, "path": "/v1/x/echo?a=b&key=AIzaMine&%6bey=x&access_token=y&c"}).json()["body"]
    assert own["path"] == "/v1/x/echo?a=b&c"  # a credential of one's own stays here, as with /api
    assert call({**sent, "path": "/v1/x/echo?x-amz-acl=public-read"}).status_code == 400
    assert call(sent, "seks_agent_no").status_code == 401
