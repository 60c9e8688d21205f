"""Three vaults on one PostgreSQL, on hosts of their own: they share the work, and losing one loses nothing."""
import signal
import subprocess

import pytest
import requests

import cluster as net
from conftest import until
from lost_gateway import IDS, Link, encode, named
from test_vaults import Changes

pytestmark = pytest.mark.skipif(not net.possible(), reason="network namespaces cannot be made here")
VAULTS = ["vault1", "vault2", "vault3"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = net.Cluster(tmp_path_factory.mktemp("replicas"))
    try:
        cluster.start_postgres()
        cluster.resolve(vault=VAULTS, audit=["audit"], proxies=["proxy1", "proxy2"])
        nodes = ["gateway1", "gateway2", *VAULTS, "audit", "proxy1", "proxy2"]
        cluster.start(*nodes)
        until(lambda: all(cluster.ready(n) for n in nodes), "not ready")
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def client(cluster):
    return net.Client(cluster, ["gateway1", "gateway2"])


@pytest.fixture(autouse=True)
def all_serve(cluster):
    yield
    until(lambda: all(f'_vault_peers{{state="good"}} {len(VAULTS)}' in cluster.metrics(g) for g in ("gateway1", "gateway2")),
          "not all vaults are back")


def grants(cluster):
    return [cluster.metric(v, "seks_vault_grants_total") for v in VAULTS]


def goes_on(statuses, calls=20):
    before = len(statuses)
    until(lambda: len(statuses) > before + calls, "calls do not go on")


def test_they_share_the_calls(cluster, client):
    before = grants(cluster)
    with client.load() as statuses:
        goes_on(statuses, 150)
    shares = [after - before for before, after in zip(before, grants(cluster))]
    assert set(statuses) == {200} and min(shares) > 20, shares


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_one_goes_under_load_and_no_call_fails(cluster, client, how):
    changes = Changes(cluster, client)
    with client.load() as statuses, changes.made() as answers:
        until(lambda: len(statuses) > 20 and len(answers) > 5, "no calls")
        assert cluster.stop("vault2", how) == (0 if how == signal.SIGTERM else -how)
        goes_on(statuses)
        goes_on(answers, 5)
        cluster.start("vault2")
        before = grants(cluster)[1] if cluster.ready("vault2") else 0
        until(lambda: cluster.ready("vault2") and grants(cluster)[1] > before, "it is not used again")
    assert set(statuses) == {200}
    lost = changes.check()
    for answer in lost:  # what the dead one had and had written down: nobody knows
        assert answer.status_code == 503 and "not known" in answer.json()["error"], answer.text
    assert how == signal.SIGKILL or not lost


def test_one_comes_and_goes_by_its_name(cluster, client):
    def noticed(what):
        line = f"{cluster.nodes['vault4']}:7101 {what}"
        return all(line in (cluster.directory / f"{g}.log").read_text() for g in ("gateway1", "gateway2"))

    with client.load() as statuses:
        cluster.resolve(vault=[*VAULTS, "vault4"])
        cluster.start("vault4")
        until(lambda: noticed("came"), "not noticed")
        until(lambda: cluster.ready("vault4") and cluster.metric("vault4", "seks_vault_grants_total") > 5, "it is not used")
        cluster.resolve(vault=VAULTS)
        until(lambda: noticed("is no longer listed"), "not noticed")
        until(lambda: cluster.metric("vault4", "seks_vault_pending") == 0, "it is not left")
        count = cluster.metric("vault4", "seks_vault_grants_total")
        goes_on(statuses, 50)
        assert cluster.metric("vault4", "seks_vault_grants_total") == count
        assert cluster.stop("vault4") == 0
        goes_on(statuses)
    assert set(statuses) == {200}


def test_one_that_is_cut_off_costs_a_wait(cluster, client):
    with client.load() as statuses:
        goes_on(statuses)
        cluster.cut("vault3")
        goes_on(statuses, 60)
        cluster.cut("vault3", False)
        before = grants(cluster)[2]
        until(lambda: grants(cluster)[2] > before, "it is not used again")
    assert set(statuses) == {200}


@pytest.mark.parametrize("what", ["postgres", "audit"])
def test_one_that_misses_what_it_needs_is_left_alone(cluster, client, what):
    """Its calls go elsewhere; without audit the first of them are refused within 2 s, and asked again by their callers."""
    with client.load(patient=what == "audit") as statuses:
        goes_on(statuses)
        cluster.part("vault1", what)
        until(lambda: all('_vault_peers{state="good"} 2' in cluster.metrics(g) for g in ("gateway1", "gateway2")), "not noticed")
        goes_on(statuses, 40)
        cluster.part("vault1", what, False)
        before = grants(cluster)[0] if cluster.ready("vault1") else 0
        until(lambda: cluster.ready("vault1") and grants(cluster)[0] > before, "it is not used again")
    assert set(statuses) == {200}


def test_a_token_revoked_through_one_is_dead_at_all(cluster, client):
    url = f"{client.url(0)}/v1/account/agents"

    def revoke_and_use():
        agent = client.session.post(url, json={"name": "b"}, timeout=20).json()["agent"]["id"]
        for _ in range(10):
            token = client.session.post(f"{url}/{agent}/tokens", json={"provider": "openai"}, timeout=20).json()
            header = {"Authorization": f"Bearer {token['value']}"}
            used = [requests.post(f"{client.url(i)}/api/openai/x", headers=header, timeout=20).status_code for i in range(6)]
            client.session.delete(f"{url}/{agent}/tokens/{token['token']['id']}", timeout=20).raise_for_status()
            dead = [requests.post(f"{client.url(i)}/api/openai/x", headers=header, timeout=20).status_code for i in range(6)]
            assert (set(used), set(dead)) == ({200}, {401})  # gateways take the vaults in turns
    before = grants(cluster)
    net.inside(cluster.space("client"), revoke_and_use)
    assert all(after > count for count, after in zip(before, grants(cluster)))


def link_to(cluster, node, port, server):
    """A gateway that was taken over speaks to NODE; in that gateway's namespace."""
    keys = cluster.directory / "keys"
    public, private, theirs = (bytes.fromhex((keys / name).read_text().strip()) for name in
                               ("gateway.pub", "gateway.curve", f"{server}.pub"))
    link = Link(f"tcp://{cluster.nodes[node]}:{port}", (public, private, theirs))
    assert link.meet()
    return link


def test_two_vaults_give_no_two_grants_that_work(cluster, client):
    """Each does what it is asked; the audit log, which both ask, has one intent for a request, and a proxy one call."""
    fields = {"request": "req_twice", "method": "POST", "target": "/x"}

    def authorize(vault, proxy, call):
        record = encode("vault_authorize", call=call, proxy=proxy.peer, token=client.token, provider="openai", client="10.0.0.9", **fields)
        return named("vault_grant", vault.ask(record, call))

    def use(proxy, grant, call):
        grant = {name: grant[name] for name in ("tenant", "token_id", "agent", "provider", "expires_ms", "grant")}
        return IDS["proxy_head"] == proxy.ask(encode("proxy_call", call=call, end=True, **fields, **grant), call)[0]

    def run():
        vaults = [link_to(cluster, v, 7101, "vault") for v in VAULTS[:2]]
        proxies = [link_to(cluster, p, 7102, "proxy") for p in ("proxy1", "proxy2")]
        first, other, same = authorize(vaults[0], proxies[0], 1), authorize(vaults[1], proxies[1], 2), authorize(vaults[1], proxies[0], 3)
        assert first["status"] == 0 == same["status"] and other["status"] != 0 and not other["grant"], (first, other, same)
        before = cluster.server.requests
        assert use(proxies[0], same, 10) and not use(proxies[0], first, 11) and not use(proxies[1], first, 12)
        assert cluster.server.requests == before + 1
        for link in (*vaults, *proxies):
            link.close()
    net.inside(cluster.space("gateway1"), run)


def test_a_sealed_one_is_left_alone_until_it_is_unsealed(cluster, client):
    """Shares are given to all at once; each that is open serves meanwhile, and when all are sealed callers are told."""
    keys = cluster.directory / "keys"
    dirs = [cluster.directory / v for v in VAULTS]
    build = cluster.build
    out = subprocess.run([build / "services/vault/seks-vault", "split-master", "--shares", "3", "--threshold", "2", "--data", dirs[0],
                          "--keys", keys], check=True, capture_output=True, text=True).stdout
    shares = [line for line in out.splitlines() if line.startswith("seks-share-")]

    def unseal(share, *where):
        return subprocess.run([build / "cli/seks", "unseal", *where, "--file", "-"], input=share + "\n", capture_output=True, text=True,
                              timeout=60)

    def sealed(count):
        return lambda: all(f'_vault_peers{{state="closed"}} {count}' in cluster.metrics(g) for g in ("gateway1", "gateway2"))
    master = keys / "master.key"
    kept = master.read_text()
    master.unlink()
    with client.load() as statuses:
        for vault in VAULTS[:2]:
            assert cluster.stop(vault) == 0
            cluster.start(vault)
        until(sealed(2), "not sealed")
        goes_on(statuses, 40)
    assert set(statuses) == {200}
    assert cluster.stop(VAULTS[2]) == 0
    cluster.start(VAULTS[2])
    until(sealed(3), "not sealed")
    answer = net.inside(cluster.space("client"), client.call)
    assert answer.status_code == 503 and "sealed" in answer.json()["detail"]
    first = unseal(shares[0], *dirs)
    assert first.returncode == 0 and first.stderr.count("1 of 2 shares") == 3, first
    again = unseal(shares[0], *dirs)
    assert again.returncode == 1 and again.stderr.count("already") == 3, again
    second = unseal(shares[2], *dirs)
    assert second.returncode == 0 and second.stderr.count("is unsealed") == 3, second
    master.write_text(kept)
    master.chmod(0o400)
    until(lambda: net.inside(cluster.space("client"), client.call).status_code == 200, "it is not unsealed")
