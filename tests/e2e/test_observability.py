"""Log lines as objects with the request's id, the id on every answer, and what each daemon counts."""
import json
import os
import re
import socket

import pytest
import requests

import standin
from conftest import Account, Broker, rows_for, until

ID = re.compile(r"req_[0-9A-Za-z]{22}")


@pytest.fixture(scope="module")
def world(tmp_path_factory, providers, certificates):
    """A broker whose log is JSON at its finest; "away" is a provider that is not there."""
    more = {"SEKS_LOG_FORMAT": "json", "SEKS_LOG_LEVEL": "debug", "SEKS_ADMIN": "127.0.0.1:0"}
    os.environ.update(more)
    try:
        rows = rows_for({"openai": providers["openai"]}, certificates)
        broker = Broker(tmp_path_factory.mktemp("observed"), [
            *rows, {"name": "brave", "origin": "http://127.0.0.1:1", "allow_insecure": True}])
    finally:
        for name in more:
            del os.environ[name]
    account = Account(broker, "observed@example.com")
    account.put_secret("OPENAI_API_KEY", standin.KEYS["openai"])
    account.put_secret("BRAVE_API_KEY", standin.KEYS["brave"])
    agent = account.agent("observed")["agent"]["id"]
    tokens = {p: account.token(agent, p)["value"] for p in ("openai", "brave")}
    yield broker, account, tokens
    log = broker.stop()
    for secret in (standin.KEYS["openai"], standin.KEYS["brave"], *tokens.values(), "planted-query"):
        assert secret not in log


def lines(broker):
    """What the daemons wrote; each line is one object with exactly these members."""
    result = []
    for text in broker.log().splitlines():
        if not text.startswith("run: "):  # the script's own
            line = json.loads(text)
            assert list(line)[:5] == ["time", "level", "daemon", "component", "message"], text
            assert set(line) <= {"time", "level", "daemon", "component", "message", "request", "tenant"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
            result.append(line)
    return result


def about(broker, request, **want):
    """The lines about a request, once there is one with those members."""
    found = lambda: [line for line in lines(broker) if line.get("request") == request]
    until(lambda: any(want.items() <= line.items() for line in found()), f"{want} about {request}")
    return found()


def test_lines_about_a_request_name_it_and_its_tenant(world):
    broker, account, tokens = world
    answer = requests.get(f"{broker.url}/api/brave/x?planted-query=1", headers={"Authorization": f"Bearer {tokens['brave']}"})
    assert answer.status_code == 502
    request = answer.headers["Seks-Request-Id"]
    assert ID.fullmatch(request)
    found = about(broker, request, daemon="proxy", level="warn", component="call", tenant=account.id)
    assert any("brave: UPSTREAM" in line["message"] for line in found)
    assert any("GET brave: 502" in line["message"] for line in about(broker, request, daemon="gateway"))
    assert {line["daemon"] for line in lines(broker)} == {"gateway", "vault", "proxy", "audit"}


def test_what_a_client_writes_forges_no_line(world):
    broker, _, tokens = world
    answer = requests.request("GE-T", f"{broker.url}/api/openai/x/echo", headers={
        "Authorization": f"Bearer {tokens['openai']}", "X-Request-Id": 'req_forged"}', "User-Agent": '"}{"forged":"\x80\\'})
    about(broker, answer.headers["Seks-Request-Id"], daemon="gateway")
    assert not any("forged" in json.dumps(line) for line in lines(broker))


def test_a_clients_own_request_id_is_a_header_like_any_other(world, providers):
    broker, _, tokens = world
    answer = requests.get(f"{broker.url}/api/openai/x/echo", headers={
        "Authorization": f"Bearer {tokens['openai']}", "X-Request-Id": "client-1", "Seks-Request-Id": "client-2"})
    assert ID.fullmatch(answer.headers["Seks-Request-Id"])
    assert providers["openai"].seen[-1]["headers"]["X-Request-Id"] == "client-1"


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/", 200), ("GET", "/healthz", 200), ("GET", "/readyz", 200), ("GET", "/v1/providers", 200), ("GET", "/nowhere", 404),
    ("OPTIONS", "/api/openai/x", 204), ("GET", "/api/openai/x", 401), ("GET", "/api/nobody/x", 404), ("PUT", "/v1/session", 405),
    ("GET", "/v1/account", 401), ("POST", "/v1/secrets/list", 401), ("GET", "/api/openai/../x", 400), ("TRACE", "/", 405)])
def test_every_answer_has_an_id(world, method, path, status):
    broker, _, _ = world
    with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as s:
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{broker.port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        head = b"".join(iter(lambda: s.recv(65536), b"")).split(b"\r\n\r\n")[0].decode()
    assert head.startswith(f"HTTP/1.1 {status} "), head
    assert len(re.findall(r"(?im)^seks-request-id: " + ID.pattern + r"\r?$", head)) == 1, head


def test_what_is_refused_before_it_is_a_request_has_an_id_too(world):
    broker, _, _ = world
    with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost : x\r\n\r\n")
        head = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    request = re.search("Seks-Request-Id: (.*)\r\n", head).group(1)
    assert head.startswith("HTTP/1.1 400 ") and ID.fullmatch(request)
    assert about(broker, request, daemon="gateway", component="refused")


def metrics(broker, daemon):
    """The daemon's /metrics; its admin port is any free one, so it is looked for."""
    pid, found = broker.pid(daemon), None
    inodes = {os.readlink(f"/proc/{pid}/fd/{fd}")[8:-1] for fd in os.listdir(f"/proc/{pid}/fd")
              if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")}
    for line in open(f"/proc/{pid}/net/tcp").readlines()[1:]:
        words = line.split()
        port = int(words[1].split(":")[1], 16)
        if words[3] == "0A" and words[9] in inodes and port != broker.port:
            found = port
    return requests.get(f"http://127.0.0.1:{found}/metrics", timeout=10).text


def value(text, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found.group(1)) if found else 0.0


def test_each_daemon_counts_refusals_by_reason_and_times_its_part(world):
    broker, _, tokens = world
    requests.get(f"{broker.url}/api/openai/x/echo", headers={"Authorization": f"Bearer {tokens['openai']}"})
    requests.get(f"{broker.url}/api/openai/x/echo")
    with requests.get(f"{broker.url}/api/openai/x/endless", stream=True, headers={"Authorization": f"Bearer {tokens['openai']}"}) as answer:
        pieces = answer.iter_content(4)  # the stream ends with its generator
        next(pieces)
        text = metrics(broker, "proxy")
        assert value(text, "seks_streams_open") == 1, text
    until(lambda: value(metrics(broker, "proxy"), "seks_streams_open") == 0, "the stream is over")
    texts = {daemon: metrics(broker, daemon) for daemon in ("gateway", "vault", "proxy", "audit")}
    for daemon, text in texts.items():
        assert f'seks_build_info{{daemon="{daemon}",version=' in text
    assert value(texts["gateway"], 'seks_gateway_refusals_total{reason="no well-formed token"}') >= 1
    assert value(texts["gateway"], "seks_vault_decision_seconds_count") >= 2
    grants = value(texts["vault"], "seks_vault_grant_seconds_count")
    assert grants >= 2 and value(texts["vault"], "seks_audit_wait_seconds_count") == grants
    assert value(texts["vault"], "seks_vault_grant_seconds_sum") < value(texts["gateway"], "seks_vault_decision_seconds_sum")
    assert value(texts["proxy"], 'seks_upstream_outcomes_total{provider="openai",outcome="OK"}') >= 1
    assert value(texts["audit"], 'seks_audit_records_total{kind="intent"}') >= 2
    for daemon in ("proxy", "audit"):
        assert f"# TYPE seks_{daemon}_refusals_total counter" in texts[daemon]
