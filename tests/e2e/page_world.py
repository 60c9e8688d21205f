"""Runs a command beside a broker with stand-ins behind it, in a network namespace of its own when that
is permitted: Chromium gives up its requests when any interface of the machine comes or goes.

    page_world.py COMMAND...    the command finds the address in SEKS_URL and the planted keys in SEKS_KEYS
"""
import fcntl
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile

import conftest
import standin

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
HERE = pathlib.Path(__file__).resolve().parent


def alone():
    """The words that put a command into a network of its own; none when this is not permitted."""
    words = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    return words if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else []


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def run(command):
    with tempfile.TemporaryDirectory(prefix="seks-page-") as name:
        directory = pathlib.Path(name)
        certificates = conftest.make_certificates(directory)
        providers = {name: standin.start(name, certificates / "both.pem") for name in standin.KEYS}
        (directory / "broker").mkdir()
        broker = conftest.Broker(directory / "broker", conftest.rows_for(providers, certificates))
        environment = dict(os.environ, SEKS_URL=broker.url, SEKS_KEYS=json.dumps(standin.KEYS), SEKS_PYTHON=sys.executable,
                           SEKS_PID=str(broker.process.pid), SEKS_DATA=str(broker.directory / "data"))
        try:
            return subprocess.run(command, env=environment, cwd=HERE).returncode
        finally:
            broker.stop()


if __name__ == "__main__":
    if sys.argv[1] == "--alone":
        loopback_up()
        sys.exit(run(sys.argv[2:]))
    words = alone()
    if words:
        os.execvp(words[0], [*words, sys.executable, __file__, "--alone", *sys.argv[1:]])
    sys.exit(run(sys.argv[1:]))
