"""A stand-in for an OpenTelemetry collector: OTLP over HTTP with JSON, taken strictly.

Bodies are parsed into the protobuf messages of opentelemetry-proto, which refuses what it does not know; the
ids, which OTLP's JSON has in hex and protobuf's in base64, are checked and converted before."""
import base64
import http.server
import json
import re
import ssl
import threading

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SIZES = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


def convert(value):
    """Hex ids to base64; 64-bit numbers must be text, as the mapping has them."""
    if isinstance(value, list):
        return [convert(v) for v in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, v in value.items():
        if name in SIZES:
            assert re.fullmatch(r"[0-9a-f]{%d}" % SIZES[name], v) and set(v) != {"0"}, (name, v)
            v = base64.b64encode(bytes.fromhex(v)).decode()
        elif name.endswith("UnixNano") or name == "intValue":
            assert isinstance(v, str) and v.isdigit(), (name, v)
        result[name] = convert(v)
    return result


def values(attributes):
    result = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
    assert len(result) == len(attributes)
    return result


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        if server.mode:
            server.mode(self)
            return
        try:
            assert self.path == server.path and self.headers["Content-Type"] == "application/json"
            assert not self.headers.get("Authorization")
            message = json_format.ParseDict(convert(json.loads(body)), ExportTraceServiceRequest())
            with server.lock:
                server.raw.append(body)
                for resource in message.resource_spans:
                    service = values(resource.resource.attributes)
                    assert service["service.namespace"] == "seks-broker" and service["service.version"]
                    for scope in resource.scope_spans:
                        for span in scope.spans:
                            assert span.end_time_unix_nano >= span.start_time_unix_nano > 1.7e18
                            server.spans.append((service["service.name"], span))
        except Exception as error:  # the test looks at it
            server.errors.append((repr(error), body[:2000]))
        self.answer(200, b'{"partialSuccess":{}}')

    def answer(self, status, body=b"{}"):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Collector(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificate=None, prefix=""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode, self.path = None, prefix + "/v1/traces"
        self.raw, self.spans, self.errors, self.lock = [], [], [], threading.Lock()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.server_address[1]}{prefix}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # the proxy hangs up on some of its modes

    def of(self, request):
        """The spans of one request, by daemon."""
        with self.lock:
            return {service.removeprefix("seks-"): span for service, span in self.spans
                    if values(span.attributes).get("seks.request.id") == request}
