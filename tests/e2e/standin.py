"""Stand-ins for the providers: one TLS server each, which insists on exactly one credential, the
planted one, in the provider's own place, and keeps what it was sent."""
import base64
import gzip
import hashlib
import json
import re
import ssl
import threading
import time

import served

KEYS = {
    "openai": "sk-planted-openai-5f2e9c7a1b8d4036",
    "anthropic": "sk-ant-planted-8c1d7e3f9a2b4650",
    "github": "ghp_plantedGithub7a3c9e1f5b2d8046",
    "notion": "ntn_plantedNotion4b8d2f6a1c9e3057",
    "gemini": "AIzaPlantedGemini9e1c5a7d3b8f2604",
    "cloudflare": "cf-planted-2d6f8b4a9c1e7035-token",
    "brave": "BSAplantedBrave3a7c1e9d5f2b8046",
}
# name and form of the one credential that may arrive
PLACES = {
    "openai": ("authorization", "Bearer {}"),
    "anthropic": ("x-api-key", "{}"),
    "github": ("authorization", "Bearer {}"),
    "notion": ("authorization", "Bearer {}"),
    "gemini": ("x-goog-api-key", "{}"),
    "cloudflare": ("authorization", "Bearer {}"),
    "brave": ("x-subscription-token", "{}"),
}
CREDENTIALS = ["authorization", "x-api-key", "x-goog-api-key", "x-subscription-token", "x-auth-key",
               "x-auth-email", "api-key", "cookie"]


class Handler(served.Handler):
    def credential_error(self):
        name, form = PLACES[self.server.provider]
        key = KEYS[self.server.provider]
        present = [c for c in CREDENTIALS if self.headers.get_all(c)]
        if present != [name] or self.headers.get_all(name) != [form.format(key)]:
            return f"credentials in {present}, want {name}"
        if "seks_" in self.path or any("seks_" in v for v in self.headers.values()):
            return "a fake token arrived"
        return None

    def send(self, status, body=b"", kind="application/json", headers=()):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def begin_chunks(self, kind, headers=()):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def events(self, events, pause=0.01):
        self.begin_chunks("text/event-stream")
        for event in events:
            self.chunk(event.encode())
            time.sleep(pause)
        self.chunk(b"")

    def handle_any(self):
        body = self.read_body()
        record = {"method": self.command, "path": self.path, "headers": dict(self.headers.items()),
                  "sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "time": time.time()}
        self.server.seen.append(record)
        self.body = body
        error = self.credential_error()
        if error:
            self.send(418, {"error": {"message": error}})
            return
        path = self.path.split("?")[0]
        for pattern, answer in COMMON + ANSWERS[self.server.provider]:
            match = re.fullmatch(pattern, f"{self.command} {path}")
            if match:
                answer(self, *match.groups())
                return
        self.send(404, {"message": f"no {self.command} {path}", "error": {"message": "not here"}})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any


# ---- what any provider can be asked for in tests: /x/... behind the row's prefix ----

def echo(h):
    h.send(200, {"path": h.path, "headers": dict(h.headers.items()), "size": len(h.body),
                 "sha256": hashlib.sha256(h.body).hexdigest()})


def leak(h):
    """The key in every spelling, in the body in 7-byte chunks, and in a header."""
    key = KEYS[h.server.provider]
    spellings = [key, "".join(f"%{ord(c):02X}" for c in key), "".join(f"%25{ord(c):02x}" for c in key),
                 "".join(f"\\u{ord(c):04x}" for c in key), "".join(f"&#{ord(c)};" for c in key),
                 "".join(f"\\x{ord(c):02x}" for c in key), key.encode().hex(), key.encode().hex().upper(),
                 base64.b64encode(b"user:" + key.encode()).decode(), base64.b64encode(key.encode()).decode(),
                 base64.b64encode(b"x" + key.encode()).decode(), base64.urlsafe_b64encode(b"xy" + key.encode()).decode(),
                 key.encode("utf-16le").decode("latin1"), key.encode("utf-16be").decode("latin1")]
    text = ("[" + "|".join(spellings) + "]").encode("latin1")
    h.begin_chunks("text/plain", [("X-Leak", key), ("X-Leak-Basic", base64.b64encode(key.encode()).decode())])
    for i in range(0, len(text), 7):
        h.chunk(text[i:i + 7])
    h.chunk(b"")


def zipped(h):
    h.send(200, gzip.compress(f"key {KEYS[h.server.provider]} end".encode()), "text/plain",
           [("Content-Encoding", "gzip")])


def endless(h):
    h.begin_chunks("text/event-stream")
    try:
        while True:
            h.chunk(b"data: tick\n\n")
            time.sleep(0.05)
    except OSError:
        h.server.hangups.append(time.monotonic())


def silent(h):
    """Answers nothing; notices when the other side has left."""
    if h.connection.recv(1) == b"":
        h.server.hangups.append(time.monotonic())
    h.close_connection = True


def cut(h):
    h.send_response(200)
    h.send_header("Content-Length", "1000")
    h.end_headers()
    h.wfile.write(b"x" * 100)
    h.close_connection = True


def garbage(h):
    h.wfile.write(b"this is not HTTP\r\n\r\n")
    h.close_connection = True


def big(h, size):
    h.send_response(200)
    h.send_header("Content-Length", size)
    h.end_headers()
    block = bytes(range(256)) * 256
    left = int(size) if h.command != "HEAD" else 0
    while left:
        h.wfile.write(block[:min(left, len(block))])
        left -= min(left, len(block))


COMMON = [
    (r"\w+ .*/x/echo.*", echo),
    (r"GET .*/x/leak", leak),
    (r"GET .*/x/gzip", zipped),
    (r"GET .*/x/brotli", lambda h: h.send(200, b"xx", headers=[("Content-Encoding", "br")])),
    (r"GET .*/x/endless", endless),
    (r"GET .*/x/silent", silent),
    (r"GET .*/x/cut", cut),
    (r"GET .*/x/garbage", garbage),
    (r"GET .*/x/slow", lambda h: (time.sleep(3), h.send(200, {}))),
    (r"\w+ .*/x/status/(\d+)", lambda h, s: h.send(int(s), {"status": int(s)})),
    (r"GET .*/x/redirect", lambda h: h.send(302, b"", headers=[("Location", "https://elsewhere.example/steal")])),
    (r"GET .*/x/moved", lambda h: h.send(301, b"", headers=[("Location", h.server.origin + "/v1/new?a=b")])),
    (r"GET .*/x/page", lambda h: h.send(200, b"<script>alert(1)</script>", "text/html", [
        ("Clear-Site-Data", '"*"'), ("Refresh", "0; url=https://evil.example/"), ("Referrer-Policy", "unsafe-url"),
        ("Service-Worker-Allowed", "/"), ("Content-Security-Policy", "sandbox allow-scripts; report-uri https://evil.example"),
        ("NEL", "{}"), ("X-Kept", "1")])),
    (r"GET .*/x/cookie", lambda h: h.send(200, {}, headers=[
        ("Set-Cookie", "a=b"), ("Strict-Transport-Security", "max-age=1"), ("Alt-Svc", "h3"),
        ("Access-Control-Allow-Origin", "https://evil.example"), ("X-Request-Id", "up-1")])),
    (r"(?:GET|HEAD) .*/x/big/(\d+)", big),
]

# ---- OpenAI ----

def openai_chat(h):
    asked = json.loads(h.body)
    if asked["model"] == "broken":
        h.send(429, {"error": {"message": "slow down please", "type": "rate_limit", "code": "rate"}})
        return
    base = {"id": "c1", "created": 1, "model": asked["model"]}
    if asked.get("stream"):
        events = [json.dumps({**base, "object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": {"content": word}, "finish_reason": None}]}) for word in ("Hel", "lo", "!")]
        h.events([f"data: {e}\n\n" for e in events] + ["data: [DONE]\n\n"])
        return
    message = {"role": "assistant", "content": "Hello!"}
    if asked.get("tools"):
        message = {"role": "assistant", "content": None, "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}}]}
    h.send(200, {**base, "object": "chat.completion", "choices": [
        {"index": 0, "message": message, "finish_reason": "stop"}]})


OPENAI = [
    (r"POST /v1/chat/completions", openai_chat),
    (r"POST /v1/files", lambda h: h.send(200, {"id": "file-1", "object": "file", "bytes": len(h.body), "created_at": 1,
                                               "filename": "a.jsonl", "purpose": "batch", "status": "processed"})),
    (r"GET /v1/models", lambda h: h.send(200, {"object": "list", "data": [
        {"id": "m1", "object": "model", "created": 1, "owned_by": "x"}]})),
]

# ---- Anthropic ----

def anthropic_messages(h):
    asked = json.loads(h.body)
    if asked["model"] == "broken":
        h.send(529, {"type": "error", "error": {"type": "overloaded_error", "message": "too busy today"}})
        return
    content = [{"type": "text", "text": "Hello!"}]
    if asked.get("tools"):
        content = [{"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}}]
    message = {"id": "m1", "type": "message", "role": "assistant", "model": asked["model"], "content": content,
               "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    if not asked.get("stream"):
        h.send(200, message)
        return
    events = [("message_start", {"message": {**message, "content": []}}),
              ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
              *[("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": t}}) for t in ("Hel", "lo!")],
              ("content_block_stop", {"index": 0}),
              ("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}}),
              ("message_stop", {})]
    h.events([f"event: {n}\ndata: {json.dumps({'type': n, **d})}\n\n" for n, d in events])


ANTHROPIC = [(r"POST /v1/messages", anthropic_messages)]

# ---- GitHub ----

def github_issues(h):
    page = int((re.search(r"[?&]page=(\d+)", h.path) or [0, 1])[1])
    link = f'<{h.server.origin}/repositories/1/issues?page={page + 1}>; rel="next", <{h.server.origin}/repositories/1/issues?page=3>; rel="last"'
    issues = [{"number": page * 10 + i, "id": page * 10 + i, "title": f"issue {page * 10 + i}", "url": f"{h.server.origin}/i"} for i in range(2)]
    h.send(200, issues, headers=[("Link", link)] if page < 3 else [])


GITHUB = [
    (r"GET /user", lambda h: h.send(200, {"login": "octo", "id": 1, "url": h.server.origin + "/user"})),
    (r"GET /repos/o/r/issues", github_issues),
    (r"GET /repositories/1/issues", github_issues),
    (r"GET /repos/o/none", lambda h: h.send(404, {"message": "Not Found here", "documentation_url": "x"})),
    (r"POST /graphql", lambda h: h.send(200, {"data": {"viewer": {"login": "octo"}}})),
]

# ---- Notion, Gemini, Cloudflare, Brave ----

NOTION = [
    (r"GET /v1/users/me", lambda h: h.send(200, {"object": "user", "id": "u1", "name": "Bot", "version": h.headers.get("Notion-Version")})),
    (r"GET /v1/users/none", lambda h: h.send(404, {"object": "error", "status": 404, "code": "object_not_found", "message": "no such user"})),
]


def gemini_answer(text):
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}


def gemini_upload_start(h):
    h.send(200, {}, headers=[("X-Goog-Upload-URL", h.server.origin + "/upload/v1beta/files?upload_id=u1&upload_protocol=resumable"),
                             ("X-Goog-Upload-Status", "active")])


def gemini_upload(h):
    if h.headers.get("X-Goog-Upload-Command") == "start":
        gemini_upload_start(h)
        return
    h.send(200, {"file": {"name": "files/f1", "uri": h.server.origin + "/v1beta/files/f1", "mimeType": "text/plain",
                          "sizeBytes": str(len(h.body)), "state": "ACTIVE"}}, headers=[("X-Goog-Upload-Status", "final")])


GEMINI = [
    (r"POST /v1(?:beta)?/models/broken:generateContent", lambda h: h.send(403, {"error": {
        "code": 403, "status": "PERMISSION_DENIED", "message": f"Consumer 'api_key:{KEYS['gemini']}' has been suspended."}})),
    (r"POST /v1(?:beta)?/models/[^:]+:generateContent", lambda h: h.send(200, gemini_answer("Hello!"))),
    (r"POST /v1(?:beta)?/models/[^:]+:streamGenerateContent", lambda h: h.events(
        [f"data: {json.dumps(gemini_answer(t))}\r\n\r\n" for t in ("Hel", "lo!")])),
    (r"POST /upload/v1(?:beta)?/files", gemini_upload),
]

CLOUDFLARE = [
    (r"GET /client/v4/zones", lambda h: h.send(200, {"success": True, "errors": [], "messages": [], "result": [
        {"id": "z1", "name": "example.com"}] if "page=2" not in h.path else [], "result_info": {"page": 1, "per_page": 20, "count": 1, "total_count": 1}})),
    (r"GET /client/v4/zones/none", lambda h: h.send(403, {"success": False, "errors": [{"code": 9109, "message": "Unauthorized zone"}], "messages": [], "result": None})),
]

BRAVE = [(r"GET /res/v1/web/search", lambda h: h.send(200, {"type": "search", "query": h.path}))]

ANSWERS = {"openai": OPENAI, "anthropic": ANTHROPIC, "github": GITHUB, "notion": NOTION, "gemini": GEMINI,
           "cloudflare": CLOUDFLARE, "brave": BRAVE}


def start(provider, certificate):
    server = served.Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.provider, server.seen, server.hangups = provider, [], []
    server.origin = f"https://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
