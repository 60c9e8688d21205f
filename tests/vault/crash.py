#!/usr/bin/env python3
"""Kills the vault at every system call by which an operation changes the disk, and looks what is left.

For each operation and each N: strace, from outside, sends SIGKILL at the Nth write, sync, rename, truncate
or unlink; the vault is started again; every change that was acknowledged must be there, the one that was
not must be there whole or not at all, and the broker must serve within 2 s.

    SEKS_BUILD=build/release tests/e2e/.venv/bin/python tests/vault/crash.py [OPERATION...]

Prints the number of points per operation.  ./test runs a few points of each.
"""
import concurrent.futures
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release").resolve()
DISK = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,linkat,ftruncate,unlink,unlinkat"
DEADLINE_S = 60
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="detect_leaks=0",  # it cannot look for leaks while it is traced
                   SEKS_USER="root" if os.geteuid() == 0 else "")  # the directory is this user's


def until(condition, seconds=DEADLINE_S):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.005)
    return value


class Stand:
    """audit, proxy and gateway that stay, and a vault that is killed."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.keys, self.data = self.directory / "keys", self.directory / "vault"
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{port}", open(self.directory / "log", "ab")
        subprocess.run([BUILD / "cli/seks", "keygen", self.keys], check=True)
        self.data.mkdir(mode=0o700)
        ipc = f"ipc://{self.directory}"
        self.daemons = [
            self.daemon("audit", "--data", self.directory / "audit", "--listen-vault", f"{ipc}/av", "--listen-proxy", f"{ipc}/ap"),
            self.daemon("proxy", "--listen-gateway", f"{ipc}/p", "--audit", f"{ipc}/ap"),
            self.daemon("gateway", "--listen", f"127.0.0.1:{port}", "--public-url", self.url, "--vault", f"{ipc}/v",
                        "--proxy", f"{ipc}/p")]
        self.vault_arguments = ("--data", self.data, "--listen-gateway", f"{ipc}/v", "--audit", f"{ipc}/av", "--signup", "open")
        self.slowest, self.bearer = 0, None
        self.start_vault()
        http = requests.Session()
        made = http.post(self.url + "/v1/account", json={"email": "a@example.com", "password": "correct horse"}, timeout=30)
        http.headers["X-CSRF-Token"] = made.json()["csrf"]
        self.bearer = http.post(self.url + "/v1/account/keys", json={"name": "crash"}, timeout=30).json()["key"]
        self.kept = {}  # what was acknowledged: name to value
        self.put("KEPT", "kept from the beginning")
        agent = self.call("POST", "/v1/account/agents", {"name": "agent", "direct_access": True}, 201)
        self.agent, self.agent_token = agent["agent"]["id"], agent["token"]

    def daemon(self, name, *arguments):
        return subprocess.Popen([BUILD / f"services/{name}/seks-{name}", *arguments, "--keys", self.keys, "--log-level", "warn"],
                                stderr=self.log, stdout=self.log, env=ENVIRONMENT)

    def start_vault(self):
        began = time.monotonic()
        self.vault = self.daemon("vault", *self.vault_arguments)

        def serves():
            if self.vault.poll() is not None and "it is in use" in (self.directory / "log").read_text()[-300:]:
                self.vault = self.daemon("vault", *self.vault_arguments)  # by a command that found no vault
            assert self.vault.poll() is None, "the vault does not start:\n" + (self.directory / "log").read_text()[-2000:]
            try:
                with socket.socket(socket.AF_UNIX) as control:  # the new one's own: the gateway may not have missed the old
                    control.connect(str(self.data / "run/control"))
                path, headers = ("/v1/account/secrets", {"Authorization": f"Bearer {self.bearer}"}) if self.bearer else ("/readyz", {})
                return requests.get(self.url + path, headers=headers, timeout=30).status_code == 200
            except (requests.exceptions.ConnectionError, OSError):
                return False
        until(serves)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def stop(self):
        for process in [self.vault, *self.daemons]:
            process.kill()
            process.wait()

    def call(self, method, path, body=None, want=200, token=None):
        answer = requests.request(method, self.url + path, json=body, timeout=30,
                                  headers={"Authorization": f"Bearer {token or self.bearer}"})
        if answer.status_code != want:
            raise requests.HTTPError(f"{method} {path}: {answer.status_code} {answer.text}", response=answer)
        return answer.json()

    def put(self, name, value):
        code = 200 if name in self.kept else 201
        self.call("PUT", f"/v1/account/secrets/{name}", {"value": value}, code)
        self.kept[name] = value

    def value(self, name):
        try:
            return self.call("POST", "/v1/secrets/get", {"name": name}, token=self.agent_token)["value"]
        except requests.HTTPError as error:
            assert error.response.status_code == 404, error
            return None

    def command(self, *words):
        return [BUILD / "services/vault/seks-vault", *words, "--data", self.data, "--keys", self.keys]

    def rotate(self):
        done = subprocess.run(self.command("rotate-master"), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr

    def check_kept(self):
        names = {s["name"] for s in self.call("GET", "/v1/account/secrets")["secrets"]}
        assert names == set(self.kept), (names ^ set(self.kept))
        for name in list(self.kept)[:1] + list(self.kept)[-3:]:
            assert self.value(name) == self.kept[name], name


class Create:
    """A new secret."""

    def prepare(self, stand):
        self.name, self.wanted = f"NEW_{secrets.token_hex(4)}", secrets.token_hex(20)

    def run(self, stand):
        stand.call("PUT", f"/v1/account/secrets/{self.name}", {"value": self.wanted}, 201)

    def check(self, stand, acknowledged):
        value = stand.value(self.name)
        assert value == self.wanted or (value is None and not acknowledged), (value, acknowledged)
        if value:
            stand.kept[self.name] = value


class Replace:
    """Another value for a secret that is there."""

    def prepare(self, stand):
        self.before, self.wanted = secrets.token_hex(20), secrets.token_hex(20)
        stand.put("REPLACED", self.before)

    def run(self, stand):
        stand.call("PUT", "/v1/account/secrets/REPLACED", {"value": self.wanted})

    def check(self, stand, acknowledged):
        value = stand.value("REPLACED")
        assert value == self.wanted or (value == self.before and not acknowledged), (value, acknowledged)
        stand.kept["REPLACED"] = value


class Delete:
    """A secret taken away."""

    def prepare(self, stand):
        stand.put("DELETED", "to be deleted")

    def run(self, stand):
        stand.call("DELETE", "/v1/account/secrets/DELETED")

    def check(self, stand, acknowledged):
        value = stand.value("DELETED")
        assert value is None or (value == "to be deleted" and not acknowledged), (value, acknowledged)
        if value is None:
            del stand.kept["DELETED"]


class Renew:
    """Another value for a token: the old one dies at the same moment."""

    def prepare(self, stand):
        path = f"/v1/account/agents/{stand.agent}/tokens"
        self.path = path
        for token in stand.call("GET", path)["tokens"]:
            stand.call("DELETE", f"{path}/{token['id']}")
        made = stand.call("POST", path, {"provider": "github"}, 201)
        self.id, self.old, self.new = made["token"]["id"], made["value"], None

    def run(self, stand):
        self.new = stand.call("POST", f"{self.path}/{self.id}/renew")["value"]

    def alive(self, stand, token):
        """A target that the deny list refuses only for a token that is good: nothing is called."""
        answer = requests.post(f"{stand.url}/api/github/user/keys", timeout=30, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code in (401, 403), answer.text
        return answer.status_code == 403

    def check(self, stand, acknowledged):
        tokens = stand.call("GET", self.path)["tokens"]
        assert [t["id"] for t in tokens] == [self.id]
        old_lives = self.alive(stand, self.old)
        if acknowledged:
            assert self.alive(stand, self.new) and not old_lives
        else:
            assert old_lives == (tokens[0]["last4"] == self.old[-4:])


class Rotate:
    """A new master key, the vault killed under the command."""

    def prepare(self, stand):
        pass

    def run(self, stand):
        stand.rotate()

    def check(self, stand, acknowledged):
        stand.rotate()


class RotateCommand:
    """The same, the command killed."""

    words = ("rotate-master",)

    def prepare(self, stand):
        pass

    def check(self, stand, acknowledged):
        if not acknowledged:
            stand.vault.kill()  # so that a start sees the files as they are
            stand.vault.wait()
            stand.start_vault()
        stand.rotate()


class RotateKeys:
    """All secrets sealed under new data keys; what a killed vault left, the next one goes on with."""

    def prepare(self, stand):
        for i in range(40):
            if f"MANY_{i}" not in stand.kept:
                stand.put(f"MANY_{i}", f"value {i}")

    def run(self, stand):
        done = subprocess.run(stand.command("rotate-keys", "all"), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr

    def check(self, stand, acknowledged):
        for name, value in stand.kept.items():
            assert stand.value(name) == value, name


class Restore:
    """A backup put in place of the database, the command killed; the vault is stopped for it."""

    def prepare(self, stand):
        self.backup = stand.directory / f"backup-{secrets.token_hex(4)}"
        done = subprocess.run(stand.command("backup", self.backup), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        stand.vault.kill()
        stand.vault.wait()
        self.words = ("restore", self.backup, "--replace")

    def check(self, stand, acknowledged):
        if not acknowledged:  # what was killed is done again
            done = subprocess.run(stand.command(*self.words), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
            assert done.returncode == 0, done.stderr
        stand.start_vault()


class FirstStart:
    """A vault without a database; in a directory of its own."""

    def prepare(self, stand):
        self.data = stand.directory / f"first-{secrets.token_hex(4)}"
        ipc = f"ipc://{stand.directory}"
        self.arguments = [BUILD / "services/vault/seks-vault", "--data", self.data, "--keys", stand.keys, "--listen-gateway",
                          f"{ipc}/v2", "--audit", f"{ipc}/nobody", "--log-level", "warn"]

    def serves(self):
        try:
            with socket.socket(socket.AF_UNIX) as control:
                control.connect(str(self.data / "run/control"))
            return True
        except OSError:
            return False

    def start(self, stand, before=()):
        process = subprocess.Popen([*before, *map(str, self.arguments)], stderr=stand.log, env=ENVIRONMENT)
        until(lambda: process.poll() is not None or self.serves())
        return process


OPERATIONS = {"first-start": FirstStart, "create": Create, "replace": Replace, "delete": Delete, "renew": Renew, "rotate": Rotate, "rotate-keys": RotateKeys,
              "rotate-command": RotateCommand, "restore": Restore}


def injection(n):
    return ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={DISK}", "-e", f"inject={DISK}:signal=SIGKILL:when={n}"]


def attach(process, n):
    """Returns once strace holds the process (then its TracerPid is set), or has killed it already."""
    tracer = subprocess.Popen([*injection(n), "-p", str(process.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status = pathlib.Path(f"/proc/{process.pid}/status")
    until(lambda: process.poll() is not None or re.search(r"TracerPid:\t[1-9]", status.read_text()))
    return tracer


def succeeds(operation, stand):
    try:
        operation.run(stand)
        return True
    except (requests.RequestException, AssertionError):
        return False


def try_vault(stand, operation, n):
    """One point; false when the operation was over before its Nth call."""
    operation.prepare(stand)
    tracer = attach(stand.vault, n)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(succeeds, operation, stand)
        until(lambda: done.done() or stand.vault.poll() is not None)
        tracer_ends = stand.vault.poll() is not None
        killed = tracer_ends
        if not killed:  # let go of it; it may still be killed by what follows the answer
            tracer.terminate()
        tracer.wait()
        if stand.vault.poll() is not None:
            stand.vault.wait()
            stand.start_vault()
        acknowledged = done.result()
    assert killed or acknowledged, "refused without a kill"
    operation.check(stand, acknowledged)
    stand.check_kept()
    return killed


def try_command(stand, operation, n):
    operation.prepare(stand)
    ended = subprocess.run([*injection(n), *map(str, stand.command(*operation.words))], capture_output=True, timeout=120,
                           env=ENVIRONMENT)
    killed = ended.returncode == -signal.SIGKILL
    assert killed or ended.returncode == 0, ended.stderr
    operation.check(stand, not killed)
    stand.check_kept()
    return killed


def try_first_start(stand, operation, n):
    operation.prepare(stand)
    first = operation.start(stand, injection(n))
    killed = first.poll() is not None
    if not killed:
        subprocess.run(["pkill", "-KILL", "-P", str(first.pid)])  # strace's child: the vault
    first.wait()
    second = operation.start(stand)
    assert second.poll() is None, "it does not start:\n" + (stand.directory / "log").read_text()[-2000:]
    second.kill()
    second.wait()
    return killed


TRIALS = {"first-start": try_first_start, "rotate-command": try_command, "restore": try_command}


def sweep(stand, name, points=None):
    """All points, or those in POINTS; the number that were tried."""
    operation, tried, misses = OPERATIONS[name](), 0, 0
    trial = TRIALS.get(name, try_vault)
    for n in points or range(1, 1000):
        killed = trial(stand, operation, n)
        tried += killed
        misses = 0 if killed else misses + 1
        if misses == 3 and not points:
            break
    return tried


def main():
    names = sys.argv[1:] or list(OPERATIONS)
    total = 0
    directory = tempfile.mkdtemp(prefix="seks-crash-")
    stand = Stand(directory)
    try:
        for name in names:
            count = sweep(stand, name)
            total += count
            print(f"{name}: killed at {count} points, nothing lost", flush=True)
        print(f"{total} points in all; slowest start to serving {stand.slowest:.2f} s")
        assert stand.slowest < 2, "serves too late"
    finally:
        stand.stop()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
