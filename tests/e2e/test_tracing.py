"""W3C Trace Context on its way to the provider, and spans of all four daemons at a collector."""
import http.client
import re
import threading

import pytest
import requests

import standin
from collector import Collector, values
from conftest import Account, Broker, rows_for, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")


class World:
    def __init__(self, directory, providers, certificates, collector, *options):
        self.collector, self.provider = collector, providers["openai"]
        self.broker = Broker(directory, rows_for({"openai": self.provider}, certificates),
                             options=["--otlp-endpoint", collector.url, *options])
        self.account = Account(self.broker, "traced@example.com")
        self.account.put_secret("OPENAI_API_KEY", standin.KEYS["openai"])
        self.agent = self.account.agent("traced")["agent"]["id"]
        self.token = self.account.token(self.agent, "openai")["value"]

    def call(self, path="/x/echo", token=None, **headers):
        """The answer, and the headers that the provider got."""
        answer = requests.post(f"{self.broker.url}/api/openai{path}", data=b'{"secret":"body-bytes"}', timeout=30, headers={
            "Authorization": f"Bearer {token or self.token}", **headers})
        seen = [s for s in self.provider.seen if s["path"].endswith(path)]
        return answer, {k.lower(): v for k, v in (seen[-1]["headers"] if seen else {}).items()}

    def spans(self, answer, daemons=("gateway", "vault", "audit", "proxy")):
        request = answer.headers["Seks-Request-Id"]
        until(lambda: set(self.collector.of(request)) >= set(daemons), f"spans of {daemons} for {request}")
        return self.collector.of(request)


@pytest.fixture(scope="module")
def world(tmp_path_factory, providers, certificates):
    world = World(tmp_path_factory.mktemp("traced"), providers, certificates, Collector())
    yield world
    log = world.broker.stop()
    assert not world.collector.errors, world.collector.errors[:2]
    everything = b"".join(world.collector.raw).decode() + log
    for secret in (standin.KEYS["openai"], world.token, "seks_openai_", "seks_agent_", "planted-query", "body-bytes"):
        assert secret not in everything


def test_one_call_is_one_trace_over_all_four_daemons(world):
    answer, got = world.call("/x/echo?planted-query=1", traceparent=SAMPLED, tracestate="vendor=opaque, other@x=1")
    assert answer.status_code == 200
    spans = world.spans(answer)
    assert {s.trace_id.hex() for s in spans.values()} == {TRACE}
    gateway, vault, audit, proxy = (spans[d] for d in ("gateway", "vault", "audit", "proxy"))
    assert gateway.parent_span_id.hex() == PARENT
    assert vault.parent_span_id == proxy.parent_span_id == gateway.span_id
    assert audit.parent_span_id == vault.span_id
    assert len({s.span_id for s in spans.values()}) == 4
    assert FORM.fullmatch(got["traceparent"]).groups() == (TRACE, proxy.span_id.hex())
    assert got["tracestate"] == "vendor=opaque,other@x=1"
    # one machine, one clock: each is within its parent
    for child, parent in ((vault, gateway), (audit, vault), (proxy, gateway)):
        assert parent.start_time_unix_nano <= child.start_time_unix_nano
        assert child.end_time_unix_nano <= parent.end_time_unix_nano + 1_000_000
    assert gateway.name == "POST /api/openai/{path}" and (vault.name, audit.name, proxy.name) == ("authorize", "append", "POST")
    assert [s.kind for s in (gateway, vault, audit, proxy)] == [2, 2, 2, 3]
    assert all(s.status.code == 0 for s in spans.values())
    assert [e.name for e in proxy.events] == ["first byte"]
    port = int(world.provider.origin.rsplit(":", 1)[1])
    who = {"seks.request.id": answer.headers["Seks-Request-Id"], "seks.tenant.id": world.account.id}
    assert values(vault.attributes) == values(audit.attributes) == who
    who.update({"seks.agent.id": world.agent, "seks.provider": "openai", "http.request.method": "POST",
                "http.response.status_code": 200})
    assert values(gateway.attributes) == {**who, "http.route": "/api/openai/{path}", "url.scheme": "http"}
    assert values(proxy.attributes) == {**who, "server.address": "127.0.0.1", "server.port": port}


def test_a_trace_begins_here_when_the_client_has_none(world):
    answer, got = world.call()
    spans = world.spans(answer)
    trace, parent = FORM.fullmatch(got["traceparent"]).groups()
    assert {s.trace_id.hex() for s in spans.values()} == {trace} and parent == spans["proxy"].span_id.hex()
    assert not spans["gateway"].parent_span_id and "tracestate" not in got


@pytest.mark.parametrize("parent", ["", "ff" + SAMPLED[2:], SAMPLED.upper(), SAMPLED + "-x", SAMPLED.replace(TRACE, "0" * 32),
                                    SAMPLED.replace(PARENT, "0" * 16), "00-1-2-01"])
def test_an_invalid_parent_is_replaced_with_its_state(world, parent):
    answer, got = world.call(traceparent=parent, tracestate="vendor=opaque")
    trace = FORM.fullmatch(got["traceparent"]).group(1)
    assert trace != TRACE and "tracestate" not in got
    spans = world.spans(answer)
    assert not spans["gateway"].parent_span_id and spans["gateway"].trace_id.hex() == trace


def test_two_parents_are_none_and_a_malformed_state_is_dropped(world):
    connection = http.client.HTTPConnection("127.0.0.1", world.broker.port, timeout=20)
    connection.putrequest("GET", "/api/openai/x/echo")
    connection.putheader("Authorization", f"Bearer {world.token}")
    connection.putheader("traceparent", SAMPLED)
    connection.putheader("TraceParent", SAMPLED.replace(PARENT, "1" * 16))
    connection.endheaders()
    assert connection.getresponse().status == 200
    parents = [v for k, v in world.provider.seen[-1]["headers"].items() if k.lower() == "traceparent"]
    assert len(parents) == 1 and FORM.fullmatch(parents[0]).group(1) != TRACE
    _, got = world.call(traceparent="cc" + SAMPLED[2:] + "-later", tracestate="UPPER=1")
    assert FORM.fullmatch(got["traceparent"]).group(1) == TRACE and "tracestate" not in got


def test_a_client_that_does_not_sample_is_left_alone(world):
    answer, got = world.call(traceparent=UNSAMPLED, tracestate="vendor=opaque , b=2")
    assert (got["traceparent"], got["tracestate"]) == (UNSAMPLED, "vendor=opaque , b=2")
    traced, _ = world.call(traceparent=SAMPLED)
    world.spans(traced)  # later ones have arrived
    assert world.collector.of(answer.headers["Seks-Request-Id"]) == {}


def test_failures_say_what_failed(world):
    answer, _ = world.call("/x/nowhere")
    assert answer.status_code == 404
    spans = world.spans(answer)
    assert spans["proxy"].status.code == 2 and values(spans["proxy"].attributes)["error.type"] == "404"
    assert spans["gateway"].status.code == 0  # for a server 4xx is the caller's
    answer, _ = world.call(token=world.token[:-1] + "x")  # its checksum is wrong: the vault is not asked
    assert answer.status_code == 401
    spans = world.spans(answer, ["gateway"])
    assert set(spans) == {"gateway"} and values(spans["gateway"].attributes)["http.response.status_code"] == 401
    revoked = world.account.token(world.agent, "openai")
    world.account.call("DELETE", f"/v1/account/agents/{world.agent}/tokens/{revoked['token']['id']}")
    answer, _ = world.call(token=revoked["value"])
    assert answer.status_code == 401
    assert set(world.spans(answer, ["gateway", "vault"])) == {"gateway", "vault"}


def test_account_calls_have_routes_and_no_ids(world):
    answer = world.account.http.get(f"{world.broker.url}/v1/account/agents/{world.agent}/tokens", headers={"traceparent": SAMPLED})
    spans = world.spans(answer, ["gateway", "vault"])
    assert spans["gateway"].name == "GET /v1/account/agents/{id}/tokens" and spans["vault"].name == "ask"
    assert "audit" not in spans and world.agent not in str(spans["gateway"])
    answer = world.account.http.put(f"{world.broker.url}/v1/account/secrets/SOME_NAME", json={"value": "x"})
    spans = world.spans(answer, ["gateway", "vault", "audit"])
    assert spans["audit"].parent_span_id == spans["vault"].span_id
    for path in ("/", "/healthz", "/nowhere"):
        requests.get(world.broker.url + path, headers={"traceparent": SAMPLED})
    world.spans(world.call()[0])
    with world.collector.lock:
        assert not [s for d, s in world.collector.spans if d == "seks-gateway" and not values(s.attributes).get("http.route")]


def test_json_calls_are_traced_too(world):
    answer = requests.post(f"{world.broker.url}/v1/proxy/request", headers={"Authorization": f"Bearer {world.token}", "traceparent": SAMPLED},
                           json={"service": "openai", "method": "GET", "path": "/x/echo", "headers": {"traceparent": UNSAMPLED}})
    assert answer.json()["status"] == 200, answer.text
    spans = world.spans(answer)
    got = {k.lower(): v for k, v in answer.json()["body"]["headers"].items()}
    assert FORM.fullmatch(got["traceparent"]).groups() == (TRACE, spans["proxy"].span_id.hex())
    assert spans["gateway"].name == "POST /v1/proxy/request"


def test_a_client_that_leaves_ends_its_spans(world):
    with requests.get(f"{world.broker.url}/api/openai/x/endless", stream=True, timeout=20, headers={
            "Authorization": f"Bearer {world.token}", "traceparent": SAMPLED}) as answer:
        assert answer.status_code == 200
        next(answer.iter_content(4))
    spans = world.spans(answer)
    assert values(spans["proxy"].attributes)["error.type"] == "CANCELLED"


# ---- collectors that are not there, slow, hostile ----

RELEASED = threading.Event()


def hang(handler):
    RELEASED.wait(30)
    handler.answer(200)


def flood(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 40))
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def redirect(handler):
    handler.send_response(307)
    handler.send_header("Location", f"http://127.0.0.1:{handler.server.server_address[1]}/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize("mode", [hang, flood, redirect, lambda h: h.answer(400), lambda h: h.wfile.write(b"\0nonsense\r\n\r\n"),
                                  lambda h: h.connection.close()], ids=["hang", "flood", "redirect", "400", "nonsense", "close"])
def test_no_call_waits_for_a_bad_collector(world, mode):
    used = threading.Event()

    def once(handler):
        used.set()
        mode(handler)
    world.collector.mode = once
    try:
        answer, _ = world.call()
        assert answer.status_code == 200
        assert used.wait(20)
        for _ in range(3):
            assert world.call()[0].status_code == 200
        RELEASED.set()
    finally:
        world.collector.mode = None


def test_what_a_collector_missed_comes_when_it_is_back(world):
    """Last of those above: whatever they left waiting, spans arrive again."""
    def away(handler):
        handler.answer(503)
    world.collector.mode = away
    answer, _ = world.call()
    request = answer.headers["Seks-Request-Id"]
    until(lambda: "the collector does not take spans" in world.broker.log(), "the log says so")
    assert world.collector.of(request) == {}
    world.collector.mode = None
    until(lambda: len(world.collector.of(request)) == 4, "the spans come late", 60)


def test_tls_and_a_prefix_and_the_stop(tmp_path, providers, certificates, monkeypatch):
    """Spans that wait when the broker stops are sent; a ratio of nothing traces nothing but what clients sample."""
    monkeypatch.setenv("SEKS_OTLP_CA_FILE", str(certificates / "ca.pem"))
    monkeypatch.setenv("SEKS_TRACE_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("SEKS_TRACE_RATIO", "0")
    world = World(tmp_path, providers, certificates, Collector(certificates / "both.pem", "/base"))
    untraced, got = world.call()
    assert "traceparent" not in got
    traced, _ = world.call(traceparent=SAMPLED)
    world.broker.stop()
    assert set(world.collector.of(traced.headers["Seks-Request-Id"])) == {"gateway", "vault", "audit", "proxy"}
    assert world.collector.of(untraced.headers["Seks-Request-Id"]) == {} and not world.collector.errors


def test_without_tracing_headers_pass_as_they_came(broker, tokens, providers):
    headers = {"traceparent": "nonsense", "tracestate": "A B", "Authorization": f"Bearer {tokens['openai']}"}
    requests.get(f"{broker.url}/api/openai/x/echo", headers=headers)
    got = {k.lower(): v for k, v in providers["openai"].seen[-1]["headers"].items()}
    assert (got["traceparent"], got["tracestate"]) == ("nonsense", "A B")
    requests.get(f"{broker.url}/api/openai/x/echo", headers={"Authorization": f"Bearer {tokens['openai']}"})
    assert "traceparent" not in {k.lower() for k in providers["openai"].seen[-1]["headers"]}
