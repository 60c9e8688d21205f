"""Connections on both sides: HTTP/2 and its sharing upstream, deadlines and the end of service towards clients."""
import concurrent.futures
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
import requests

import standin
from conftest import Account, Broker

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def http2(certificates):
    process = subprocess.Popen(["node", HERE / "h2.mjs", certificates / "server.pem", certificates / "server.key"],
                               stdout=subprocess.PIPE, text=True)
    yield f"https://127.0.0.1:{process.stdout.readline().strip()}"
    process.kill()
    process.wait()


@pytest.fixture
def brief(tmp_path, providers, certificates, http2, monkeypatch):
    """A header deadline of a second; notion speaks HTTP/2."""
    monkeypatch.setenv("SEKS_HEADER_DEADLINE_MS", "1000")
    row = {"ca_file": str(certificates / "ca.pem"), "allow_insecure": True}
    broker = Broker(tmp_path, [{"name": "openai", "origin": providers["openai"].origin, **row},
                               {"name": "notion", "origin": http2, **row}])
    account = Account(broker, "brief@example.com")
    agent = account.agent("a")["agent"]["id"]
    broker.tokens = {}
    for name, secret in (("openai", "OPENAI_API_KEY"), ("notion", "NOTION_API_KEY")):
        account.put_secret(secret, standin.KEYS[name])
        broker.tokens[name] = account.token(agent, name)["value"]
    yield broker
    if broker.process.poll() is None:
        broker.stop()


def call(broker, provider, path, **more):
    return requests.get(f"{broker.url}/api/{provider}{path}", timeout=20,
                        headers={"Authorization": f"Bearer {broker.tokens[provider]}"}, **more)


def test_upstream_http2_is_shared(brief):
    first = call(brief, "notion", "/v1/users").json()
    assert first["version"] == "2.0"
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = [a.json() for a in pool.map(lambda _: call(brief, "notion", "/v1/users"), range(60))]
    assert {a["version"] for a in answers} == {"2.0"}
    assert max(a["connections"] for a in answers) <= 3


def drip(broker, pieces, pause):
    """Sends piece by piece; returns what came back and after how long the connection ended."""
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", broker.port)) as s:
        s.settimeout(8)
        try:
            for piece in pieces:
                s.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass
        got = b""
        try:
            while data := s.recv(4096):
                got += data
        except ConnectionResetError:
            pass
        return got, time.monotonic() - begin


def test_header_deadline_counts_in_all(brief):
    pieces = [b"GET /healthz HTTP/1.1\r\n"] + [b"X-%d: y\r\n" % i for i in range(40)]
    got, seconds = drip(brief, pieces, 0.1)
    assert b"200" not in got.split(b"\r\n")[0]
    assert seconds < 5
    got, _ = drip(brief, [b"GET /healthz HTTP/1.1\r\n", b"Host: x\r\nConnection: close\r\n\r\n"], 0.3)
    assert got.startswith(b"HTTP/1.1 200")


def ticks(broker, count, then):
    """Reads `count` events, calls `then`, and reads `count` more."""
    with call(broker, "openai", "/v1/x/endless", stream=True) as answer:
        lines = (line for line in answer.iter_lines(chunk_size=1) if line)
        before = [next(lines) for _ in range(count)]
        then()
        return before, [next(lines) for _ in range(count)]


def test_sigterm_lets_running_answers_go_on(brief):
    def stop():
        brief.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", brief.port), timeout=1)

    before, after = ticks(brief, 5, stop)
    assert before == after == [b"data: tick"] * 5
    assert brief.process.wait(30) == 0
    assert not re.search(r"AddressSanitizer|LeakSanitizer|runtime error:", brief.log())


def test_stopping_proxy_lets_running_answers_go_on(brief):
    def stop():
        subprocess.run(["kill", "-TERM", str(brief.pid("proxy"))], check=True)
        time.sleep(0.5)

    before, after = ticks(brief, 5, stop)
    assert before == after == [b"data: tick"] * 5
    for _ in range(100):  # ./run starts another one when this one ends
        answer = call(brief, "notion", "/v1/users")
        if answer.status_code == 200:
            break
        assert answer.status_code == 503
        time.sleep(0.1)
    assert answer.status_code == 200
