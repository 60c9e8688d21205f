"""Raw bytes on a socket: what RFC 9112 forbids is refused, the connection ends, and nothing hidden is served."""
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import time

import pytest

from conftest import ROOT, free_port

VECTORS = pathlib.Path(os.environ.get("SEKS_VECTORS") or "/nonexistent") / "http/raw-requests.jsonl"
SMUGGLED = "GET /api/openai/v1/SMUGGLED HTTP/1.1\r\nHost: {{HOST}}\r\nAuthorization: Bearer {{TOKEN}}\r\n\r\n"
HEAD = "{0} /api/openai/v1/models HTTP/1.1\r\nHost: {{{{HOST}}}}\r\nAuthorization: Bearer {{{{TOKEN}}}}\r\n"
GET, POST = HEAD.format("GET"), HEAD.format("POST")


def own_samples():
    """Name, bytes, what to expect: a class each of what RFC 9110 and 9112 forbid, and controls."""
    yield "get", GET + "\r\n", "accept"
    yield "counted", POST + "Content-Length: 3\r\n\r\nabc", "accept"
    yield "chunked", POST + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n", "accept"
    yield "blanks around a value", GET + "X-A: \t b \t\r\n\r\n", "accept"
    for value in ("5", "5, 5", "+5", "0x5", "5 5", "", "5;"):
        yield f"length {value!r} and another", POST + f"Content-Length: {value}\r\nContent-Length: 5\r\n\r\nhello" + SMUGGLED, "reject"
    for coding in ("chunked, chunked", "chunked, identity", "identity", "\x0bchunked", "chunked;q=1", "'chunked'", "gzip"):
        yield f"coding {coding!r}", POST + f"Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n" + SMUGGLED, "reject"
    for name in ("Content-Length\t", "Content-Length ", " Content-Length", "Content_Length\x00", "\x01Content-Length"):
        yield f"name {name!r}", POST + f"{name}: 99\r\n\r\n" + SMUGGLED, "reject"
    for end in ("\n", "\r", "\n\r", "\r\r\n", "\x0b\r\n"):
        yield f"line end {end!r}", GET + f"X-A: b{end}X-B: c\r\n\r\n" + SMUGGLED, "reject"
        yield f"head end {end!r}", GET[:-2] + end + end + SMUGGLED, "reject"
    for byte in [*range(0x00, 0x09), 0x0b, 0x0c, *range(0x0e, 0x20), 0x7f]:
        yield f"byte {byte:#x} in a value", GET + f"X-A: b{chr(byte)}c\r\n\r\n" + SMUGGLED, "reject"
    for byte in (0x00, 0x09, 0x0b, 0x7f, 0x80, 0xff, ord("#")):
        yield f"byte {byte:#x} in the target", GET.replace("models ", f"models{chr(byte)}x ") + "\r\n", "reject"
    for target in ("*", "models", "http://127.0.0.1/api/openai/v1/models", "127.0.0.1:80", "?x", "\\x"):
        yield f"target {target!r}", GET.replace("/api/openai/v1/models", target, 1) + "\r\n" + SMUGGLED, "reject"
    for version in ("HTTP/1.1x", "HTTP/1,1", "HTTP/11", "http/1.1", "HTTP/1.1\t", "ICE/1.0", "HTTP/3.0", ""):
        yield f"version {version!r}", GET.replace("HTTP/1.1", version) + "\r\n" + SMUGGLED, "reject"
    for size in ("", "0x0", "-0", "+0", " 0", "0 ", "0\t;x", "0\n", "00000000000000000", "0_0", "g"):
        yield f"chunk size {size!r}", POST + f"Transfer-Encoding: chunked\r\n\r\n{size}\r\n\r\n" + SMUGGLED, "reject"
    yield "chunk longer than said", POST + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + SMUGGLED, "reject"
    yield "chunk ends with LF", POST + "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n" + SMUGGLED, "reject"
    yield "trailer folded", POST + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n" + SMUGGLED, "reject"
    yield "no Host", "GET /healthz HTTP/1.1\r\n\r\n" + SMUGGLED, "reject"
    yield "a bad one behind a good one", GET + "\r\n" + GET + "X : y\r\n\r\n" + SMUGGLED, "then-reject"
    yield "two good ones", GET + "\r\n" + GET + "\r\n", "accept"


def published_samples():
    if VECTORS.exists():
        for line in VECTORS.read_text().splitlines():
            sample = json.loads(line)
            yield sample["id"], sample["raw"], sample["expect"]


def fill(raw, broker, tokens):
    text = raw.replace("{{HOST}}", f"127.0.0.1:{broker.port}").replace("{{TOKEN}}", tokens["openai"])
    text = text.replace("{{OTHER_TOKEN}}", tokens["github"]).replace("{{CANARY_PORT}}", "1")
    at = text.find("GET /api/openai/v1/SMUGGLED")
    smuggled = len(text) - at if at >= 0 else 0
    return re.sub(r"\{\{LEN_SM(\+\d+)?\}\}", lambda m: str(smuggled + int(m[1] or 0)), text).encode("latin1")


def talk(port, pieces):
    """Sends the pieces; returns the answers' statuses, and None behind them when the server did not end the connection."""
    got, end = b"", []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                s.sendall(piece)
            while data := s.recv(65536):
                got += data
        except ConnectionError:
            pass
        except TimeoutError:
            end = [None]
    return [int(m) for m in re.findall(rb"HTTP/1\.1 (\d{3})", got) if m != b"100"] + end


def cuts(raw):
    yield "whole", [raw]
    if len(raw) < 2000:
        yield "byte by byte", [raw[i:i + 1] for i in range(len(raw))]
        yield "in two", [raw[:-1], raw[-1:]]


# Behind what is good comes one more request, so that the server ends the connection there too.
LAST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def is_right(statuses, expect, reached):
    if None in statuses or any("SMUGGLED" in r["path"] for r in reached):
        return False
    if expect == "reject":
        return statuses in ([], [400], [405], [414], [417], [431], [501], [505]) and not reached
    if expect == "then-reject":
        return statuses == [200, 400] and len(reached) == 1
    if expect == "once":
        return len(reached) <= 1
    return len(reached) >= 1 and set(statuses[:-1]) <= {200, 404} and statuses[-1] == 200


@pytest.mark.parametrize("samples", [own_samples, published_samples])
def test_framing(broker, tokens, providers, samples):
    wrong, count = [], 0
    seen = providers["openai"].seen
    for name, raw, expect in samples():
        raw = fill(raw, broker, tokens)
        for how, pieces in cuts(raw):
            before = len(seen)
            statuses = talk(broker.port, pieces + ([LAST] if expect in ("accept", "once") else []))
            count += 1
            if not is_right(statuses, expect, seen[before:]):
                wrong.append((name, how, statuses, len(seen) - before))
    assert not wrong, "\n".join(map(str, wrong))
    assert count > 100 or samples is published_samples


def test_keep_alive_and_pipelining_stay(broker, tokens, providers):
    raw = fill(GET + "\r\n", broker, tokens)
    with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as s:
        s.sendall(raw * 50)
        for count in (50, 1):  # the next one on the same connection
            got = b""
            while got.count(b"\n\r\n") < count or not got.endswith(b"}"):
                data = s.recv(65536)
                assert data, got[-500:]
                got += data
            assert got.count(b"HTTP/1.1 200") == count
            s.sendall(raw)


def test_many_pipelined_requests_do_not_wait_for_each_other(broker):
    """What the broker answers by itself; eight at a time and a quarter of a second between them took a minute."""
    raw, count = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 2000
    with socket.create_connection(("127.0.0.1", broker.port), timeout=30) as s:
        deadline, got = time.monotonic() + 30, b""
        s.sendall(raw * count)
        while got.count(b"HTTP/1.1 200") < count and time.monotonic() < deadline:
            got += s.recv(1 << 20)
    assert got.count(b"HTTP/1.1 200") == count


def test_bad_chunk_cancels_the_call(broker, tokens, providers):
    """The good chunks were sent upstream already: the call ends there too, and is no success."""
    head = fill(POST.replace("/v1/models", "/v1/x/echo") + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", broker, tokens)
    before = len(providers["openai"].seen)
    assert talk(broker.port, [head, b"zz\r\n"]) == [400]
    assert len(providers["openai"].seen) == before


@pytest.mark.parametrize("path, more, want", [("/api/openai/v1/x/echo", "Authorization: Bearer no\r\n", 401),
                                              ("/v1/nothing", "", 404), ("/v1/session", "", 413)])
def test_an_early_answer_is_read(broker, path, more, want):
    """The client sends its whole body before it reads: the answer that was given meanwhile is still there."""
    body = b"x" * 14_000_000  # more than lies in the buffers of two sockets
    with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as s:
        s.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert s.recv(12) == b"HTTP/1.1 %d" % want


def test_refusals_have_the_path_s_form(broker, tokens):
    def body(target):
        with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as s:
            s.sendall(b"GET %s HTTP/1.1\r\nX : y\r\n" % target)
            s.settimeout(5)
            text = b""
            while data := s.recv(65536):
                text += data
        head, _, body = text.partition(b"\r\n\r\n")
        assert b"Connection: close" in head and b"Seks-Request-Id: req_" in head
        return json.loads(body)
    assert body(b"/api/openai/v1/models")["error"]["type"] == "invalid_request_error"
    assert body(b"/v1/account")["ok"] is False


@pytest.fixture(scope="module")
def https_port(tmp_path_factory, certificates):
    """The gateway alone: what it refuses, and /healthz, need no vault."""
    d = tmp_path_factory.mktemp("https")
    build = os.environ.get("SEKS_BUILD") or ROOT / "build/release"
    subprocess.run([f"{build}/cli/seks", "keygen", d / "keys"], check=True, capture_output=True)
    port = free_port()
    process = subprocess.Popen(
        [f"{build}/services/gateway/seks-gateway", "--listen", f"127.0.0.1:{port}", "--keys", d / "keys", "--vault", f"ipc://{d}/vault",
         "--proxy", f"ipc://{d}/proxy", "--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key"],
        stderr=open(d / "log", "w"))
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port
    process.terminate()
    assert process.wait(40) == 0, (d / "log").read_text()


@pytest.mark.parametrize("step", [1, 7, 100000])
def test_the_same_with_tls(https_port, certificates, step):
    context = ssl.create_default_context(cafile=certificates / "ca.pem")

    def say(raw):
        got = b""
        with context.wrap_socket(socket.create_connection(("127.0.0.1", https_port), timeout=10), server_hostname="127.0.0.1") as s:
            try:
                for i in range(0, len(raw), step):
                    s.sendall(raw[i:i + step])
                while data := s.recv(65536):
                    got += data
            except (ConnectionError, ssl.SSLError):
                pass
        return [int(m) for m in re.findall(rb"HTTP/1\.1 (\d{3})", got)]
    good = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n"
    assert say(good % b"" + good % b"Connection: close\r\n") == [200, 200]
    assert say(good % b"X : y\r\n" + good % b"") == [400]
    assert say(good % b"" + good % b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" + b"0\r\n\r\n") == [200, 400]
