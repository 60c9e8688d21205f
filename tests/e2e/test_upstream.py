"""Upstream connections that the proxy frames itself: kept ones, dead ones, odd answers, early ones."""
import concurrent.futures
import gzip
import hashlib
import os
import socket
import ssl
import threading
import time
import zlib

import pytest
import requests

from conftest import Account, Broker, until

KEY = "sk-upstream-0123456789abcdefghij"


class Script:
    """A provider that answers each request on a connection with the next piece of its script: bytes, or
    a function of the connection and the request's head.  None ends the connection."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.answers, self.heads, self.connections = [], [], 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            while head := self.read_head(connection):
                self.heads.append(head)
                answer = self.answers.pop(0)
                if callable(answer):
                    answer = answer(connection, head)
                if answer is None:
                    return
                connection.sendall(answer)

    @staticmethod
    def read_head(connection):
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return None
            got += byte
        return got.decode()

    def play(self, *answers):
        self.answers, self.heads = list(answers), []


@pytest.fixture(scope="module")
def script():
    return Script()


@pytest.fixture(scope="module")
def call(tmp_path_factory, script):
    broker = Broker(tmp_path_factory.mktemp("upstream"),
                    [{"name": "openai", "origin": script.origin, "allow_insecure": True},
                     {"name": "own-header", "origin": script.origin, "allow_insecure": True, "secrets": ["OPENAI_API_KEY"],
                      "auth": [{"type": "header", "name": "X-Own-Key"}]}])
    account = Account(broker, "upstream@example.com")
    account.put_secret("OPENAI_API_KEY", KEY)
    agent = account.agent("a")["agent"]["id"]
    tokens = {name: account.token(agent, name)["value"] for name in ("openai", "own-header")}

    def call(method="GET", path="/v1/x", more_headers=None, provider="openai", **more):
        return requests.request(method, f"{broker.url}/api/{provider}{path}", timeout=30,
                                headers={"Authorization": f"Bearer {tokens[provider]}", **(more_headers or {})}, **more)

    yield call
    broker.stop()


def ok(body=b"ok", *headers):
    return b"".join([b"HTTP/1.1 200 OK\r\n", *[h + b"\r\n" for h in headers],
                     b"Content-Length: %d\r\n\r\n" % len(body), body])


def then_close(answer):
    """Sends and ends the connection without having said so."""
    def run(connection, _):
        connection.sendall(answer)
    return run


def test_connection_is_kept(script, call):
    script.play(*[ok()] * 5)
    before = script.connections
    assert [call().text for _ in range(5)] == ["ok"] * 5
    assert script.connections - before <= 1
    head = script.heads[-1].split("\r\n")
    assert head[0] == "GET /v1/x HTTP/1.1" and f"Authorization: Bearer {KEY}" in head
    assert f"Host: {script.origin[7:]}" in head and "Accept-Encoding: identity" in head


def test_the_key_s_header_is_the_key_s_alone(script, call):
    """Also where the row names one that no SDK is known to use."""
    script.play(ok())
    assert call(provider="own-header", more_headers={"x-own-key": "of the agent's"}).text == "ok"
    sent = [line for line in script.heads[-1].split("\r\n") if line.lower().startswith("x-own-key")]
    assert sent == [f"X-Own-Key: {KEY}"]


def test_header_values_go_up_whole(script, call):
    """libcurl's spelling of headers gives some last bytes a meaning."""
    script.play(ok())
    values = {"X-Colon": "a:", "X-Colons": "a: b:", "X-Semicolon": "a;"}
    assert call(more_headers=values).text == "ok"
    sent = script.heads[-1].split("\r\n")
    assert all(f"{name}: {value}" in sent for name, value in values.items()), sent


def test_dead_connection_is_replaced(script, call):
    """What was kept ends without a word, at once or when the next request came."""
    script.play(then_close(ok()), ok(), lambda *_: None, ok(b"again"))
    assert call().text == "ok"
    assert call().text == "ok"
    assert call("PUT", data=b"x" * 1000).text == "again"  # its whole body is here: sent once more
    assert len(script.heads) == 4


def test_what_may_have_been_done_is_not_done_twice(script, call):
    """A POST is not repeated by a proxy (RFC 9110 section 9.2.2): the provider may have acted on it."""
    script.play(ok(), lambda *_: None, ok(b"twice"))
    assert call().text == "ok"
    assert call("POST", data=b"x" * 1000).status_code == 502
    assert len(script.heads) == 2


def test_no_repetition_once_something_came(script, call):
    script.play(ok(), then_close(b"HTTP/1.1 200 OK\r\nContent-Le"))
    assert call().text == "ok"
    assert call().status_code == 502
    assert len(script.heads) == 2


def test_new_connection_that_ends_is_no_second_try(script, call):
    script.play(then_close(ok(b"x", b"Connection: close")), lambda *_: None)
    assert call().text == "x"
    assert call().status_code == 502
    assert len(script.heads) == 2


def test_what_nobody_asked_for_ends_the_connection(script, call):
    """Bytes behind an answer are not the next one's."""
    script.play(ok() + ok(b"smuggled"), ok(b"right"))
    before = script.connections
    assert call().text == "ok"
    assert call().text == "right"
    assert script.connections - before >= 1


@pytest.mark.parametrize("answer, body", [
    (b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n" + ok(), b"ok"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nT: t\r\n\r\n", b"abc"),
    (ok(gzip.compress(b"text" * 50000), b"Content-Encoding: gzip"), b"text" * 50000),
    (ok(gzip.compress(b"w" * 16384), b"Content-Encoding: gzip"), b"w" * 16384),  # a window, exactly
    (ok(gzip.compress(b"w" * 65536), b"Content-Encoding: gzip"), b"w" * 65536),
    (ok(zlib.compress(b"text"), b"Content-Encoding: deflate"), b"text"),
    (ok(zlib.compress(b"text")[2:-4], b"Content-Encoding: deflate"), b"text"),
    (ok(gzip.compress(f"the key is {KEY}".encode()), b"Content-Encoding: gzip"), b"the key is " + b"*" * len(KEY)),
])
def test_answers(script, call, answer, body):
    script.play(answer)
    got = call()
    assert (got.status_code, got.content) == (200, body)
    assert "Content-Encoding" not in got.headers


def test_answer_that_ends_with_the_connection(script, call):
    script.play(then_close(b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * 300000))
    assert call().content == b"z" * 300000


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    ok(b"not gzip", b"Content-Encoding: gzip"),  # what was wrong came with the head
    ok(b"x", b"Content-Encoding: br"),
])
def test_answers_that_cannot_be_passed_on(script, call, answer):
    script.play(answer)
    assert call().status_code == 502


def test_answer_before_the_body_is_up(script, call):
    """The provider refuses an upload that it has not read; what follows has another connection."""
    def early(connection, _):
        connection.sendall(ok(b"too large"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    script.play(early, ok())
    assert call("POST", data=iter([b"y" * 1000] * 2000)).text == "too large"
    assert call().text == "ok"


def test_large_both_ways(script, call):
    """Forty at a time, which is more than can have a wide window."""
    size, body = 3_000_000, os.urandom(3_000_000)

    def echo(connection, head):
        got = bytearray()
        while len(got) < size:
            got += connection.recv(min(size - len(got), 65536))
        return ok(bytes(got))

    script.play(*[echo] * 41)
    assert call("POST", data=body).content == body
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        assert all(pool.map(lambda _: call("POST", data=body).content == body, range(40)))


def pour(connection, _):
    """Answers at once and at length, and never reads the request's body."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 80000000\r\n\r\n")
    try:
        for _ in range(1000):
            connection.sendall(b"x" * 80000)
    except OSError:
        pass  # the broker has given up


def test_provider_that_answers_and_does_not_read(tmp_path, script):
    """The client cannot take the answer before its request is up, which the provider does not take: the provider's idle
    time ends that, and the client learns it."""
    broker = Broker(tmp_path, [{"name": "openai", "origin": script.origin, "allow_insecure": True, "timeouts_ms": {"idle": 1000}}])
    try:
        account = Account(broker, "stuck@example.com")
        account.put_secret("OPENAI_API_KEY", KEY)
        token = account.token(account.agent("a")["agent"]["id"], "openai")["value"]
        script.play(pour)
        with pytest.raises(requests.RequestException) as failed:
            requests.put(f"{broker.url}/api/openai/v1/x", data=b"u" * (16 << 20), timeout=30, headers={"Authorization": f"Bearer {token}"})
        assert not isinstance(failed.value, requests.Timeout), failed.value

        def outcomes():
            return [r for r in account.call("GET", "/v1/account/audit")["records"] if r["kind"] == "outcome"]

        until(outcomes)
        assert outcomes()[0]["reason"] == "TIMEOUT" and outcomes()[0]["status"] == 200, outcomes()
    finally:
        broker.stop()


def serve_slowly(connection, context):
    """Says the hash of each body, and lets a large one wait until all buffers are full."""
    with context.wrap_socket(connection, server_side=True) as tls:
        while head := Script.read_head(tls):
            left = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
            digest = hashlib.sha256()
            time.sleep(1 if left > 1000 else 0)
            while left:
                piece = tls.recv(min(left, 65536))
                digest.update(piece)
                left -= len(piece)
            tls.sendall(ok(digest.hexdigest().encode()))


def accept_tls(listener, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_slowly, args=(connection, context), daemon=True).start()


def test_large_upload_over_tls_that_has_to_wait(tmp_path, certificates):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept_tls, args=(listener, certificates), daemon=True).start()
    broker = Broker(tmp_path, [{"name": "openai", "origin": f"https://localhost:{listener.getsockname()[1]}",
                                "allow_insecure": True, "ca_file": str(certificates / "ca.pem")}])
    try:
        account = Account(broker, "tls@example.com")
        account.put_secret("OPENAI_API_KEY", KEY)
        token = account.token(account.agent("a")["agent"]["id"], "openai")["value"]
        for data in (b"the first call tells what is spoken", os.urandom(20 << 20), b"and again"):
            answer = requests.post(f"{broker.url}/api/openai/v1/x", data=data, timeout=60,
                                   headers={"Authorization": f"Bearer {token}"})
            assert answer.text == hashlib.sha256(data).hexdigest()
    finally:
        broker.stop()
