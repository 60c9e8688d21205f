"""A Docker engine for the tests: the running one, or one of our own; and a base image where none can be fetched."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from conftest import ROOT

BASE = "seks-test/base"


def run(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **more).stdout


def answers():
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


class Engine:
    """None of it is left running: stop() ends an engine that was started here."""

    def __init__(self):
        self.daemon, self.why = None, ""
        if not shutil.which("docker"):
            self.why = "no docker command"
        elif not answers():
            self.start()

    def start(self):
        if os.geteuid() != 0 or not shutil.which("dockerd"):
            self.why = "no engine runs, and none can be started without root and dockerd"
            return
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".dockerd")
        self.daemon = subprocess.Popen(["dockerd"], stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while not answers():
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                self.why = "dockerd does not start: " + pathlib.Path(self.log.name).read_text()[-400:]
                self.stop()
                return
            time.sleep(0.2)

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(60)
            self.daemon = None

    def has(self, image):
        return subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0

    def base(self):
        """debian:bookworm-slim if it is here, else the same made from this machine's own package source."""
        if self.has("debian:bookworm-slim"):
            return "debian:bookworm-slim"
        if not self.has(BASE):
            self.make_base()
        return BASE

    def make_base(self):
        sources = pathlib.Path("/etc/apt/sources.list.d/debian.sources")
        text = (sources if sources.exists() else pathlib.Path("/etc/apt/sources.list")).read_text()
        mirror = re.search(r"^(?:URIs: *|deb +(?:\[.*?\] +)?)(\S+)", text, re.M).group(1)
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            root = pathlib.Path(directory) / "root"
            run("debootstrap", "--variant=minbase", "bookworm", root, mirror)
            for name in ("sources.list", "sources.list.d", "apt.conf.d", "auth.conf.d"):
                here, there = pathlib.Path("/etc/apt") / name, root / "etc/apt" / name
                if here.is_dir():
                    shutil.copytree(here, there, dirs_exist_ok=True)
                elif here.exists():
                    shutil.copy(here, there)
                else:
                    there.unlink(missing_ok=True)
            archive = pathlib.Path(directory) / "root.tar"
            run("tar", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "-cf", archive, ".")
            run("docker", "import", archive, BASE)

    def build(self, target):
        image = f"seks-broker/{target}"
        run("docker", "build", "--network", "host", "-f", ROOT / "deploy/Dockerfile", "--target", target, "--build-arg",
            f"BASE={self.base()}", "-t", image, ROOT)
        return image
