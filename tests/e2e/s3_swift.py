"""OpenStack Swift with s3api: a real S3 server that checks signatures, from Debian's packages, on
loopback with all its files in one directory (whose file system must have extended attributes)."""
import errno
import os
import pwd
import socket
import subprocess
import time

ID, SECRET, REGION = "test:tester", "planted-swift-secret-0f3b9d7c5a1e8264", "us-east-1"

COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_udp_host = 127.0.0.1
log_udp_port = 9
"""

STORE = COMMON + """
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY = COMMON + """
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth slo dlo copy proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
location = {region}
check_bucket_owner = false
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{cache}
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:copy]
use = egg:swift#copy
"""

RINGS = """
import sys
from swift.common.ring import RingBuilder
directory, ports = sys.argv[1], dict(zip(("account", "container", "object"), map(int, sys.argv[2:])))
for kind, port in ports.items():
    ring = RingBuilder(4, 1, 0)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1",
                  "replication_port": port, "device": "d1", "weight": 1})
    ring.rebalance()
    ring.get_ring().save(f"{directory}/{kind}.ring.gz")
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def has_attributes(directory):
    probe = directory / "probe"
    probe.write_text("")
    try:
        os.setxattr(probe, "user.swift.metadata", b"x" * 2000)
        return True
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSPC):
            return False
        raise
    finally:
        probe.unlink()


class Swift:
    def __init__(self, directory):
        assert has_attributes(directory), f"{directory} has no extended attributes, which Swift needs: set TMPDIR"
        (directory / "devices/d1").mkdir(parents=True)
        ports = {kind: free_port() for kind in ("cache", "account", "container", "object", "proxy")}
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": str(directory)}
        subprocess.run(["/usr/bin/python3", "-c", RINGS, directory, *[str(ports[k]) for k in ("account", "container", "object")]],
                       check=True, env=environment, cwd=directory)
        self.origin = f"http://127.0.0.1:{ports['proxy']}"
        user = pwd.getpwuid(os.getuid()).pw_name
        self.processes = [subprocess.Popen(["/usr/bin/memcached", "-l", "127.0.0.1", "-p", str(ports["cache"]), "-u", user])]
        for kind in ("account", "container", "object", "proxy"):
            conf = directory / f"{kind}-server.conf"
            conf.write_text((PROXY if kind == "proxy" else STORE).format(
                port=ports[kind], directory=directory, kind=kind, secret=SECRET, region=REGION, user=user,
                cache=ports["cache"]))
            self.processes.append(subprocess.Popen([f"/usr/bin/swift-{kind}-server", conf], env=environment,
                                                   stdout=open(directory / f"{kind}.log", "w"), stderr=subprocess.STDOUT))
        self.directory = directory
        for port in ports.values():
            self.wait(port)

    def wait(self, port, seconds=60):
        end = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                dead = [p.args[0] for p in self.processes if p.poll() is not None]
                if dead or time.monotonic() > end:
                    raise AssertionError(f"swift did not start ({dead}): " + self.log())
                time.sleep(0.05)

    def log(self):
        return "\n".join(f.read_text()[-2000:] for f in self.directory.glob("*.log"))

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
