"""A stand-in for AWS that refuses every signature but the right one: it recomputes them with botocore,
checks the hash or each chunk's signature and the trailers of the body, and keeps S3 objects in memory."""
import base64
import hashlib
import hmac
import json
import re
import threading
import zlib
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import served

ID, SECRET, SESSION = "AKIDPLANTEDEXAMPLE", "planted-aws-secret-7c1e9d5f3b8a2604", "planted-session-4e8a1c7d/+="
EMPTY = hashlib.sha256(b"").hexdigest()
SIGN_AS = {"bedrock-runtime": "bedrock"}


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def signing_key(secret, scope):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/")[-4:]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


class Verified:
    """The request that HEADERS (pairs, as they came) belong to; raises Refused."""

    def __init__(self, method, origin, target, headers, secret=SECRET, key_id=ID, session=None):
        self.headers = {}
        for name, value in headers:
            name = name.lower()
            self.headers[name] = self.headers[name] + "," + value.strip() if name in self.headers else value.strip()
        match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8}/[a-z0-9-]+/([a-z0-9-]+)/aws4_request), "
                             r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})", self.headers.get("authorization", ""))
        if not match:
            raise Refused("AccessDenied", "no signature: " + self.headers.get("authorization", ""))
        found_id, self.scope, self.service, names, self.signature = match.groups()
        self.time = self.headers.get("x-amz-date", "")
        if found_id != key_id:
            raise Refused("InvalidAccessKeyId", found_id)
        if self.time[:8] != self.scope[:8]:
            raise Refused("AccessDenied", "the date is not the scope's")
        if self.headers.get("x-amz-security-token") != session:
            raise Refused("InvalidToken", "the session token")
        names = names.split(";")
        if names != sorted(names) or "host" not in names:
            raise Refused("AccessDenied", "malformed SignedHeaders")
        unsigned = [n for n in self.headers if (n.startswith("x-amz-") or n == "content-type") and n not in names]
        if unsigned:
            raise Refused("AccessDenied", f"headers that are not signed: {unsigned}")
        self.payload = self.headers.get("x-amz-content-sha256", "")
        self.secret = secret
        kind = botocore.auth.S3SigV4Auth if self.service == "s3" else botocore.auth.SigV4Auth
        auth = kind(Credentials(key_id, secret, session), self.service, self.scope.split("/")[1])
        request = AWSRequest(method=method, url=origin + target, headers={n: self.headers[n] for n in names})
        request.context["timestamp"] = self.time
        request.context["payload_signing_enabled"] = True
        self.canonical = auth.canonical_request(request)
        want = auth.signature(auth.string_to_sign(request, self.canonical), request)
        if want != self.signature:
            raise Refused("SignatureDoesNotMatch", self.canonical)

    def next_signature(self, kind, previous, *hashes):
        text = "\n".join([kind, self.time, self.scope, previous, *hashes])
        return hmac.new(signing_key(self.secret, self.scope), text.encode(), hashlib.sha256).hexdigest()

    def body(self, raw):
        """The data of the body, after its checks."""
        if re.fullmatch("[0-9a-f]{64}", self.payload):
            if hashlib.sha256(raw).hexdigest() != self.payload:
                raise Refused("XAmzContentSHA256Mismatch", "the body is another")
            return raw
        if self.payload == "UNSIGNED-PAYLOAD" and self.service == "s3":
            return raw
        if self.payload.startswith("STREAMING-") and self.service == "s3":
            return self.chunks(raw)
        raise Refused("InvalidRequest", f"x-amz-content-sha256 is {self.payload!r}")

    def chunks(self, raw):
        signed, trailed = "AWS4" in self.payload, self.payload.endswith("-TRAILER")
        previous, data, sizes = self.signature, b"", []
        while True:
            line, raw = raw.split(b"\r\n", 1)
            size, _, extension = line.partition(b";chunk-signature=")
            piece, raw = raw[:int(size, 16)], raw[int(size, 16):]
            if signed:
                want = self.next_signature("AWS4-HMAC-SHA256-PAYLOAD", previous, EMPTY, hashlib.sha256(piece).hexdigest())
                if want != extension.decode():
                    raise Refused("SignatureDoesNotMatch", f"chunk {len(sizes)}")
                previous = want
            data += piece
            sizes.append(len(piece))
            if not piece:
                break
            if raw[:2] != b"\r\n":
                raise Refused("InvalidRequest", "a chunk without end")
            raw = raw[2:]
        if any(size < 8192 for size in sizes[:-2]):
            raise Refused("InvalidChunkSizeError", str(sizes))
        if len(data) != int(self.headers.get("x-amz-decoded-content-length", "-1")):
            raise Refused("IncompleteBody", "x-amz-decoded-content-length")
        trailers = [line for line in raw.split(b"\r\n") if line]
        if trailed:
            self.check_trailers(trailers, previous, data, signed)
        elif trailers:
            raise Refused("InvalidRequest", "trailers that were not announced")
        return data

    def check_trailers(self, lines, previous, data, signed):
        found = dict(line.decode().split(":", 1) for line in lines)
        if signed:
            signature = found.pop("x-amz-trailer-signature", None)
            canonical = "".join(f"{n}:{v}\n" for n, v in found.items())
            if signature != self.next_signature("AWS4-HMAC-SHA256-TRAILER", previous, hashlib.sha256(canonical.encode()).hexdigest()):
                raise Refused("SignatureDoesNotMatch", "trailer")
        if sorted(found) != sorted(n.strip() for n in self.headers.get("x-amz-trailer", "").split(",")):
            raise Refused("InvalidRequest", f"trailers {found}")
        checks = {"x-amz-checksum-crc32": lambda: zlib.crc32(data).to_bytes(4, "big"),
                  "x-amz-checksum-sha256": lambda: hashlib.sha256(data).digest(),
                  "x-amz-checksum-sha1": lambda: hashlib.sha1(data).digest()}
        for name, value in found.items():
            if name in checks and base64.b64encode(checks[name]()).decode() != value:
                raise Refused("BadDigest", name)


class Handler(served.Handler):
    def send(self, status, body=b"", kind="application/xml", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        raw, server = self.read_body(), self.server
        self.verified = None
        try:
            self.verified = Verified(self.command, server.origin, self.path, self.headers.items(), session=server.session)
            self.data = self.verified.body(raw)
            if "seks_" in self.path or any("seks_" in v for v in self.headers.values()):
                raise Refused("FakeToken", "a fake token arrived")
        except Refused as refused:
            server.refusals.append(refused)
            self.send(403, f"<Error><Code>{refused.code}</Code><Message>{refused.message}</Message></Error>".encode())
            return
        service = self.verified.service
        server.seen.append({"method": self.command, "path": self.path, "service": service, "raw": raw,
                            "headers": self.verified.headers, "data": self.data, "canonical": self.verified.canonical})
        (self.s3 if service == "s3" else getattr(self, "of_" + service))()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

    # ---- S3: objects by their decoded path ----

    def s3(self):
        url = urlsplit(self.path)
        key, objects = unquote(url.path), self.server.objects
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        if self.command == "PUT" and "x-amz-copy-source" in self.headers:
            objects[key] = objects["/" + unquote(self.headers["x-amz-copy-source"]).lstrip("/")]
            self.send(200, b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")
        elif self.command == "POST" and "uploads" in query:
            self.send(200, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
        elif self.command == "PUT" and "partNumber" in query:
            self.server.parts[key, int(query["partNumber"])] = self.data
            self.send(200, headers=[("ETag", f'"{hashlib.md5(self.data).hexdigest()}"')])
        elif self.command == "POST" and "uploadId" in query:
            numbers = sorted(n for k, n in self.server.parts if k == key)
            objects[key] = b"".join(self.server.parts[key, n] for n in numbers), {}
            self.send(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
        elif self.command == "PUT":
            objects[key] = (self.data, {n: v for n, v in self.verified.headers.items()
                                        if n.startswith("x-amz-meta-") or n in ("content-type", "content-encoding")})
            self.send(200, headers=[("ETag", f'"{hashlib.md5(self.data).hexdigest()}"')])
        elif self.command == "DELETE":
            objects.pop(key, None)
            self.send(204)
        elif key in objects and self.command in ("GET", "HEAD"):
            data, kept = objects[key]
            headers = [(n, v) for n, v in kept.items() if n != "content-type"]
            span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if span:
                data = data[int(span[1]):int(span[2]) + 1]
            self.send(206 if span else 200, data, kept.get("content-type", "binary/octet-stream"), headers)
        else:
            self.send(404, b"<Error><Code>NoSuchKey</Code><Message>not here</Message></Error>")

    # ---- other services: what their SDKs need to be content ----

    def json(self, body, kind="application/x-amz-json-1.0"):
        self.send(200, json.dumps(body).encode(), kind)

    def of_dynamodb(self):
        operation = self.headers["X-Amz-Target"].split(".")[1]
        self.json({"GetItem": {"Item": {"k": {"S": "v"}}}, "ListTables": {"TableNames": ["t"]}}.get(operation, {}))

    def of_sqs(self):
        request = json.loads(self.data)
        self.json({"MessageId": "m-1", "MD5OfMessageBody": hashlib.md5(request["MessageBody"].encode()).hexdigest()})

    def of_sns(self):
        form = dict(parse_qsl(self.data.decode()))
        assert form["Action"] == "Publish"
        self.send(200, b'<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>'
                       b"n-1</MessageId></PublishResult></PublishResponse>", "text/xml")

    def of_lambda(self):
        if self.command == "POST":
            self.send(200, b'{"echo":' + (self.data or b"null") + b"}", "application/json")
        else:
            self.json({"Functions": [{"FunctionName": "f"}]}, "application/json")

    def of_bedrock(self):
        self.send(200, json.dumps({"path": self.path, "sent": json.loads(self.data)}).encode(), "application/json")


def start(session=None):
    server = served.Server(("127.0.0.1", 0), Handler)
    server.session, server.seen, server.refusals, server.objects, server.parts = session, [], [], {}, {}
    server.origin = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
