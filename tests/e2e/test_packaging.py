"""The Debian package and the systemd units."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import ROOT

BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    directory = tmp_path_factory.mktemp("package")
    done = subprocess.run(["cpack", "-G", "DEB", "-B", directory], cwd=BUILD, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(directory.glob("*.deb"))


def test_package_holds_programs_and_units(package):
    names = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
    names = subprocess.run(["tar", "-t"], input=names, capture_output=True, check=True).stdout.decode().split()
    for program in ("sbin/seks-gateway", "sbin/seks-vault", "sbin/seks-proxy", "sbin/seks-audit", "bin/seks"):
        assert f"./usr/{program}" in names
    for unit in [*(u.name for u in UNITS), "seks-broker.target"]:
        assert f"./usr/lib/systemd/system/{unit}" in names
    fields = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True).stdout
    assert {"ca-certificates", "libmicrohttpd12", "libzmq5"} <= set(re.findall(r"[a-z][a-z0-9.-]+", fields))


def test_package_makes_keys_and_keeps_them(package, tmp_path):
    """The maintainer's script in a root of its own: once, and again over what is there."""
    subprocess.run(["dpkg-deb", "-x", package, tmp_path / "root"], check=True)
    subprocess.run(["dpkg-deb", "-e", package, tmp_path / "control"], check=True)
    script = (tmp_path / "control/postinst").read_text().replace("/etc/seks", str(tmp_path / "seks"))
    environment = {"PATH": f"{tmp_path}/root/usr/bin:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", script, "postinst", "configure"], check=True, env=environment)
    master = (tmp_path / "seks/keys/master.key").read_text()
    subprocess.run(["sh", "-c", script, "postinst", "configure"], check=True, env=environment)
    assert (tmp_path / "seks/keys/master.key").read_text() == master


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_units_are_understood_and_confined(package, tmp_path):
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    unit_dir = tmp_path / "usr/lib/systemd/system"
    for name in ("sysinit.target", "basic.target", "network.target", "shutdown.target", "multi-user.target"):
        (unit_dir / name).write_text("[Unit]\nDefaultDependencies=no\n")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", *(unit_dir / u.name for u in UNITS)],
                          capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "seks-" in line]
    assert not ours, ours
    for unit in UNITS:
        text = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True).stdout
        exposure = float(re.search(r"exposure level for \S+: ([0-9.]+)", text).group(1))
        assert exposure < 2.0, (unit.name, exposure)


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.stem)
def test_units_give_each_daemon_the_keys_of_its_share(unit, tmp_path):
    """The same keys as `seks keygen --split` gives it, and options that it has."""
    daemon = unit.stem.removeprefix("seks-")
    subprocess.run([BUILD / "cli/seks", "keygen", "--split", tmp_path], check=True)
    text = unit.read_text()
    assert set(re.findall(r"^LoadCredential=([^:]+):", text, re.M)) == set(os.listdir(tmp_path / daemon))
    known = subprocess.run([BUILD / f"services/{daemon}/seks-{daemon}", "--help"], capture_output=True, text=True).stdout
    command = re.search(r"^ExecStart=.*$", text, re.M).group()
    assert all(option in known for option in re.findall(r"--[a-z-]+", command))
