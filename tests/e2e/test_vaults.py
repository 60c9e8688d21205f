"""The vault behind a name: it moves, it restarts and it dies while it is asked; what is asked twice is done once."""
import collections
import concurrent.futures
import contextlib
import signal
import threading
import time

import pytest
import requests

import cluster as net
from conftest import until

pytestmark = pytest.mark.skipif(not net.possible(), reason="network namespaces cannot be made here")


class Changes:
    """Clients that make account keys, each under a name of its own, and keep what they were answered."""

    def __init__(self, cluster, client):
        self.cluster, self.client, self.answers, self.lock = cluster, client, {}, threading.Lock()
        url = f"{client.url(0)}/v1/account/keys"
        made = net.inside(cluster.space("client"), lambda: client.session.post(url, json={"name": "first"}, timeout=20))
        self.header = {"Authorization": f"Bearer {made.json()['key']}"}  # good at each gateway, as the session's cookie is not

    def make_one(self, name, index):
        answer = requests.post(f"{self.client.url(index)}/v1/account/keys", json={"name": name}, headers=self.header, timeout=30)
        with self.lock:
            self.answers[name] = answer

    @contextlib.contextmanager
    def made(self, threads=3):
        stop, began = threading.Event(), time.monotonic_ns()

        def run(index):
            for number in range(100000):
                if stop.is_set():
                    return
                self.make_one(f"key-{began}-{index}-{number}", index)
        with concurrent.futures.ThreadPoolExecutor(threads, initializer=net.enter,
                                                   initargs=(self.cluster.space("client"),)) as pool:
            running = [pool.submit(run, i) for i in range(threads)]
            try:
                yield self.answers
            finally:
                stop.set()
                for future in running:
                    future.result()

    def check(self):
        """Each that was said to be made is there, once; none is there twice.  Returns the others' errors."""
        def ask():
            return self.client.session.get(f"{self.client.url(0)}/v1/account/keys", timeout=20).json()["keys"]
        there = collections.Counter(key["name"] for key in net.inside(self.cluster.space("client"), ask) if "key-" in key["name"])
        assert max(there.values(), default=1) == 1, there.most_common(3)
        missing = [name for name, answer in self.answers.items() if answer.status_code == 201 and name not in there]
        assert not missing, missing
        return [answer for answer in self.answers.values() if answer.status_code != 201]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = net.Cluster(tmp_path_factory.mktemp("vaults"))
    try:
        cluster.resolve(vault=["vault1"], audit=["audit"], proxies=["proxy1"])
        cluster.data = {"vault1": "vault", "vault2": "vault"}  # a volume that moves from host to host
        cluster.start("gateway1", "gateway2", "vault1", "audit", "proxy1")
        until(lambda: all(cluster.ready(n) for n in ("gateway1", "gateway2", "vault1", "audit", "proxy1")), "not ready")
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def client(cluster):
    return net.Client(cluster, ["gateway1", "gateway2"])


def test_no_change_fails_while_the_vault_restarts(cluster, client):
    """It says that it is leaving: what comes after waits for the next one, what came before is answered."""
    changes = Changes(cluster, client)
    with changes.made() as answers:
        until(lambda: len(answers) > 10, "no changes")
        for _ in range(3):
            assert cluster.stop("vault1") == 0
            cluster.start("vault1")
            before = len(answers)
            until(lambda before=before: len(answers) > before + 10, "changes do not go on")
    assert changes.check() == []


def test_no_change_is_made_twice_when_the_vault_dies(cluster, client):
    """A change that it had is asked for again: it is made then, or the answer says that nobody knows."""
    changes = Changes(cluster, client)
    with changes.made() as answers:
        until(lambda: len(answers) > 10, "no changes")
        for _ in range(5):
            cluster.stop("vault1", signal.SIGKILL)
            cluster.start("vault1")
            before = len(answers)
            until(lambda before=before: len(answers) > before + 10, "changes do not go on")
    for answer in changes.check():
        assert answer.status_code == 503 and "not known" in answer.json()["error"], answer.text


def test_the_vault_moves_to_another_address(cluster, client):
    with client.load() as statuses:
        until(lambda: len(statuses) > 20, "no calls")
        assert cluster.stop("vault1") == 0
        cluster.resolve(vault=["vault2"])
        cluster.start("vault2")
        until(lambda: cluster.ready("vault2"), "the vault does not come back")
        before = len(statuses)
        until(lambda: len(statuses) > before + 20, "calls do not go on")
    assert set(statuses) == {200}
    for gateway in ("gateway1", "gateway2"):
        text = cluster.metrics(gateway)
        assert f'seks_gateway_vault_busy{{peer="tcp://{cluster.nodes["vault2"]}:7101"}} 0' in text
        assert 'seks_gateway_vault_peers{state="good"} 1' in text
