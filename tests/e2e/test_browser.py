"""What a browser may do with the broker: names, other sites' pages, and what runs on its origin."""
import socket

import pytest
import requests

from conftest import PASSWORD, Account, Broker


def ask(broker, method, path, host=None, body=b"", **headers):
    """Raw, since requests would set Host and Origin itself; the status and the lower-case headers."""
    lines = [f"{method} {path} HTTP/1.1", "Host: " + (f"127.0.0.1:{broker.port}" if host is None else host),
             f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as s:
        s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        text = b""
        while data := s.recv(65536):
            text += data
    head = text.split(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(head[0].split()[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9", "localhost:1234", "LOCALHOST", "localhost.", "[::1]:80", "10.1.2.3",
                                  "gateway:8787", "broker.internal", "a.b.local"])
def test_names_that_are_ours(broker, host):
    assert ask(broker, "GET", "/", host)[0] == 200
    assert ask(broker, "GET", "/v1/account", host)[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "localhost.evil.example", "1.2.3.4.5", "notlocal.xlocal", "0x7f.1"])
def test_a_name_that_was_repointed_is_refused(broker, account, host):
    assert ask(broker, "GET", "/", host)[0] == 421
    assert ask(broker, "POST", "/v1/account", host, b"{}")[0] == 421
    assert ask(broker, "GET", "/v1/account", host, Cookie="seks_session=" + account.http.cookies["seks_session"])[0] == 421
    # what needs a token of its own is no prize: agents may call by any name
    assert ask(broker, "GET", "/healthz", host)[0] == 200
    assert ask(broker, "GET", "/api/openai/v1/models", host)[0] == 401


@pytest.mark.parametrize("host", ["", "a b", "user@127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:123456", "[::1", "a/b", "a,b", "\xe9"])
def test_malformed_host(broker, host):
    status, _ = ask(broker, "GET", "/healthz", host)
    assert status == (200 if host == "127.0.0.1:" else 400)


def test_operator_s_names(tmp_path, providers, certificates, monkeypatch):
    monkeypatch.setenv("SEKS_ALLOW_HOST", "keys.example.com")
    broker = Broker(tmp_path, [])
    try:
        assert ask(broker, "GET", "/", "keys.example.com:443")[0] == 200
        assert ask(broker, "GET", "/", "other.example.com")[0] == 421
    finally:
        broker.stop()


def test_other_sites_change_nothing(broker, account):
    session = {"Cookie": "seks_session=" + account.http.cookies["seks_session"], "X_CSRF_Token": account.http.headers["X-CSRF-Token"]}
    body = b'{"name":"cross"}'
    own = f"http://127.0.0.1:{broker.port}"
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", own + ".evil.example", "file://"):
        assert ask(broker, "POST", "/v1/account/agents", None, body, Origin=origin, **session)[0] == 403, origin
        assert ask(broker, "POST", "/v1/session", None, b"{}", Origin=origin)[0] == 403, origin
    for site in ("cross-site", "same-site"):
        assert ask(broker, "POST", "/v1/account/agents", None, body, Sec_Fetch_Site=site, **session)[0] == 403
    assert ask(broker, "POST", "/v1/account/agents", None, body, Origin=own, Sec_Fetch_Site="same-origin", **session)[0] == 201
    # an account key is not a browser's to send by itself
    key = account.call("POST", "/v1/account/keys", {"name": "cross"}, 201)["key"]
    assert ask(broker, "POST", "/v1/account/agents", None, b'{"name":"by key"}', Origin="https://evil.example",
               Authorization=f"Bearer {key}")[0] == 201
    # and agents call from anywhere
    assert ask(broker, "POST", "/v1/secrets/list", None, b"{}", Origin="https://evil.example")[0] == 401


def test_session_needs_its_csrf_token(broker, account):
    cookie = {"Cookie": "seks_session=" + account.http.cookies["seks_session"]}
    for token in ({}, {"X_CSRF_Token": "0" * 64}, {"X_CSRF_Token": account.http.headers["X-CSRF-Token"][:-1]}):
        assert ask(broker, "POST", "/v1/account/agents", None, b'{"name":"x"}', **cookie, **token)[0] == 403


def test_a_provider_s_page_does_not_run_here(broker, tokens):
    """As a browser would open it: the token is in the address."""
    status, headers = ask(broker, "GET", f"/api/gemini/v1beta/x/page?key={tokens['gemini']}")
    assert status == 200 and headers["content-type"] == "text/html" and headers["x-kept"] == "1"
    policy = [part.strip() for part in headers["content-security-policy"].split(";")]
    assert policy == ["sandbox", "default-src 'none'", "frame-ancestors 'none'"]
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert not {"clear-site-data", "refresh", "service-worker-allowed", "nel"} & set(headers)
    status, headers = ask(broker, "GET", "/api/gemini/v1beta/x/page")
    assert status == 401 and "sandbox" in headers["content-security-policy"]


def test_own_answers_are_no_pages(broker):
    for path in ("/", "/v1/account", "/v1/providers", "/healthz", "/v1/nothing"):
        _, headers = ask(broker, "GET", path)
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert "sandbox" not in headers["content-security-policy"] and "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_override_headers_do_not_go_up(broker, tokens):
    overrides = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE", "X-HTTP-Method": "DELETE", "X-Original-URL": "/admin",
                 "X-Rewrite-URL": "/admin"}
    answer = requests.get(broker.url + "/api/openai/v1/x/echo", headers={**overrides, "Authorization": "Bearer " + tokens["openai"]})
    assert not {name.lower() for name in overrides} & {name.lower() for name in answer.json()["headers"]}


def test_sessions_end(broker):
    """At logout, and all of them when the password is changed."""
    one = Account(broker, "sessions@example.com")
    two = requests.Session()
    login = two.post(broker.url + "/v1/session", json={"email": "Sessions@Example.com ", "password": PASSWORD})
    two.headers["X-CSRF-Token"] = login.json()["csrf"]
    cookie = login.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie and "Secure" not in cookie
    assert two.get(broker.url + "/v1/account").status_code == 200
    old = dict(two.cookies)
    assert two.delete(broker.url + "/v1/session").status_code == 200
    assert requests.get(broker.url + "/v1/account", cookies=old).status_code == 401
    old = dict(one.http.cookies)
    one.call("POST", "/v1/account/password", {"old": PASSWORD, "new": "another long password"})
    assert requests.get(broker.url + "/v1/account", cookies=old).status_code == 401


def test_cookie_behind_https(tmp_path, providers, certificates):
    broker = Broker(tmp_path, [], options=["--public-url", "https://keys.example.com"])
    try:
        answer = requests.post(broker.url + "/v1/account", json={"email": "a@example.com", "password": PASSWORD},
                               headers={"Origin": "https://keys.example.com"})
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-seks_session=") and "; Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie
        assert ask(broker, "GET", "/", "keys.example.com")[0] == 200
    finally:
        broker.stop()
