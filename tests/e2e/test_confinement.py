"""Each daemon in its confinement: its own user, no capabilities, what it may not do, no core, closed memory."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import requests

import standin
from conftest import ROOT, Account, Broker, rows_for

DAEMONS = {"gateway": 64101, "vault": 64102, "proxy": 64103, "audit": 64104}
BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")
AS_ROOT = os.geteuid() == 0
SANITIZED = b"__asan_init" in (BUILD / "services/vault/seks-vault").read_bytes()


@pytest.fixture(scope="module")
def apart(providers, certificates):
    """A broker as root starts it: in a directory that the daemons' own users can reach."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="seks-apart-"))
    directory.chmod(0o711)
    for name in certificates.iterdir():  # the test's own authority lies where only root comes
        if name.suffix == ".pem":
            shutil.copy(name, directory)
            (directory / name.name).chmod(0o644)
    before, groups = os.environ.pop("SEKS_USER", None), os.getgroups()
    try:
        if AS_ROOT:
            os.setgroups([*groups, 4])  # which the daemons have to give up
        port = providers["openai"].origin.rsplit(":", 1)[1]
        broker = Broker(directory, rows_for(providers, directory) + [
            {"name": name, "origin": f"https://{host}:{port}", "secrets": ["K"], "auth": [{"type": "bearer"}], "allow_insecure": True,
             "ca_file": str(directory / "ca.pem")} for name, host in (("local", "localhost"), ("absent", "name.invalid"))])
        if AS_ROOT:
            os.setgroups(groups)
        account = Account(broker, "apart@example.com")
        account.put_secret("OPENAI_API_KEY", standin.KEYS["openai"])
        agent = account.agent("a")["agent"]["id"]
        broker.token = account.token(agent, "openai")["value"]
        broker.account = account
        yield broker
        broker.stop()
    finally:
        if before:
            os.environ["SEKS_USER"] = before
        shutil.rmtree(directory)


def call(broker, path="/v1/models"):
    return requests.get(broker.url + "/api/openai" + path, headers={"Authorization": f"Bearer {broker.token}"}, timeout=20)


def revived(broker, name, old):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if broker.pid(name) != old and call(broker).status_code == 200:
                return True
        except (IndexError, requests.exceptions.RequestException):
            pass
        time.sleep(0.05)
    return False


def status_of(task):
    return dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)


@pytest.mark.parametrize("name", DAEMONS)
def test_every_thread_is_confined(apart, name):
    assert call(apart).status_code == 200
    tasks = list(pathlib.Path(f"/proc/{apart.pid(name)}/task").iterdir())
    assert tasks
    for task in tasks:
        status = status_of(task)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
        for which in ("CapInh", "CapPrm", "CapEff", "CapAmb") + (("CapBnd",) if AS_ROOT else ()):
            assert int(status[which], 16) == 0, (which, status[which])
        if AS_ROOT:
            assert status["Uid"].split() == status["Gid"].split() == [str(DAEMONS[name])] * 4
            assert status["Groups"].strip() == ""


@pytest.mark.parametrize("name", DAEMONS)
def test_environment_and_limits(apart, name):
    process = pathlib.Path(f"/proc/{apart.pid(name)}")
    if AS_ROOT:
        assert process.joinpath("environ").read_bytes().strip(b"\0") == b""
    limits = process.joinpath("limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits), limits


def options_of(broker, name):
    words = pathlib.Path(f"/proc/{broker.pid(name)}/cmdline").read_bytes().decode().split("\0")[1:-1]
    return [word for word in words if word != "--die-with-parent"]


@pytest.mark.parametrize("name", DAEMONS)
@pytest.mark.parametrize("real", [False, True], ids=["bare", "as started"])
def test_check_sandbox(apart, name, real):
    options = options_of(apart, name) if real else [] if AS_ROOT else ["--user", "any"]
    result = subprocess.run([BUILD / f"services/{name}/seks-{name}", "--check-sandbox", *options], capture_output=True,
                            text=True, timeout=60, env={k: v for k, v in os.environ.items() if k != "SEKS_USER"})
    assert result.returncode == 0 and "FAILED" not in result.stdout, result.stdout + result.stderr
    assert result.stdout.count("\nok ") >= 24


def test_check_sandbox_can_fail():
    if not AS_ROOT:
        pytest.skip("needs root to stay root")
    result = subprocess.run([BUILD / "services/vault/seks-vault", "--check-sandbox", "--user", "root"], capture_output=True,
                            text=True, timeout=60)
    assert result.returncode == 1 and re.search(r"^FAILED +must not run as root$", result.stdout, re.M), result.stdout


@pytest.mark.parametrize("name", DAEMONS)
def test_memory_is_closed_to_the_same_user(apart, name):
    pid = str(apart.pid(name))
    python = shutil.which("python3", path="/usr/bin:/bin")  # the test's own may lie in root's home
    code = """if True:
        import ctypes, sys
        for file in ("mem", "environ", "maps", "auxv"):
            try:
                open(f"/proc/{sys.argv[1]}/{file}", "rb").read(1)
                sys.exit(f"{file} opens")
            except PermissionError:
                pass
        libc = ctypes.CDLL(None, use_errno=True)
        sys.exit("it can be traced" if libc.ptrace(16, int(sys.argv[1]), 0, 0) == 0 else 0)"""
    extra = {"user": DAEMONS[name], "group": DAEMONS[name], "extra_groups": []} if AS_ROOT else {}
    result = subprocess.run([python, "-c", code, pid], capture_output=True, text=True, timeout=30, cwd="/", **extra)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", DAEMONS)
def test_no_core_is_written(apart, name):
    pid = apart.pid(name)
    here = pathlib.Path(os.readlink(f"/proc/{pid}/cwd"))
    before = {p for d in (here, apart.directory, apart.directory / "data") for p in d.glob("*core*")}
    os.kill(pid, signal.SIGABRT)
    assert revived(apart, name, pid), apart.log()[-3000:]
    after = {p for d in (here, apart.directory, apart.directory / "data") for p in d.glob("*core*")}
    assert after == before
    assert "core dumped" not in apart.log()


def memory_of(pid):
    """All that root can read of a process, mapping by mapping."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            words = line.split()
            begin, end = (int(x, 16) for x in words[0].split("-"))
            if "r" not in words[1] or end - begin > 1 << 30 or words[-1] in ("[vvar]", "[vsyscall]"):
                continue
            try:
                memory.seek(begin)
                yield words[-1], memory.read(end - begin)
            except OSError:
                continue  # memfd_secret: not even root


def test_names_are_resolved_once_confined(apart, providers):
    """Files, DNS and threads of the resolver, by the daemon's own user; a name that is not there is a 502 and no more."""
    pid = apart.pid("proxy")
    token = {name: apart.account.token(apart.account.agent(name)["agent"]["id"], name)["value"] for name in ("local", "absent")}
    apart.account.put_secret("K", "sk-some-key-of-theirs")
    answers = {name: requests.get(f"{apart.url}/api/{name}/x", headers={"Authorization": f"Bearer {token[name]}"}, timeout=30) for name in token}
    assert answers["absent"].status_code == 502
    assert answers["local"].status_code == 418, answers["local"].text  # it came to the stand-in, which wants another key
    assert apart.pid("proxy") == pid


@pytest.mark.skipif(not AS_ROOT, reason="reads other processes' memory")
def test_keys_are_not_in_readable_memory(apart):
    for _ in range(3):
        assert call(apart).status_code == 200
    master = bytes.fromhex((apart.directory / "data/keys/master.key").read_text())
    grant = bytes.fromhex((apart.directory / "data/keys/grant.key").read_text())
    provider = standin.KEYS["openai"].encode()
    wanted = {"gateway": [master, grant, provider], "audit": [master, grant, provider], "vault": [master], "proxy": [master]}
    if not SANITIZED:  # there, secrets lie in allocations of their own
        wanted["vault"].append(grant)
        wanted["proxy"].append(grant)
        assert len(re.findall(r"keys in memfd_secret", apart.log())) >= 4 or not has_memfd_secret()
    for name, needles in wanted.items():
        seen = False
        for where, text in memory_of(apart.pid(name)):
            seen = seen or b"seks-" + name.encode() in text
            for needle in needles:
                assert needle not in text and needle.hex().encode() not in text, (name, where, needles.index(needle))
        assert seen, "nothing was read"


def has_memfd_secret():
    import ctypes
    fd = ctypes.CDLL(None, use_errno=True).syscall(447, 0)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


@pytest.mark.skipif(SANITIZED, reason="the sanitizer makes mlock do nothing")
def test_small_memlock_degrades(tmp_path):
    """No locked page to be had: it starts all the same and says so."""
    subprocess.run([BUILD / "cli/seks", "keygen", tmp_path / "keys"], check=True, capture_output=True)
    (tmp_path / "ipc").mkdir(mode=0o700)
    without_right = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"] if AS_ROOT else []
    process = subprocess.Popen(
        ["prlimit", "--memlock=0:0", *without_right, BUILD / "services/proxy/seks-proxy", "--keys", tmp_path / "keys",
         "--listen-gateway", f"ipc://{tmp_path}/ipc/p", "--audit", f"ipc://{tmp_path}/ipc/a"],
        stderr=subprocess.PIPE, text=True, env=dict(os.environ, SEKS_USER="root"))
    try:
        for line in process.stderr:
            if " start version" in line:
                break
        assert "memory that may be swapped out" in line, line
    finally:
        process.terminate()
        process.wait(20)


def test_user_that_does_not_exist(tmp_path):
    if not AS_ROOT:
        pytest.skip("only root becomes somebody")
    result = subprocess.run([BUILD / "services/audit/seks-audit", "--data", tmp_path, "--keys", tmp_path, "--listen-vault",
                             "ipc:///x/y", "--listen-proxy", "ipc:///x/z", "--user", "nobody-of-that-name"],
                            capture_output=True, text=True, timeout=20)
    assert result.returncode == 1 and "no such user" in result.stderr


def test_restart_with_the_same_data(apart):
    """Whoever owned the data before, ./run starts on it again."""
    assert json.loads((apart.directory / "providers.json").read_text())["providers"]
    records = apart.account.call("GET", "/v1/account/audit?limit=5")["records"]
    assert records
    for name, uid in (("vault", 64102), ("audit", 64104)) if AS_ROOT else ():
        assert all(p.stat().st_uid == uid for p in (apart.directory / "data" / name).iterdir())
