"""A provider that gives the key back, in every spelling and place, cut at every byte: nothing of it comes through."""
import base64
import gzip
import json
import socket
import ssl
import threading
import time
import zlib

import pytest
import requests

from conftest import Account, Broker

KEY = "sk-planted/leak+5f2e9c7a\"1b8d"
STARS = "the key was taken out of the answer"


def each(form):
    return "".join(form.format(ord(c)) for c in KEY).encode()


def b64(before, url=False, after=b"."):
    """What of the base64 depends on the key alone."""
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(before + KEY.encode() + after)
    first, last = (len(before) * 8 + 5) // 6, (len(before) + len(KEY)) * 8 // 6
    return text[first:last]


FORMS = {
    "as it is": KEY.encode(),
    "JSON": json.dumps(KEY)[1:-1].encode(),
    "JSON with slashes": json.dumps(KEY)[1:-1].replace("/", "\\/").encode(),
    "JSON in JSON": json.dumps(json.dumps(KEY)[1:-1])[1:-1].encode(),
    "\\uXXXX": each("\\u{:04x}"), "\\uXXXX upper": each("\\u{:04X}"), "\\uXXXX in JSON": each("\\\\u{:04x}"),
    "percent": each("%{:02x}"), "percent upper": each("%{:02X}"), "percent doubled": each("%25{:02x}"),
    "percent where needed": KEY.replace("/", "%2F").replace("+", "%2b").replace('"', "%22").encode(),
    "\\xXX": each("\\x{:02x}"), "hex": KEY.encode().hex().encode(), "hex upper": KEY.encode().hex().upper().encode(),
    "entities": each("&#{};"), "hex entities": each("&#x{:X};"), "HTML": KEY.replace('"', "&quot;").encode(),
    "UTF-16 LE": KEY.encode("utf-16-le"), "UTF-16 BE": KEY.encode("utf-16-be"),
    "Basic": b64(b"user:"), "Basic url": b64(b"user:", True),
    **{f"base64 {n}": b64(b"xy"[:n]) for n in range(3)}, **{f"base64url {n}": b64(b"xy"[:n], True) for n in range(3)},
    "base64 escaped": b64(b"").replace(b"/", b"\\/").replace(b"+", b"%2B"),
    "base64 wrapped": b"\r\n".join([b64(b"")[:9], b64(b"")[9:20], b64(b"")[20:]]),
    "base64 wrapped in JSON": b"\\n".join([b64(b"")[:9], b64(b"")[9:]]),
}


class Provider:
    """Answers each request with the bytes that were put up for its path; a callable is given the connection."""

    def __init__(self, context=None):
        self.answers, self.context = {}, context
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with (self.context.wrap_socket(connection, server_side=True) if self.context else connection) as s:
                got = b""
                while data := s.recv(65536):
                    got += data
                    while b"\r\n\r\n" in got:
                        head, got = got.split(b"\r\n\r\n", 1)
                        assert KEY.encode() in head  # it has the real key, and could give it back
                        answer = self.answers[head.split(b" ")[1].decode().rsplit("/", 1)[-1]]
                        answer(s) if callable(answer) else s.sendall(answer)
        except OSError:
            pass


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "both.pem")
    plain, secure = Provider(), Provider(context)
    broker = Broker(tmp_path_factory.mktemp("leaks"), [
        {"name": "openai", "origin": f"http://127.0.0.1:{plain.port}", "allow_insecure": True},
        {"name": "github", "origin": f"https://127.0.0.1:{secure.port}", "allow_insecure": True, "ca_file": str(certificates / "ca.pem")}])
    account = Account(broker, "leaks@example.com")
    agent = account.agent("a")["agent"]["id"]
    broker.tokens = {}
    for name, secret in (("openai", "OPENAI_API_KEY"), ("github", "GITHUB_TOKEN")):
        account.put_secret(secret, KEY)
        broker.tokens[name] = account.token(agent, name)["value"]
    broker.account, broker.plain, broker.secure = account, plain, secure
    yield broker
    assert KEY not in broker.stop()


def ask(world, answer, method="GET", provider="openai"):
    """All bytes that the client gets for one call to which the provider gives ANSWER."""
    (world.plain if provider == "openai" else world.secure).answers["x"] = answer
    with socket.create_connection(("127.0.0.1", world.port), timeout=20) as s:
        s.sendall(f"{method} /api/{provider}/v1/x HTTP/1.1\r\nHost: b\r\nConnection: close\r\n"
                  f"Authorization: Bearer {world.tokens[provider]}\r\n\r\n".encode())
        got = b""
        while data := s.recv(65536):
            got += data
        return got


def chunked(pieces, head=b"Content-Type: text/plain\r\n", status=b"200 OK", trailers=b""):
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces if p)
    return b"HTTP/1.1 " + status + b"\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"


def joined(raw):
    """The body without chunk framing."""
    head, body = raw.split(b"\r\n\r\n", 1)
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    out = b""
    while body:
        size, body = body.split(b"\r\n", 1)
        size = int(size, 16)
        out, body = out + body[:size], body[size + 2:]
        if not size:
            break
    return out


def clean(raw, form):
    """No six characters of the form in a row, but for the last ones of base64, which another byte decides."""
    assert b" 200 " in raw.split(b"\r\n")[0] + b" ", raw[:300]
    body = joined(raw)
    for i in range(0, len(form) - 12, 6):
        assert form[i:i + 12] not in body and form[i:i + 12] not in raw, (form[i:i + 12], body[:300])
    assert b"****" in body
    return body


@pytest.mark.parametrize("name", FORMS)
def test_cut_at_every_byte(world, name):
    form = FORMS[name]
    pieces = [p for cut in range(1, len(form)) for p in (b"{ begin " + form[:cut], form[cut:] + b" end }")]
    body = clean(ask(world, chunked(pieces)), form)
    assert body.count(b"{ begin ") == body.count(b" end }") == len(form) - 1  # and nothing else is touched


@pytest.mark.parametrize("name", FORMS)
def test_byte_by_byte(world, name):
    form = FORMS[name]
    body = clean(ask(world, chunked([bytes([b]) for b in b"begin " + form + b" end"])), form)
    assert body.startswith(b"begin ") and body.endswith(b" end")


@pytest.mark.parametrize("provider", ["openai", "github"])
@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "bare deflate"])
def test_inside_a_coding(world, coding, provider):
    text = b"|".join(FORMS.values())
    bare = zlib.compressobj(wbits=-15)
    packed = {"deflate": zlib.compress(text), "bare deflate": bare.compress(text) + bare.flush()}.get(coding, gzip.compress(text))
    head = b"Content-Type: text/plain\r\nContent-Encoding: %s\r\n" % coding.split()[-1].encode()
    raw = ask(world, chunked([packed[i:i + 7] for i in range(0, len(packed), 7)], head), provider=provider)
    for form in FORMS.values():
        body = clean(raw, form)
    assert b"content-encoding" not in raw.lower() and len(body) == len(text)


def test_event_streams(world):
    """Cut over two events: the frames stay, the key goes."""
    for name in ("as it is", "JSON", "percent", "hex", "base64 0", "base64url 2"):
        form = FORMS[name]
        pieces = [b"data: a " + form[:cut] + b"\n\ndata: " + form[cut:] + b" b\n\n" for cut in range(1, len(form))]
        raw = ask(world, chunked(pieces, b"Content-Type: text/event-stream; charset=utf-8\r\n"))
        body = joined(raw)
        assert body.count(b"data: ") == 2 * (len(form) - 1) and body.count(b"\n\n") == body.count(b"data: ")
        assert len(body) == sum(map(len, pieces))
        for cut in range(1, len(form)):
            for part in (form[:cut], form[cut:]):
                assert len(part) < 8 or part not in body, (name, cut)


@pytest.mark.parametrize("seam", [b"\r\rdata: ", b"\r\revent: x\rid: 1\rdata: ", b"\r\n\r\n: a word\r\ndata:", b"\ndata: "])
def test_event_streams_with_other_line_ends(world, seam):
    """A line ends with CR, LF or both."""
    form = FORMS["as it is"]
    pieces = [b"data: a " + form[:9] + seam[:cut] for cut in range(1, len(seam))]
    rests = [seam[cut:] + form[9:] + b" b\n\n" for cut in range(1, len(seam))]
    both = [piece for pair in zip(pieces, rests) for piece in pair]
    body = joined(ask(world, chunked(both, b"Content-Type: text/event-stream\r\n")))
    assert form[:9] not in body and form[9:] not in body and body.count(b"*" + seam + b"*") == len(pieces)
    assert len(body) == sum(map(len, both))


def test_in_headers_trailers_and_reason(world):
    heads = b"".join(b"X-Leak-%d: before %s after\r\n" % (i, form) for i, form in enumerate(FORMS.values())
                     if not any(c in form for c in b"\r\n\0"))
    trailers = b"X-Trailer: " + KEY.encode() + b"\r\n"
    name = b"Sk-planted-leak"
    raw = ask(world, chunked([b"ok"], heads + b"Trailer: X-Trailer\r\n", b"200 " + KEY.encode(), trailers))
    for form in FORMS.values():
        for i in range(0, len(form) - 12, 6):
            assert form[i:i + 12] not in raw
    assert raw.count(b"X-Leak-") >= 20 and b"before ****" in raw and b"Trailer" not in raw and name not in raw


def test_error_texts(world):
    """As Gemini's 403 really does."""
    text = json.dumps({"error": {"message": f"Consumer 'api_key:{KEY}' has been suspended."}}).encode()
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
    raw = ask(world, answer)
    assert raw.startswith(b"HTTP/1.1 403") and b"sk-planted" not in raw and b"1b8d" not in raw
    assert len(joined(raw)) == len(text)
    for broken in (b"HTTP/1.1 " + KEY.encode() + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n", KEY.encode() + b"\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nContent-Length: " + KEY.encode() + b"\r\n\r\n"):
        raw = ask(world, broken)
        assert raw.startswith(b"HTTP/1.1 502") and b"planted" not in raw, raw[:300]


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"compress", b"gzip, gzip", b"deflate,gzip", b"gzip;q=1", b"\tbr", b"aws-chunked"])
def test_what_cannot_be_scanned_is_refused(world, coding):
    assert ask(world, chunked([b"xx"], b"Content-Encoding: " + coding + b"\r\n")).startswith(b"HTTP/1.1 502")


def test_doubled_codings_in_two_lines_are_refused(world):
    packed = gzip.compress(gzip.compress(KEY.encode()))
    raw = ask(world, chunked([packed], b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n"))
    assert raw.startswith(b"HTTP/1.1 502")


@pytest.mark.parametrize("coding", [b"gzip", b"br"])
@pytest.mark.parametrize("method,status", [("HEAD", b"200 OK"), ("GET", b"304 Not Modified"), ("GET", b"204 No Content")])
def test_no_body_needs_no_scanning(world, method, status, coding):
    raw = ask(world, b"HTTP/1.1 " + status + b"\r\nETag: \"a\"\r\nContent-Encoding: " + coding + b"\r\n\r\n", method)
    assert raw.startswith(b"HTTP/1.1 " + status[:3]) and b'"a"' in raw


def test_no_event_waits_for_the_next(world):
    """The provider sends the next event only once the client has the one before."""
    have = threading.Semaphore(0)
    events = [b"data: {\"n\":%d}\n\n" % n for n in range(20)] + [b"data: plain text\n\n", b": ping\n\n", b"data: [DONE]\n\n"]

    def send(s):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in events:
            s.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            if not have.acquire(timeout=10):
                return
        s.sendall(b"0\r\n\r\n")

    world.plain.answers["x"] = send
    with requests.get(f"{world.url}/api/openai/v1/x", headers={"Authorization": f"Bearer {world.tokens['openai']}"}, stream=True,
                      timeout=8) as answer:
        got, count = b"", 0
        for piece in answer.iter_content(None):
            got += piece
            while count < got.count(b"\n\n"):
                count += 1
                have.release()
    assert got == b"".join(events)


def test_only_the_tail_is_held(world):
    gate = threading.Event()

    def send(s):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n11\r\nall of this sk-pl\r\n")
        gate.wait(10)
        s.sendall(b"8\r\nural end\r\n0\r\n\r\n")

    world.plain.answers["x"] = send
    with requests.get(f"{world.url}/api/openai/v1/x", headers={"Authorization": f"Bearer {world.tokens['openai']}"}, stream=True,
                      timeout=8) as answer:
        pieces = answer.iter_content(None)
        got = b""
        while len(got) < 12:
            got += next(pieces)
        assert got == b"all of this "
        gate.set()
        assert got + b"".join(pieces) == b"all of this sk-plural end"


def test_each_scrub_is_an_audit_fact(world):
    ask(world, chunked([b"nothing here"]))
    ask(world, chunked([KEY.encode()]))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        records = world.account.call("GET", "/v1/account/audit?limit=20")["records"]
        outcomes = [r for r in records if r["kind"] == "outcome"]
        if outcomes[0]["reason"] == STARS:
            break
        time.sleep(0.05)
    assert outcomes[0]["reason"] == STARS and outcomes[1]["reason"] is None
