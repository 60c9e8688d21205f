"""Clients that are slow, greedy or gone: each is ended, its upstream call with it, and nobody else notices."""
import concurrent.futures
import contextlib
import importlib.util
import select
import socket
import time

import pytest
import requests

import standin
from conftest import ROOT, Account, Broker

WINDOW_MS = 1000


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, providers, certificates):
    """Deadlines of seconds, and few connections for each address but 127.0.0.1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEKS_HEADER_DEADLINE_MS", "1000")
        patch.setenv("SEKS_PACE_WINDOW_MS", str(WINDOW_MS))
        patch.setenv("SEKS_RATE_MIN", "500")
        patch.setenv("SEKS_CONNECTIONS_PER_ADDRESS", "20")
        broker = Broker(tmp_path_factory.mktemp("impatient"), [
            {"name": "openai", "origin": providers["openai"].origin, "ca_file": str(certificates / "ca.pem"), "allow_insecure": True}])
    account = Account(broker, "impatient@example.com")
    account.put_secret("OPENAI_API_KEY", standin.KEYS["openai"])
    broker.token = account.token(account.agent("a")["agent"]["id"], "openai")["value"]
    yield broker
    broker.stop()


def head(broker, method, path, more=""):
    return (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{broker.port}\r\nAuthorization: Bearer {broker.token}\r\n{more}\r\n").encode()


def drip(broker, begin, piece, pause, limit=30):
    """Sends PIECE every PAUSE seconds until the connection ends; what came back, and after how long."""
    start, got = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", broker.port)) as s:
        s.sendall(begin)
        s.settimeout(pause)
        while time.monotonic() - start < limit:
            with contextlib.suppress(TimeoutError):
                try:
                    data = s.recv(4096)
                except ConnectionError:
                    return got, time.monotonic() - start
                if not data:
                    return got, time.monotonic() - start
                got += data
                continue
            with contextlib.suppress(OSError):
                s.sendall(piece)
    raise AssertionError("the connection was not ended")


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_slow_head(impatient):
    got, _ = drip(impatient, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: ", b"a", 0.1)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert drip(impatient, b"", b"", 0.1)[0] == b""  # says nothing at all
    got, _ = drip(impatient, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /", b"a", 0.1)  # on the second request
    assert got.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 408 " in got


def test_slow_body_ends_the_call(impatient, providers):
    before = len(providers["openai"].seen)
    echo, framed = "/api/openai/v1/x/echo", "Transfer-Encoding: chunked\r\n"
    drips = [(head(impatient, "POST", echo, "Content-Length: 100000\r\n"), b"a"),
             (head(impatient, "POST", echo, framed), b"1\r\na\r\n"),
             (head(impatient, "POST", "/v1/session", "Content-Length: 100\r\n"), b" ")]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for got, _ in pool.map(lambda d: drip(impatient, *d, 0.1), drips):
            assert got.startswith(b"HTTP/1.1 408 ")
    assert all(r["size"] < 100000 for r in providers["openai"].seen[before:])  # cut short there too


def test_unhurried_body_passes(impatient):
    """Above the least rate for longer than a window."""
    def pieces():
        for _ in range(30):
            yield b"x" * 200
            time.sleep(0.1)
    answer = requests.post(f"{impatient.url}/api/openai/v1/x/echo", data=pieces(), headers={"Authorization": f"Bearer {impatient.token}"})
    assert answer.status_code == 200 and answer.json()["size"] == 6000


def test_slow_reader_is_cut(impatient, providers):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", impatient.port))
        s.sendall(head(impatient, "GET", "/api/openai/v1/x/big/50000000"))
        assert s.recv(12) == b"HTTP/1.1 200"
        poll = select.poll()
        poll.register(s, 0)  # a reset alone: what lies in the client's own buffer it could read for long

        def is_cut():
            with contextlib.suppress(ConnectionError):
                s.recv(1)
            return bool(poll.poll(100))
        wait_for(is_cut)


def test_quiet_stream_is_not_slow(impatient):
    """An event stream of fewer bytes than the least rate goes on: its client takes all there is."""
    with requests.get(f"{impatient.url}/api/openai/v1/x/endless", stream=True, headers={"Authorization": f"Bearer {impatient.token}"}) as answer:
        lines = (line for line in answer.iter_lines(chunk_size=1) if line)
        begin = time.monotonic()
        while time.monotonic() - begin < 3 * WINDOW_MS / 1000:
            assert next(lines) == b"data: tick"


def test_hang_up_ends_a_silent_call(impatient, providers):
    """The provider says nothing and the exchange is suspended: only the client's end can end it."""
    server = providers["openai"]
    before, seen = len(server.hangups), len(server.seen)
    s = socket.create_connection(("127.0.0.1", impatient.port))
    s.sendall(head(impatient, "GET", "/api/openai/v1/x/silent"))
    wait_for(lambda: len(server.seen) == seen + 1)
    s.close()
    wait_for(lambda: len(server.hangups) == before + 1)


def test_connections_per_address(impatient):
    def open_from(address):
        s = socket.socket()
        s.bind((address, 0))
        s.settimeout(10)
        s.connect(("127.0.0.1", impatient.port))
        with contextlib.suppress(OSError):
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return s, s.recv(12) == b"HTTP/1.1 200"
        return s, False
    many = [open_from("127.0.0.2") for _ in range(25)]
    assert [good for _, good in many] == [True] * 20 + [False] * 5
    other, good = open_from("127.0.0.3")
    assert good
    for s, _ in [*many, (other, True)]:
        s.close()
    wait_for(lambda: open_from("127.0.0.2")[1])


def test_healthy_client_beside_slow_ones(impatient):
    """The small form of tests/security/slow_clients.py: everything is answered; how fast is measured there."""
    spec = importlib.util.spec_from_file_location("slow_clients", ROOT / "tests/security/slow_clients.py")
    slow_clients = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(slow_clients)
    slow = [slow_clients.Slow(impatient.port, impatient.token, kind) for _ in range(30) for kind in ("head", "body", "read")]
    times = slow_clients.call_times(impatient.port, impatient.token, 100, "/api/openai/v1/models")
    assert slow_clients.figures(times)["p99_ms"] < 10000
    for one in slow:
        one.socket.close()
