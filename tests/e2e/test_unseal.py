"""The master key that is in no file of the broker's: shares, a passphrase, a systemd credential."""
import concurrent.futures
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest
import requests

from conftest import ON_POSTGRES, ROOT, until
from test_vault import Stand, call, stand, vault_command  # noqa: F401

BUILD = os.environ.get("SEKS_BUILD") or ROOT / "build/release"
PASSPHRASE = "correct horse battery staple"


def unseal(stand, word, want=0):
    result = subprocess.run([f"{BUILD}/cli/seks", "unseal", stand.directory / "data/vault", "--file", "-"], input=word + "\n",
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == want, result.stderr
    return result.stdout + result.stderr


def split(stand, *options):
    return vault_command(stand.broker, "split-master", *options)


def seal(stand):
    """Without its file, killed, the vault comes back sealed."""
    (stand.directory / "data/keys/master.key").unlink()
    os.kill(stand.broker.pid("vault"), signal.SIGKILL)
    until(lambda: "sealed" in (stand.unready() or ""))


def shares_of(stand):
    lines = split(stand, "--shares", "5", "--threshold", "3").splitlines()
    shares = [line for line in lines if line.startswith("seks-share-1-3-")]
    assert len(shares) == 5
    return shares


def test_shares_unseal_one_by_one(stand):  # noqa: F811
    shares = shares_of(stand)
    seal(stand)
    until(lambda: "0 of 3 shares" in stand.unready())
    answer = call(stand.broker, stand.token)
    assert answer.status_code == 503 and "sealed" in answer.json()["detail"]
    login = requests.post(stand.broker.url + "/v1/session", json={"email": "a@b.c", "password": "whatever1"}, timeout=20)
    assert login.status_code == 503 and "sealed" in login.json()["error"]
    for words in (["rotate-master"], ["rotate-keys", "all"], ["backup", stand.directory / "b.db"])[:2 if ON_POSTGRES else 3]:
        assert "sealed" in vault_command(stand.broker, *words, want=1) or words == ["rotate-master"]
    assert "not a share" in unseal(stand, shares[0][:-1] + ("0" if shares[0][-1] != "0" else "1"), want=1)
    assert "1 of 3 shares" in unseal(stand, shares[4])
    assert "already" in unseal(stand, shares[4], want=1)
    assert "2 of 3 shares" in unseal(stand, shares[1])
    until(lambda: "2 of 3 shares" in stand.unready())
    assert "unsealed" in unseal(stand, shares[2])
    until(lambda: stand.unready() is None)
    assert call(stand.broker, stand.token).status_code == 200
    assert "not sealed" in unseal(stand, shares[0])
    log = stand.broker.log()
    assert not any(share.split("-")[-2] in log for share in shares)


def test_shares_of_another_key_or_split_are_refused(stand):  # noqa: F811
    older = shares_of(stand)
    assert "before master.key is removed" in vault_command(stand.broker, "rotate-master")
    keys = stand.directory / "data/keys"
    assert not (keys / "master.unseal").exists() and list(keys.glob("master.unseal.until-*"))
    shares = shares_of(stand)
    again = shares_of(stand)  # of the same key, but other shares: only these fit together
    seal(stand)
    assert "another master key" in unseal(stand, older[0], want=1)
    unseal(stand, again[0])
    unseal(stand, shares[1])
    assert "do not fit" in unseal(stand, again[2], want=1)
    until(lambda: "0 of 3 shares" in stand.unready())
    joined = subprocess.run([f"{BUILD}/services/vault/seks-vault", "join-master", "--data", stand.directory / "data/vault", "--keys",
                             stand.directory / "data/keys"], input="\n".join(again[1:4]) + "\n", capture_output=True, text=True)
    assert joined.returncode == 0, joined.stderr
    os.kill(stand.broker.pid("vault"), signal.SIGKILL)  # the file is there again: not sealed
    until(lambda: stand.unready() is None)
    assert call(stand.broker, stand.token).status_code == 200


def test_passphrase(stand):  # noqa: F811
    command = [f"{BUILD}/services/vault/seks-vault", "passphrase-master", "--data", stand.directory / "data/vault", "--keys",
               stand.directory / "data/keys"]
    short = subprocess.run(command, input="short\n", capture_output=True, text=True)
    assert short.returncode == 1 and "at least 12" in short.stderr
    assert subprocess.run(command, input=PASSPHRASE + "\n", capture_output=True, text=True).returncode == 0
    seal(stand)
    assert "passphrase" in stand.unready()
    assert "not the passphrase" in unseal(stand, PASSPHRASE + "r", want=1)
    command[1] = "unseal"  # as seks unseal, for an image that has the vault's program alone
    wrong = subprocess.run(command, input=PASSPHRASE + "s\n", capture_output=True, text=True)
    assert wrong.returncode == 1 and "not the passphrase" in wrong.stderr
    right = subprocess.run(command, input=PASSPHRASE + "\n", capture_output=True, text=True)
    assert right.returncode == 0 and "unsealed" in right.stdout
    until(lambda: stand.unready() is None)
    assert call(stand.broker, stand.token).status_code == 200


def test_run_waits_sealed(stand):  # noqa: F811
    """./run says so, waits, and makes no new master key."""
    shares = shares_of(stand)
    stand.broker.stop()
    (stand.directory / "data/keys/master.key").unlink()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ready = pool.submit(stand.start)
        for share in shares[:3]:
            until(lambda share=share: (stand.directory / "data/vault/run/control").exists() and not ready.done() and given(stand, share))
        ready.result(timeout=60)
    assert not (stand.directory / "data/keys/master.key").exists()
    assert call(stand.broker, stand.token).status_code == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts daemons as other users")
def test_as_a_user_of_its_own(providers, certificates, monkeypatch):
    """Keys that are root's, data that is the vault's: changed, sealed and unsealed by root's commands."""
    monkeypatch.delenv("SEKS_USER", raising=False)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="seks-unseal-"))
    directory.chmod(0o711)
    (directory / "providers").mkdir()
    for name in ("ca.pem", "other.pem"):  # which the proxy's user has to reach
        shutil.copy(certificates / name, directory / "providers")
    own = Stand(directory, providers, directory / "providers")
    try:
        assert os.stat(own.database.parent).st_uid != 0
        vault_command(own.broker, "rotate-master")
        assert (directory / "data/keys/master.key.previous").exists()
        os.kill(own.broker.pid("vault"), signal.SIGKILL)
        until(lambda: call(own.broker, own.token).status_code == 200)
        shares = shares_of(own)
        seal(own)
        for share in shares[:3]:
            unseal(own, share)
        until(lambda: own.unready() is None)
        assert call(own.broker, own.token).status_code == 200
    finally:
        own.broker.stop()
        shutil.rmtree(directory)


def given(stand, share):  # noqa: F811
    return subprocess.run([f"{BUILD}/cli/seks", "unseal", stand.directory / "data/vault", "--file", "-"], input=share + "\n",
                          capture_output=True, text=True, timeout=60).returncode == 0


def test_systemd_credential_comes_first(stand, monkeypatch):  # noqa: F811
    credentials = stand.directory / "credentials"
    credentials.mkdir()
    stand.broker.stop()
    (stand.directory / "data/keys/master.key").rename(credentials / "master.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    stand.start()  # seks keygen has made another master.key meanwhile, which is not used
    assert call(stand.broker, stand.token).status_code == 200


@pytest.mark.parametrize("options", [["--shares", "3", "--threshold", "4"], ["--shares", "3", "--threshold", "1"], []])
def test_bad_splits_are_refused(tmp_path, options):
    subprocess.run([f"{BUILD}/cli/seks", "keygen", tmp_path], check=True)
    result = subprocess.run([f"{BUILD}/services/vault/seks-vault", "split-master", *options, "--data", tmp_path, "--keys", tmp_path],
                            capture_output=True, text=True)
    assert result.returncode == 1 and "--threshold" in result.stderr
    assert not (tmp_path / "master.unseal").exists()
