"""The images, and the four containers of deploy/compose.yaml: from sign-up to a call that reaches a provider."""
import concurrent.futures
import json
import shutil
import subprocess
import threading
import time

import pytest
import requests

from compose_provider import KEY
from conftest import ROOT, first_token, free_port
from engine import Engine, run

DAEMONS = {"gateway": 64101, "vault": 64102, "proxy": 64103, "audit": 64104}
OVERRIDE = """
services:
  provider:
    image: seks-test/provider
    command: [python3, /provider.py]
    volumes: ["{root}/tests/e2e/compose_provider.py:/provider.py:ro"]
    networks: [outside]
  vault:
    environment: {{SEKS_PROVIDERS: /providers.json}}
    volumes: ["{directory}/providers.json:/providers.json:ro"]
  proxy:
    environment: {{SEKS_PROVIDERS: /providers.json}}
    volumes: ["{directory}/providers.json:/providers.json:ro"]
  gateway:
    environment: {{SEKS_PROVIDERS: /providers.json}}
    volumes: ["{directory}/providers.json:/providers.json:ro"]
"""


@pytest.fixture(scope="module")
def engine():
    engine = Engine()
    if engine.why:
        pytest.skip(engine.why)
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def images(engine):
    return {target: engine.build(target) for target in [*DAEMONS, "seks"]}


def compose_command():
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


class Composed:
    def __init__(self, directory, engine):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        subprocess.run(["docker", "build", "--network", "host", "-t", "seks-test/provider", "-"], check=True, capture_output=True,
                       text=True, input=f"FROM {engine.base()}\nRUN apt-get update -qq && apt-get install -y -qq python3-minimal libpython3-stdlib\n")
        (directory / "providers.json").write_text(json.dumps({"providers": [
            {"name": "openai", "origin": "http://provider:9000", "allow_insecure": True}]}))
        (directory / "providers.json").chmod(0o644)
        directory.chmod(0o755)
        (directory / "override.yaml").write_text(OVERRIDE.format(root=ROOT, directory=directory))
        self.environment = {"SEKS_PORT": str(self.port), "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(directory)}
        self.command = [*compose_command(), "-p", f"seks{self.port}", "-f", str(ROOT / "deploy/compose.yaml"), "-f",
                        str(directory / "override.yaml")]

    def __call__(self, *arguments):
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, env=self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def container(self, service):
        return json.loads(run("docker", "inspect", self("ps", "-q", service).split()[0]))[0]

    def wait_healthy(self, *services):
        deadline = time.monotonic() + 60
        while not all(self.container(s)["State"].get("Health", {}).get("Status") == "healthy" for s in services):
            assert time.monotonic() < deadline, self("logs")
            time.sleep(0.3)


@pytest.fixture(scope="module")
def composed(engine, images, tmp_path_factory):
    if not compose_command():
        pytest.skip("no compose command")
    composed = Composed(tmp_path_factory.mktemp("compose"), engine)
    try:
        composed("up", "-d", "--no-build")
        composed.wait_healthy(*DAEMONS)
        yield composed
        logs = composed("logs", "--no-color")
        assert KEY not in logs
    finally:
        subprocess.run([*composed.command, "down", "-v", "-t", "5"], capture_output=True, env=composed.environment)


@pytest.fixture(scope="module")
def token(composed):
    return first_token(composed, KEY)


def call(composed, token, patient=False):
    """A call; while the gateway itself is away a client connects again.  PATIENT: it does what
    Retry-After says, as the SDKs do: without audit a call is refused within 2 s, however soon it is back."""
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline
        try:
            answer = requests.post(f"{composed.url}/api/openai/x", data=b"x" * 100, timeout=30,
                                   headers={"Authorization": f"Bearer {token}"})
            if not patient or answer.status_code != 503:
                return answer
            time.sleep(float(answer.headers["Retry-After"]))
        except requests.exceptions.ConnectionError:
            time.sleep(0.05)


@pytest.mark.parametrize("target", [*DAEMONS, "seks"])
def test_image_holds_its_own_program_only(images, target):
    image = json.loads(run("docker", "image", "inspect", images[target]))[0]
    assert image["Config"]["Labels"]["org.opencontainers.image.title"] == "SEKS Broker"
    inside = run("docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", images[target], "-c",
                 "ls /usr/sbin/seks* /usr/bin/seks* 2>/dev/null; ls -d /etc/ssl/certs/ca-certificates.crt 2>/dev/null; "
                 "which gcc curl python3 || true")
    program = "/usr/bin/seks" if target == "seks" else f"/usr/sbin/seks-{target}"
    bundle = ["/etc/ssl/certs/ca-certificates.crt"] if target in ("proxy", "seks") else []
    assert inside.split() == [program, *bundle]
    sbom = json.loads(run("docker", "run", "--rm", "--network", "none", "--entrypoint", "cat", images[target],
                          "/usr/share/doc/seks/sbom.spdx.json"))
    assert {"libsodium23", "libzmq5"} <= {p["name"] for p in sbom["packages"]} and sbom["spdxVersion"] == "SPDX-2.3"
    if target in DAEMONS:
        uid = DAEMONS[target]
        assert image["Config"]["User"] == f"{uid}:{uid}" and image["Config"]["Healthcheck"]


def test_call_reaches_the_provider(composed, token):
    answer = call(composed, token)
    assert answer.status_code == 200 and answer.json() == {"good": True, "size": 100}


@pytest.mark.parametrize("service", DAEMONS)
def test_container_is_confined(composed, service):
    container = composed.container(service)
    assert container["HostConfig"]["ReadonlyRootfs"] and container["HostConfig"]["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in container["HostConfig"]["SecurityOpt"]
    assert not container["HostConfig"]["CapAdd"] and not container["HostConfig"]["Privileged"]
    networks = {name.split("_", 1)[1] for name in container["NetworkSettings"]["Networks"]}
    assert networks == {"gateway": {"front", "gateway-vault", "gateway-proxy"}, "vault": {"gateway-vault", "vault-audit"},
                        "proxy": {"gateway-proxy", "proxy-audit", "outside"}, "audit": {"vault-audit", "proxy-audit"}}[service]
    for name in container["NetworkSettings"]["Networks"]:
        internal = json.loads(run("docker", "network", "inspect", name))[0]["Internal"]
        assert internal == (name.split("_", 1)[1] not in ("front", "outside"))


@pytest.mark.parametrize("service", ["proxy", "vault", "audit", "gateway"])
def test_restart_under_load_fails_no_request(composed, token, service):
    statuses, stop = [], threading.Event()

    def work():
        while not stop.is_set():
            statuses.append(call(composed, token, patient=service == "audit").status_code)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work) for _ in range(4)]
        try:
            composed("restart", service)
            composed.wait_healthy(service)
            before, deadline = len(statuses), time.monotonic() + 20
            while len(statuses) < before + 20:
                assert time.monotonic() < deadline, composed("logs")
                time.sleep(0.05)
        finally:
            stop.set()
        for worker in workers:
            worker.result()
    assert set(statuses) == {200}, {s: statuses.count(s) for s in set(statuses)}


def test_nobody_is_left_without_keys_of_its_own(composed):
    """Each container sees its own keys, and the master key is in the vault's alone."""
    seen = {s: run("docker", "exec", composed.container(s)["Id"], "ls", "/keys").split() for s in DAEMONS}
    assert [s for s in DAEMONS if "master.key" in seen[s]] == ["vault"]
    assert "grant.key" not in seen["gateway"] + seen["audit"] and "audit-sign.key" in seen["audit"]
