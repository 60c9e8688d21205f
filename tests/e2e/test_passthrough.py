"""What goes up and what comes back, byte for byte, and what must not."""
import base64
import hashlib
import os
import re
import signal
import socket
import subprocess

import pytest
import requests

import standin
from conftest import until


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def api(broker, tokens):
    def call(method, path, **more):
        headers = {**bearer(tokens["openai"]), **more.pop("headers", {})}
        return requests.request(method, broker.url + "/api/openai/v1/x" + path, headers=headers, timeout=20, **more)
    return call


def test_key_is_scrubbed_in_every_spelling(api):
    answer = api("GET", "/leak")
    key = standin.KEYS["openai"]
    body = answer.content
    forms = [key.encode(), key.encode().hex().encode(), key.encode().hex().upper().encode(),
             "".join(f"%{ord(c):02X}" for c in key).encode(), "".join(f"%25{ord(c):02x}" for c in key).encode(),
             "".join(f"\\u{ord(c):04x}" for c in key).encode(), "".join(f"&#{ord(c)};" for c in key).encode(),
             "".join(f"\\x{ord(c):02x}" for c in key).encode(), key.encode("utf-16le")]
    for shift in (b"", b"x", b"xy"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms.append(encode(shift + key.encode())[4:-4])
    for form in forms:
        assert form not in body, form
    assert body.startswith(b"[") and body.endswith(b"]") and b"****" in body
    assert key not in answer.headers["X-Leak"] and "****" in answer.headers["X-Leak-Basic"]


def test_unasked_gzip_is_decoded_and_scrubbed(api):
    answer = api("GET", "/gzip")
    assert answer.text == f"key {'*' * len(standin.KEYS['openai'])} end" and "Content-Encoding" not in answer.headers


def test_unreadable_coding_is_refused(api):
    assert api("GET", "/brotli").status_code == 502


def test_answer_headers(api):
    headers = api("GET", "/cookie").headers
    for name in ("Set-Cookie", "Strict-Transport-Security", "Alt-Svc"):
        assert name not in headers
    assert headers["Access-Control-Allow-Origin"] == "*" and headers["X-Request-Id"] == "up-1"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_redirects_are_passed_and_not_followed(api, broker):
    answer = api("GET", "/redirect", allow_redirects=False)
    assert answer.status_code == 302 and answer.headers["Location"] == "https://elsewhere.example/steal"
    answer = api("GET", "/moved", allow_redirects=False)
    assert answer.headers["Location"] == broker.url + "/api/openai/v1/new?a=b"


@pytest.mark.parametrize("status", [204, 304, 404, 429, 500, 599])
def test_statuses(api, status):
    answer = api("GET", f"/status/{status}")
    assert answer.status_code == status
    if status in (204, 304):
        assert answer.content == b""


def test_head(api):
    answer = api("HEAD", "/big/5000")
    assert answer.status_code == 200 and answer.headers["Content-Length"] == "5000" and answer.content == b""


def test_request_headers(api, providers):
    answer = api("GET", "/echo", headers={"X-Keep": "yes", "Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "Referer": "http://r/",
                                 "Connection": "x-drop", "X-Drop": "1", "Api-Key": "own-key", "Accept-Encoding": "br"})
    assert answer.status_code == 200, answer.text
    seen = {k.lower(): v for k, v in providers["openai"].seen[-1]["headers"].items()}
    assert seen["x-keep"] == "yes" and seen["accept-encoding"] == "identity"
    assert not {"cookie", "x-forwarded-for", "referer", "x-drop", "api-key"} & set(seen)


@pytest.mark.parametrize("place", [
    lambda t: {"headers": {"X-Api-Key": t}}, lambda t: {"headers": {"x-goog-api-key": t}},
    lambda t: {"headers": {"Authorization": f"token {t}"}}, lambda t: {"headers": {"Authorization": t}},
    lambda t: {"auth": ("x-access-token", t)}, lambda t: {"auth": (t, "x")}, lambda t: {"params": {"key": t, "q": "1"}},
    lambda t: {"headers": {"X-Subscription-Token": t}}])
def test_token_places(broker, tokens, providers, place):
    answer = requests.get(broker.url + "/api/openai/v1/x/echo", **place(tokens["openai"]))
    assert answer.status_code == 200, answer.text
    assert "seks_" not in providers["openai"].seen[-1]["path"]


def test_target_goes_byte_for_byte(broker, tokens, providers):
    target = "/v1/x/echo/a%20b//c%2Fd;e=f?x=%41&y=a+b&&z"
    url = broker.url.replace("http://", "").split(":")
    with socket.create_connection((url[0], int(url[1]))) as s:
        s.sendall(f"GET /api/openai{target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens['openai']}\r\nConnection: close\r\n\r\n".encode())
        assert s.makefile("rb").read().startswith(b"HTTP/1.1 200")
    assert providers["openai"].seen[-1]["path"] == target


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_uploads(api, size, chunked):
    body = bytes(i * 7 % 256 for i in range(size))
    answer = api("POST", "/echo", data=iter([body[i:i + 5000] for i in range(0, size, 5000)]) if chunked else body)
    assert answer.json()["size"] == size and answer.json()["sha256"] == hashlib.sha256(body).hexdigest()
    sent = {k.lower() for k in answer.json()["headers"]}
    assert ("transfer-encoding" in sent) == chunked


def test_empty_post(api):
    assert {k.lower(): v for k, v in api("POST", "/echo").json()["headers"].items()}["content-length"] == "0"


def test_download(api):
    blocks = 1 << 9
    answer = api("GET", f"/big/{blocks << 16}", stream=True)
    got, want = hashlib.sha256(), hashlib.sha256()
    for block in answer.iter_content(1 << 16):
        got.update(block)
    for _ in range(blocks):
        want.update(bytes(range(256)) * 256)
    assert got.digest() == want.digest()


def test_expect_continue(broker, tokens, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"z" * 100_000)
    url = broker.url + "/api/openai/v1/x/echo"
    good = subprocess.run(["curl", "-sS", "-v", "-T", body, "-H", "Expect: 100-continue", "-H",
                           f"Authorization: Bearer {tokens['openai']}", url], capture_output=True, text=True, check=True)
    assert "100 Continue" in good.stderr and '"size": 100000' in good.stdout
    bad = subprocess.run(["curl", "-sS", "-v", "-T", body, "-H", "Expect: 100-continue", "-H", "Authorization: Bearer no", url],
                         capture_output=True, text=True, check=True)
    assert "401 Unauthorized" in bad.stderr and "100 Continue" not in bad.stderr


def wait_for_hang_up(server, before):
    until(lambda: len(server.hangups) == before + 1)


def test_events_are_not_held_back(broker, tokens, providers):
    before = len(providers["openai"].hangups)
    with requests.get(broker.url + "/api/openai/v1/x/endless", headers=bearer(tokens["openai"]), stream=True) as answer:
        lines = (line for line in answer.iter_lines(chunk_size=1) if line)
        assert [next(lines) for _ in range(5)] == [b"data: tick"] * 5
    wait_for_hang_up(providers["openai"], before)


def test_hang_up_cancels_upstream(broker, tokens, providers):
    before = len(providers["openai"].hangups)
    url = broker.url.replace("http://", "").split(":")
    with socket.create_connection((url[0], int(url[1]))) as s:
        s.sendall(f"GET /api/openai/v1/x/endless HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens['openai']}\r\n\r\n".encode())
        assert b"200 OK" in s.recv(100)
    wait_for_hang_up(providers["openai"], before)


def test_hang_up_with_the_request_cancels(broker, tokens, providers):
    """Another's hang-up is looked at first, and with it this one, whose call is not there yet."""
    def request(where):
        return f"GET /api/openai/v1/x/{where} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens['openai']}\r\n\r\n".encode()
    reached = len(providers["openai"].seen)
    with socket.create_connection(("127.0.0.1", broker.port)) as other, \
            socket.create_connection(("127.0.0.1", broker.port), timeout=15) as s:
        s.sendall(request("echo"))
        assert b"200 OK" in (got := s.recv(65536))
        while not got.endswith(b"}"):
            got += s.recv(65536)
        other.sendall(request("silent"))
        until(lambda: len(providers["openai"].seen) == reached + 2)
        os.kill(broker.pid("gateway"), signal.SIGSTOP)
        try:
            other.close()
            s.sendall(request("silent"))
            s.shutdown(socket.SHUT_WR)
        finally:
            os.kill(broker.pid("gateway"), signal.SIGCONT)
        assert s.recv(100) == b""


def test_request_behind_one_that_waits_is_read(broker, tokens, providers):
    """It comes while the connection is suspended, and nothing comes after it that could tell of it."""
    def request(where, last=False):
        return (f"GET /api/openai/v1/x/{where} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens['openai']}\r\n"
                + ("Connection: close\r\n" if last else "") + "\r\n").encode()
    reached = len(providers["openai"].seen)
    with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as s:
        s.sendall(request("slow"))
        until(lambda: len(providers["openai"].seen) == reached + 1)
        s.sendall(request("status/201", last=True))
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"201"]


def test_client_that_ends_its_side_when_answered_is_let_go(broker, tokens):
    with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as s:
        for _ in range(3):
            s.sendall(f"GET /api/openai/v1/x/status/204 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens['openai']}\r\n\r\n".encode())
            assert b"HTTP/1.1 204" in s.recv(65536)
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == b""


def test_upstream_that_breaks_off_is_seen(api):
    with pytest.raises(requests.exceptions.RequestException):
        answer = api("GET", "/cut")
        assert len(answer.content) < 1000
        raise requests.exceptions.ConnectionError("cut short")


def test_garbage_is_502(api):
    answer = api("GET", "/garbage")
    assert answer.status_code == 502 and answer.headers["Content-Type"] == "application/problem+json"


def test_keep_alive(broker, tokens):
    with requests.Session() as session:
        for _ in range(5):
            answer = session.get(broker.url + "/api/openai/v1/x/echo", headers=bearer(tokens["openai"]))
            assert answer.status_code == 200 and answer.headers.get("Connection") != "close"


def test_brave_prefix(broker, tokens, providers):
    for path in ("/web/search?q=a", "/res/v1/web/search?q=a"):
        answer = requests.get(broker.url + "/api/brave" + path, headers={"X-Subscription-Token": tokens["brave"]})
        assert answer.status_code == 200
        assert providers["brave"].seen[-1]["path"] == "/res/v1/web/search?q=a"


def test_planted_keys_are_nowhere(broker, account, tokens, api):
    """After the calls above: not in a file of the data directory, not in the memory of gateway and audit."""
    api("GET", "/leak")
    keys = [k.encode() for k in standin.KEYS.values()]
    for path in broker.directory.rglob("*"):
        if path.is_file() and path.name != "providers.json":
            data = path.read_bytes()
            assert not any(k in data for k in keys), path
    for daemon in ("gateway", "audit"):
        pid = broker.pid(daemon)
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                span, mode = line.split()[:2]
                start, end = (int(x, 16) for x in span.split("-"))
                if "rw" not in mode or end - start > 1 << 30:
                    continue
                try:
                    memory.seek(start)
                    data = memory.read(end - start)
                except (OSError, ValueError):
                    continue
                assert not any(k in data for k in keys), (daemon, line)
