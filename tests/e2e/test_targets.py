"""Request targets as raw bytes: what the provider sees, or that it sees nothing; and where names may lead."""
import json
import os
import pathlib
import re
import socket

import pytest

import standin
from conftest import Account, Broker

VECTORS = pathlib.Path(os.environ.get("SEKS_VECTORS") or "/nonexistent") / "http/request-targets.jsonl"

OWN = [
    ("/api/openai/v1/models", "forward:/v1/models"),
    ("/api/openai/models?a=%2e%2e&b=..&c=/../", "forward:/v1/models?a=%2e%2e&b=..&c=/../"),
    ("/api/openai/v1/files/%E2%82%AC%20~!$&'()*,;=:@[x]", "forward:/v1/files/%E2%82%AC%20~!$&'()*,;=:@[x]"),
    ("/api/openai//v1//models", "forward:/v1//v1//models"),
    ("/api/openai/v1/models?", "forward:/v1/models?"),
    ("/api/gemini/v1beta/models?%6bey=AIzaAgent&x=1&key=AIzaOther", "forward:/v1beta/models?x=1"),
    ("/api/openai/v1/models?X-Amz-Signature=0", "403"),
    ("/api/openai/v1/models?x%2damz-credential=AKIA%2Fx", "403"),
    *[(f"/api/openai/v1/{path}", "400") for path in (
        "..", ".", "../x", "%2e%2e/x", "%2E./x", "x/%252e%252e", "..%2f..%2fgithub", "..%252f", "..;x/y", "x/..%3B", "..\\x", "x\\y",
        "x%5c..%5cy", "%00", "%0d%0aHost:%20evil", "%c0%ae%c0%ae/x", "%e0%80%ae", "<x>", "{x}", "x|y", "x^y", "%", "%g0", "%2")],
    *[(target, "400|404") for target in (
        "/api/OPENAI/v1/models", "/API/openai/v1/models", "/api/openai@127.0.0.1:{{CANARY_PORT}}/", "/api/openai%2f@127.0.0.1/",
        "/api/openai%2Fv1/models", "/api/openai%00/v1", "/api/openai./v1", "/api//127.0.0.1:{{CANARY_PORT}}/", "/api/http://127.0.0.1:{{CANARY_PORT}}/",
        "//127.0.0.1:{{CANARY_PORT}}/api/openai", "/api/[::1]/", "/api/localhost/", "/api/", "/api?openai")],
]


def published():
    if VECTORS.exists():
        for line in VECTORS.read_text().splitlines():
            sample = json.loads(line)
            yield sample["target"], sample["expect"]


@pytest.fixture(scope="module")
def canary():
    """Nobody's address: a connection to it is a failure."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def send(broker, target, token):
    with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as s:
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{broker.port}\r\nAuthorization: Bearer {token}\r\n"
                  "Connection: close\r\n\r\n".encode("latin1"))
        text = b""
        while data := s.recv(65536):
            text += data
    return int(text.split()[1])


@pytest.mark.parametrize("samples", [lambda: OWN, published], ids=["own", "published"])
def test_targets(broker, tokens, account, agent, providers, canary, samples):
    account.put_secret("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    account.put_secret("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    aws = account.token(agent["agent"]["id"], "aws")["value"]
    wrong = []
    for target, expect in samples():
        provider = "gemini" if "/gemini/" in target else "aws" if "/aws/" in target else "openai"
        token = aws if provider == "aws" else tokens[provider]
        target = target.replace("{{CANARY_PORT}}", str(canary.getsockname()[1])).replace("{{TOKEN}}", token)
        before = {name: len(server.seen) for name, server in providers.items()}
        status = send(broker, target, token)
        reached = [(name, r["path"]) for name, server in providers.items() for r in server.seen[before[name]:]]
        allowed = [e.replace("{{CANARY_PORT}}", str(canary.getsockname()[1])) for e in expect.split("|")]
        forwards = [e.removeprefix("forward:") for e in allowed if e.startswith("forward:")]
        if provider == "aws" and forwards:
            continue  # tests/e2e/test_aws*.py have a server for these
        right = reached == [(provider, forwards[0])] if forwards and reached else str(status) in allowed and not reached
        if not right:
            wrong.append((target, expect, status, reached))
    with pytest.raises(BlockingIOError):
        canary.accept()
    assert not wrong, "\n".join(map(str, wrong))


ADDRESSES = ["127.0.0.1", "localhost", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "0.0.0.0", "169.254.169.254",
             "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "[fc00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
             "[fd00:ec2::254]", "2130706433", "0x7f.1", "127.1", "224.0.0.1", "[ff02::1]"]


@pytest.mark.parametrize("name", ["names", "addresses"])
def test_no_provider_is_inside(tmp_path, certificates, canary, name):
    """A row without allow_insecure whose name or address leads inside: refused when it connects, before a byte is sent."""
    port = canary.getsockname()[1]
    inside = ["localhost", "localhost.localdomain", socket.gethostname()] if name == "names" else ADDRESSES
    rows = [{"name": f"inside-{i}", "origin": f"https://{address}:{port}", "secrets": ["K"], "auth": [{"type": "bearer"}],
             "timeouts_ms": {"connect": 2000, "first_byte": 4000, "idle": 4000}} for i, address in enumerate(inside)]
    broker = Broker(tmp_path, rows)
    try:
        account = Account(broker, "inside@example.com")
        account.put_secret("K", "planted-inside-key")
        agent = account.agent("a")["agent"]["id"]
        for i, address in enumerate(inside):
            token = account.token(agent, f"inside-{i}")["value"]
            assert send(broker, f"/api/inside-{i}/x", token) == 502, address
        with pytest.raises(BlockingIOError):
            canary.accept()
    finally:
        broker.stop()
