"""Several gateways and proxies on hosts of their own: they find each other, share the load, and leave in peace."""
import concurrent.futures
import re
import signal
import time

import pytest

import cluster as net
from conftest import ROOT, until

pytestmark = pytest.mark.skipif(not net.possible(), reason="network namespaces cannot be made here")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = net.Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.resolve(vault=["vault"], audit=["audit"], proxies=["proxy1", "proxy2"])
        cluster.start("gateway1", "gateway2", "proxy1")  # whoever starts first waits for the others
        cluster.start("vault", "proxy2", "audit")
        until(lambda: all(cluster.ready(n) for n in ("gateway1", "gateway2", "vault", "audit", "proxy1", "proxy2")),
              "not ready")
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def client(cluster):
    return net.Client(cluster, ["gateway1", "gateway2"])


def slow_calls(cluster, client, count):
    """COUNT streams that run until join(), which checks that each came whole."""
    cluster.server.gate.clear()

    def call(index):
        answer = client.call(index, "/slow")
        return answer.status_code == 200 and answer.text == "begun ended"
    pool = concurrent.futures.ThreadPoolExecutor(count, initializer=net.enter, initargs=(cluster.space("client"),))
    futures = [pool.submit(call, i) for i in range(count)]

    def join():
        cluster.server.gate.set()
        assert all(f.result() for f in futures)
        pool.shutdown()
    return join


def in_flight(cluster, *proxies):
    return [cluster.metric(p, "seks_calls_in_flight") for p in proxies]


def test_the_least_busy_proxy_is_taken(cluster, client):
    join = slow_calls(cluster, client, 16)
    until(lambda: sum(in_flight(cluster, "proxy1", "proxy2")) == 16, "not all calls run")
    assert min(in_flight(cluster, "proxy1", "proxy2")) >= 6  # two gateways choose, each by what it knows
    join()


def test_metrics_tell_what_happened(cluster, client):
    """Prometheus' format, every family typed; and the dashboard asks for nothing that is not there."""
    before = calls_counted(cluster)
    for i in range(4):
        assert net.inside(cluster.space("client"), client.call, i).status_code == 200
    until(lambda: calls_counted(cluster) == before + 4, "the gateways do not count calls")
    families = set()
    for node in ("gateway1", "vault", "proxy1", "audit"):
        text = cluster.metrics(node)
        typed = dict(re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", text, re.M))
        for line in text.splitlines():
            if not line.startswith("#"):
                name = re.fullmatch(r'([a-z_]+)(\{([a-z]+="[^"\\]*",?)*\})? [0-9.e+-]+', line).group(1)
                family = re.sub(r"_(bucket|sum|count)$", "", name)
                assert typed.get(name) in ("counter", "gauge") or typed.get(family) == "histogram", line
        families |= set(typed)
        assert f'seks_build_info{{daemon="{node.rstrip("1")}",version="' in text
    dashboard = (ROOT / "deploy/k8s/monitoring/dashboard.json").read_text()
    asked = {re.sub(r"_bucket$", "", name) for name in re.findall(r"seks_[a-z_]+", dashboard)}
    assert asked <= families, asked - families


def calls_counted(cluster):
    return sum(float(n) for i in (1, 2) for n in
               re.findall(r'^seks_calls_total\{provider="openai",code="200"\} (\d+)$', cluster.metrics(f"gateway{i}"), re.M))


def test_a_new_proxy_is_found_and_one_that_left_is_not_missed(cluster, client):
    cluster.resolve(proxies=["proxy1", "proxy2", "proxy3"])
    cluster.start("proxy3")
    until(lambda: cluster.ready("proxy3"), "proxy3 is not ready")
    until(lambda: noticed(cluster, "proxy3", "came"), "the gateways did not notice")

    def used():
        join = slow_calls(cluster, client, 6)
        until(lambda: sum(in_flight(cluster, "proxy1", "proxy2", "proxy3")) == 6, "not all calls run")
        count = in_flight(cluster, "proxy3")[0]
        join()
        return count
    until(lambda: used() > 0, "proxy3 is not used", 30)
    join = slow_calls(cluster, client, 6)
    until(lambda: in_flight(cluster, "proxy3")[0] > 0, "proxy3 is not used")
    cluster.resolve(proxies=["proxy1", "proxy2"])
    until(lambda: noticed(cluster, "proxy3", "is no longer listed"), "the gateways did not notice")
    join()  # what ran on the one that is no longer listed came whole
    assert used() == 0
    assert cluster.stop("proxy3") == 0


def noticed(cluster, proxy, what):
    line = f"{cluster.nodes[proxy]}:7102 {what}"
    return all(line in (cluster.directory / f"gateway{i}.log").read_text() for i in (1, 2))


@pytest.mark.parametrize("node", ["proxy1", "proxy2", "vault", "audit", "gateway1", "gateway2"])
def test_each_is_restarted_under_load_and_no_request_fails(cluster, client, node):
    with client.load(patient=node == "audit") as statuses:
        until(lambda: len(statuses) > 20, "no calls")
        assert cluster.stop(node) == 0
        cluster.start(node)
        until(lambda: cluster.ready(node), f"{node} does not come back")
        before = len(statuses)
        until(lambda: len(statuses) > before + 20, "calls do not go on")
    assert set(statuses) == {200}


def test_a_cut_off_proxy_is_not_used_and_comes_back(cluster, client):
    """Calls that run there fail in the end; new ones are answered by the other all the while."""
    cluster.cut("proxy1")
    until(lambda: all(net.inside(cluster.space("client"), client.call, i).status_code == 200 for i in range(8)),
          "the other proxy does not take over")
    cluster.cut("proxy1", False)

    def both():
        join = slow_calls(cluster, client, 4)
        until(lambda: sum(in_flight(cluster, "proxy1", "proxy2")) == 4, "not all calls run")
        count = in_flight(cluster, "proxy1")[0]
        join()
        return count > 0
    until(both, "it is not used again", 30)


@pytest.mark.parametrize("node", ["vault", "audit"])
def test_cut_off_from_what_decides_nothing_is_called(cluster, client, node):
    cluster.cut(node)
    time.sleep(0.2)
    before = cluster.server.requests
    answer = net.inside(cluster.space("client"), client.call)
    assert answer.status_code == 503 and cluster.server.requests == before
    cluster.cut(node, False)
    until(lambda: net.inside(cluster.space("client"), client.call).status_code == 200, "it does not come back")


def test_a_killed_proxy_costs_its_own_calls_only(cluster, client):
    cluster.stop("proxy2", signal.SIGKILL)
    until(lambda: net.inside(cluster.space("client"), client.call).status_code == 200, "no call gets through")
    cluster.start("proxy2")
    until(lambda: cluster.ready("proxy2"), "proxy2 does not come back")
