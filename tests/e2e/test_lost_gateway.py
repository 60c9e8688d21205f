"""Whoever has taken the gateway over, with its sockets and its keys, can use live tokens and nothing else."""
import base64
import itertools
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile
import time

import pytest
import requests
import zmq
from zmq.utils import z85

import standin
from conftest import ROOT, Account, Broker, free_port, rows_for
from lost_gateway import FIELDS, IDS, OPS, Link, decode, encode, named

BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")
KEY = standin.KEYS["openai"]
counter = itertools.count(1)
DENY = [{"method": "*", "path": "/v1/organization/*"},
        {"method": "*", "path": "/v1/*", "header": "x-share", "unless": ["private", "team"]},
        {"method": "*", "path": "/v1/*", "header": "authorization", "value": "none has this"}]


@pytest.fixture(scope="module")
def world(providers, certificates):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="seks-lost-"))
    directory.chmod(0o711)
    for name in certificates.glob("*.pem"):
        shutil.copy(name, directory)
        (directory / name.name).chmod(0o644)
    before = os.environ.pop("SEKS_USER", None)
    broker = Broker(directory, rows_for(providers, directory, deny=DENY))
    if before:
        os.environ["SEKS_USER"] = before
    account = Account(broker, "owner@example.com")
    account.put_secret("OPENAI_API_KEY", KEY)
    broker.agent = account.agent("a")
    broker.token = account.token(broker.agent["agent"]["id"], "openai")["value"]
    broker.account_key = account.call("POST", "/v1/account/keys", {"name": "k"}, 201)["key"]
    broker.account = account
    yield broker
    assert KEY not in broker.stop()
    shutil.rmtree(directory)


def link_to(world, name):
    link = Link(f"ipc://{world.directory}/data/ipc/{name}/door")
    assert link.meet()
    return link


@pytest.fixture(scope="module")
def vault(world):
    link = link_to(world, "vault")
    yield link
    assert_nothing_leaked(world, link)
    link.close()


@pytest.fixture(scope="module")
def proxy(world):
    link = link_to(world, "proxy")
    yield link
    link.close()


def assert_nothing_leaked(world, link):
    """In all that the gateway was ever told by the vault."""
    keys = world.directory / "data/keys"
    wanted = [KEY.encode(), base64.b64encode(KEY.encode()), b"$argon2", b"argon2id"]
    for name in ("master.key", "grant.key", "intake.key"):
        text = (keys / name).read_text().strip()
        wanted += [bytes.fromhex(text), text.encode()]
    heard = b"".join(link.heard)
    assert len(heard) > 100
    for needle in wanted:
        assert needle not in heard, needle


def grant(world, vault, to, **changes):
    """A grant and the call that it is for."""
    call = next(counter)
    ask = {"call": call, "request": f"req_{secrets.token_hex(10)}", "token": world.token, "provider": "openai", "proxy": to.peer,
           "method": "GET", "target": "/v1/models", "client": "127.0.0.1", **changes}
    got = named("vault_grant", vault.ask(encode("vault_authorize", **ask), call))
    return got, {"call": next(counter), "request": ask["request"], "method": ask["method"], "target": ask["target"],
                 "public_url": world.url, "client": "127.0.0.1", "end": True,
                 **{name: got[name] for name in ("tenant", "token_id", "agent", "provider", "expires_ms", "grant")}}


def answer(proxy, call):
    """proxy_head as a dict, or the status of proxy_end."""
    got = proxy.ask(encode("proxy_call", **call), call["call"])
    assert got, "no answer"
    return named("proxy_head", got) if got[0] == IDS["proxy_head"] else named("proxy_end", got)


def works(proxy, call):
    return answer(proxy, call).get("http") == 200


def test_a_live_token_can_be_used(world, vault, proxy):
    got, call = grant(world, vault, proxy)
    assert got["status"] == 0 and KEY.encode() not in got["grant"]
    assert works(proxy, call)


def test_a_grant_works_once(world, vault, proxy, providers):
    _, call = grant(world, vault, proxy)
    assert works(proxy, call)
    before = len(providers["openai"].seen)
    for _ in range(3):
        assert "http" not in answer(proxy, {**call, "call": next(counter)})
    other = link_to(world, "proxy")  # nor for another gateway
    assert "http" not in answer(other, {**call, "call": next(counter)})
    other.close()
    assert len(providers["openai"].seen) == before


CHANGES = {
    "request": lambda c: {"request": "req_" + "0" * 20}, "tenant": lambda c: {"tenant": "acc_other"}, "no tenant": lambda c: {"tenant": ""},
    "token": lambda c: {"token_id": c["token_id"][:-1] + ("a" if c["token_id"][-1] != "a" else "b")},
    "agent": lambda c: {"agent": c["agent"][:-1] + ("a" if c["agent"][-1] != "a" else "b")},
    "provider": lambda c: {"provider": "github"}, "method": lambda c: {"method": "DELETE"}, "case of the method": lambda c: {"method": "get"},
    "target": lambda c: {"target": "/v1/files"}, "query": lambda c: {"target": c["target"] + "?a=b"},
    "later expiry": lambda c: {"expires_ms": c["expires_ms"] + 1}, "long expiry": lambda c: {"expires_ms": c["expires_ms"] + 86400000},
    "earlier expiry": lambda c: {"expires_ms": c["expires_ms"] - 25000}, "expired": lambda c: {"expires_ms": 1},
    "shorter": lambda c: {"grant": c["grant"][:-1]}, "longer": lambda c: {"grant": c["grant"] + b"\0"}, "none": lambda c: {"grant": b""},
    "fields moved": lambda c: {"tenant": c["tenant"] + c["token_id"][:3], "token_id": c["token_id"][3:]},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_field_is_refused(world, vault, proxy, providers, what):
    _, call = grant(world, vault, proxy)
    before = {name: len(server.seen) for name, server in providers.items()}
    assert "http" not in answer(proxy, {**call, **CHANGES[what](call), "call": next(counter)})
    assert {name: len(server.seen) for name, server in providers.items()} == before
    assert works(proxy, call)  # as it was, it is still good


PRIVATE = [["X-Share", "private"]]
OTHER_HEADERS = {"none told": ([], PRIVATE), "none sent": (PRIVATE, []), "another value": (PRIVATE, [["X-Share", "team"]]),
                 "one more": (PRIVATE, [*PRIVATE, ["X-Share", "team"]]), "twice": (PRIVATE, PRIVATE * 2),
                 "name and value moved": (PRIVATE, [["X-Shar", "eprivate"]])}


@pytest.mark.parametrize("what", OTHER_HEADERS)
def test_other_headers_than_the_vault_judged_are_refused(world, vault, proxy, providers, what):
    """All of these values are permitted: it is the grant that does not go with them."""
    told, sent = OTHER_HEADERS[what]
    _, call = grant(world, vault, proxy, headers=told)
    before = len(providers["openai"].seen)
    free = [["Accept", "text/plain"]]  # no rule judges this one
    assert "http" not in answer(proxy, {**call, "headers": free + sent, "call": next(counter)})
    assert len(providers["openai"].seen) == before
    assert works(proxy, {**call, "headers": told[:1] + free + told[1:]})


def test_a_denied_header_gets_no_grant_and_is_not_sent(world, vault, proxy, providers):
    public = [["X-Share", "public"]]
    got, _ = grant(world, vault, proxy, headers=public)
    assert got["status"] != 0 and got["grant"] == b""
    _, call = grant(world, vault, proxy)
    before = len(providers["openai"].seen)
    assert "http" not in answer(proxy, {**call, "headers": public})
    assert len(providers["openai"].seen) == before


TARGETS = ["/v1/organization/x/../admin_api_keys", "/v1/x/%2e%2e/organization/keys", "/v1/models#", "/v1/models%23/%252e%252e", "/v1/x\\..\\y", "/v1/a b",
           "/v1/models HTTP/1.1\r\nX: y", "/v1/models%0d%0a", "/v1/%c0%ae%c0%ae/x", "v1/models", "@127.0.0.1/", "/v1/m\u00e9", "/v1/%zz"]


@pytest.mark.parametrize("target", TARGETS)
def test_no_grant_for_a_target_that_reads_two_ways(world, vault, proxy, target):
    """The gateway refuses them; one that does not gets no further."""
    got, _ = grant(world, vault, proxy, target=target)
    assert got["status"] != 0 and got["grant"] == b""


@pytest.mark.parametrize("header", [["", ""], ["", "x"], ["X\r\nY", "x"], ["X Y", "x"], ["X", "a\r\nAuthorization: Bearer x"], ["X", "\x01"]])
def test_a_header_that_is_none_is_not_sent(world, vault, proxy, providers, header):
    process, before = world.pid("proxy"), len(providers["openai"].seen)
    _, call = grant(world, vault, proxy)
    assert "http" not in answer(proxy, {**call, "headers": [header]})
    assert len(providers["openai"].seen) == before and world.pid("proxy") == process


def test_judged_headers_pass_an_honest_gateway(world, providers):
    """Both ways in, with a credential in a header that a rule could name."""
    headers = {"Authorization": f"Bearer {world.token}", "X-Share": "private"}
    assert requests.get(f"{world.url}/api/openai/v1/models", headers=headers).status_code == 200
    assert providers["openai"].seen[-1]["headers"].get("X-Share") == "private"
    ask = {"service": "openai", "method": "GET", "path": "/v1/models", "headers": {"x-share": "team"}}
    got = requests.post(f"{world.url}/v1/proxy/request", json=ask, headers={"Authorization": f"Bearer {world.agent['token']}"})
    assert got.json()["status"] == 200 and providers["openai"].seen[-1]["headers"].get("x-share") == "team", got.text


def test_a_changed_grant_is_refused(world, vault, proxy):
    _, call = grant(world, vault, proxy)
    for at in range(0, len(call["grant"]), 3):
        changed = bytearray(call["grant"])
        changed[at] ^= 1 << at % 8
        assert "http" not in answer(proxy, {**call, "grant": bytes(changed), "call": next(counter)}), at
    assert works(proxy, call)


def test_a_grant_for_another_proxy_is_refused(world, vault, proxy):
    _, call = grant(world, vault, proxy, proxy=secrets.token_bytes(16))
    assert "http" not in answer(proxy, call)


def test_a_grant_for_what_is_denied_is_not_given(world, vault, proxy):
    for changes in ({"token": world.token[:-1] + "x"}, {"token": ""}, {"provider": "github"}, {"provider": "nobody"},
                    {"token": world.account_key}, {"target": "/v1/organization/admin_api_keys"}, {"proxy": b"x"}):
        got, _ = grant(world, vault, proxy, **changes)
        assert got["status"] != 0 and got["grant"] == b"" and got["tenant"] == "", (changes, got)


def test_no_answer_holds_a_secret(world, vault):
    """Every operation with every credential that a gateway may see."""
    agent, token = world.agent["agent"]["id"], world.agent["token"]
    told = {}
    for op, credential in itertools.product(OPS, ("", world.token, token, world.account_key)):
        if op in ("ACCOUNT_DELETE", "AGENT_DELETE", "AGENT_TOKEN", "SECRET_DELETE", "KEY_DELETE", "SESSION_CREATE", "ACCOUNT_CREATE"):
            continue  # what these tests still need; the last two take a password's time
        call = next(counter)
        got = vault.ask(encode("vault_ask", call=call, request=f"req_{secrets.token_hex(10)}", op=OPS.index(op), credential=credential,
                               client="127.0.0.1", id=agent, name="OPENAI_API_KEY", provider="openai", limit=10,
                               public_url=world.url, box=secrets.token_bytes(32)), call, 3)
        told[op, credential] = named("vault_answer", got) if got else None
    assert_nothing_leaked(world, vault)
    given = {op for (op, credential), got in told.items() if got and got["status"] == 0 and credential == world.account_key}
    assert {"SECRET_LIST", "AGENT_LIST", "TOKEN_LIST", "ACCOUNT_GET"} <= given  # the questions were good ones
    for (op, credential), got in told.items():
        if credential in ("", world.token) and op != "INTAKE_KEY":
            assert got is None or got["status"] != 0, (op, credential)
    assert told["AGENT_SECRET_GET", token]["status"] != 0  # this agent has no direct access


def test_no_other_roles_messages(world, vault, proxy):
    """What audit, the vault's operator or the proxy would be told goes unanswered, and nobody falls over."""
    vaults, proxies = world.pid("vault"), world.pid("proxy")
    mine = {"vault_authorize", "vault_ask", "vault_refused"}
    while proxy.receive(0.2) or vault.receive(0.2):
        pass  # the rest of earlier answers
    for name in IDS:
        if name not in FIELDS or name in mine or (name.startswith("proxy_") and name in ("proxy_call",)):
            continue
        for link in (vault, proxy):
            link.send(encode(name))
    for link in (vault, proxy):
        for number in range(64):
            link.send(bytes([0x91, number]), bytes([0x92, number, 0xC0]), secrets.token_bytes(40))
        link.send(b"\xdd\x10\0\0\0")
        link.socket.send(link.instance + b"\xff\xff\xff\xff")
        link.socket.send(secrets.token_bytes(16))  # another sender's name
        link.socket.send_multipart([link.instance, b"a", b"b"])
    deadline = time.monotonic() + 1
    told = [r for link in (vault, proxy) for r in link.receive(max(0, deadline - time.monotonic()))]
    told = [decode(r) for r in told]
    assert all(r[0] in (IDS["vault_state"], IDS["proxy_end"]) for r in told), told
    assert (world.pid("vault"), world.pid("proxy")) == (vaults, proxies)
    _, call = grant(world, vault, proxy)
    assert works(proxy, call)


@pytest.mark.skipif(os.geteuid() != 0, reason="each daemon has its own user only when root starts them")
def test_the_gateways_user_reaches_two_doors_only(world):
    code = """if True:
        import glob, os, socket, sys
        for path in sys.argv[1:]:
            try:
                socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(path)
                print(path)
            except PermissionError:
                pass"""
    data = world.directory / "data"
    paths = [str(p) for p in data.rglob("*") if p.is_socket()]
    assert len(paths) >= 4
    result = subprocess.run([shutil.which("python3", path="/usr/bin"), "-c", code, *paths], user=64101, group=64101, extra_groups=[],
                            capture_output=True, text=True, cwd="/", timeout=20)
    assert set(result.stdout.split()) == {f"{data}/ipc/vault/door", f"{data}/ipc/proxy/door"}, result
    for name in ("vault/vault.db", "keys/master.key", "keys/grant.key", "audit/audit.log"):
        with pytest.raises(subprocess.CalledProcessError):
            subprocess.run(["cat", data / name], user=64101, group=64101, extra_groups=[], check=True, capture_output=True)


@pytest.fixture(scope="module")
def on_tcp(tmp_path_factory):
    """audit and vault on loopback, by CURVE."""
    directory = tmp_path_factory.mktemp("curve")
    subprocess.run([BUILD / "cli/seks", "keygen", directory / "keys"], check=True, capture_output=True)
    ports = {name: free_port() for name in ("audit-vault", "audit-proxy", "vault")}
    at = {name: f"tcp://127.0.0.1:{port}" for name, port in ports.items()}
    common = ["--keys", directory / "keys"]
    daemons = {"audit": ["--data", directory / "audit", "--listen-vault", at["audit-vault"], "--listen-proxy", at["audit-proxy"]],
               "vault": ["--data", directory / "vault", "--listen-gateway", at["vault"], "--audit", at["audit-vault"]]}
    processes = [subprocess.Popen([BUILD / f"services/{name}/seks-{name}", *options, *common], stderr=subprocess.DEVNULL)
                 for name, options in daemons.items()]
    yield directory / "keys", at
    for process in processes:
        process.terminate()
    assert [process.wait(20) for process in processes] == [0, 0]


def test_by_curve_each_key_opens_its_own_door(on_tcp):
    keys, at = on_tcp

    def key(file):
        return bytes.fromhex((keys / file).read_text())

    def link(role, server, door):
        pair = (key(f"{role}.pub"), key(f"{role}.curve")) if role else tuple(map(z85.decode, zmq.curve_keypair()))
        return Link(at[door], (*pair, key(f"{server}.pub")))

    good = link("gateway", "vault", "vault")
    assert good.meet(20)
    refused = [link("gateway", "audit", "audit-vault"), link("gateway", "audit", "audit-proxy"), link("proxy", "vault", "vault"),
               link("vault", "audit", "audit-proxy"), link("proxy", "audit", "audit-vault"), link(None, "vault", "vault"),
               link(None, "audit", "audit-vault")]
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        for one in refused:
            one.send()
            one.receive(0)
        time.sleep(0.1)
    assert [one.peer for one in refused] == [None] * len(refused)
    assert good.peer
    for one in [good, *refused]:
        one.close()
