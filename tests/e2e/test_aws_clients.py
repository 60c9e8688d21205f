"""The tools that people use with S3, through the broker against Swift: what each puts there comes back."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess

import pytest

from aws_world import REGION
from test_aws_modes import Side

HERE = pathlib.Path(__file__).parent
NAMES = ["a.txt", "with space.txt", "plus+plus.bin", "ümlaut é.txt", "deep/er/down.bin", "deep/er/100%.txt", "amp&=semi;.txt",
         "quote'.txt", "empty", "big.bin"]


def tree(directory):
    return {str(f.relative_to(directory)): hashlib.sha256(f.read_bytes()).hexdigest()
            for f in sorted(directory.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory, rng = tmp_path_factory.mktemp("source"), random.Random(1)
    for name in NAMES:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(20 << 20 if name == "big.bin" else 0 if name == "empty" else rng.randrange(1, 50000)))
    for number in range(30):
        (directory / f"many/{number % 3}").mkdir(parents=True, exist_ok=True)
        (directory / f"many/{number % 3}/{number}.dat").write_bytes(rng.randbytes(1000 + number))
    return directory


def run(*arguments, env=None, **more):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RCLONE_"))}
    out = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=120, env={**clean, **(env or {})}, **more)
    assert out.returncode == 0, (arguments, out.stdout[-2000:], out.stderr[-2000:])
    return out.stdout


@pytest.fixture(scope="module")
def aws(base, aws_token, s3, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    env = {"HOME": str(home), "AWS_ACCESS_KEY_ID": aws_token, "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": REGION,
           "AWS_EC2_METADATA_DISABLED": "true", "PATH": "/usr/bin:/bin"}
    return lambda *arguments: run("/usr/bin/aws", "--endpoint-url", base, *arguments, env=env)


def test_aws_cli(aws, source, s3, tmp_path):
    s3.create_bucket(Bucket="cli-bucket")
    aws("s3", "cp", source / "a.txt", "s3://cli-bucket/one file.txt")
    assert "one file.txt" in aws("s3", "ls", "s3://cli-bucket/")
    aws("s3", "cp", "s3://cli-bucket/one file.txt", "s3://cli-bucket/copied.txt")
    aws("s3", "cp", "s3://cli-bucket/copied.txt", tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_bytes() == (source / "a.txt").read_bytes()
    aws("s3", "sync", source, "s3://cli-bucket/tree")
    aws("s3", "sync", "s3://cli-bucket/tree", tmp_path / "tree")
    assert tree(tmp_path / "tree") == tree(source)
    assert aws("s3", "sync", source, "s3://cli-bucket/tree") == ""
    aws("s3", "rm", "--recursive", "s3://cli-bucket/tree")
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="cli-bucket")["Contents"]] == ["copied.txt", "one file.txt"]


def test_rclone(base, aws_token, s3, source, tmp_path):
    env = {"RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_SEKS_TYPE": "s3", "RCLONE_CONFIG_SEKS_PROVIDER": "Other",
           "RCLONE_CONFIG_SEKS_ENDPOINT": base, "RCLONE_CONFIG_SEKS_ACCESS_KEY_ID": aws_token,
           "RCLONE_CONFIG_SEKS_SECRET_ACCESS_KEY": "any", "RCLONE_CONFIG_SEKS_REGION": REGION,
           "RCLONE_CONFIG_SEKS_FORCE_PATH_STYLE": "true", "RCLONE_LOW_LEVEL_RETRIES": "1", "RCLONE_RETRIES": "1", "RCLONE_S3_UPLOAD_CUTOFF": "8M", "RCLONE_S3_CHUNK_SIZE": "5M",
           "HOME": str(tmp_path)}
    run("rclone", "sync", source, "seks:rclone-bucket/tree", env=env)
    run("rclone", "check", "--download", source, "seks:rclone-bucket/tree", env=env)
    run("rclone", "sync", "seks:rclone-bucket/tree", tmp_path / "back", env=env)
    assert tree(tmp_path / "back") == tree(source)
    (tmp_path / "back/a.txt").unlink()
    run("rclone", "sync", tmp_path / "back", "seks:rclone-bucket/tree", env=env)
    assert "a.txt" not in run("rclone", "lsf", "seks:rclone-bucket/tree", env=env).split()


def test_s3cmd(base, aws_token, s3, source, tmp_path):
    """Its setting takes a host, and a path behind it; it signs another path, which the broker does not look at."""
    host = base.split("://")[1]

    def s3cmd(*arguments):
        return run("s3cmd", "--config=/dev/null", f"--access_key={aws_token}", "--secret_key=any", f"--host={host}", f"--host-bucket={host}",
                   "--no-ssl", f"--region={REGION}", *arguments)

    s3.create_bucket(Bucket="s3cmd-bucket")
    s3cmd("sync", f"{source}/", "s3://s3cmd-bucket/tree/")
    s3cmd("sync", "s3://s3cmd-bucket/tree/", f"{tmp_path}/")
    assert tree(tmp_path) == tree(source) and "big.bin" in s3cmd("ls", "s3://s3cmd-bucket/tree/")
    s3cmd("del", "s3://s3cmd-bucket/tree/big.bin")
    assert "big.bin" not in s3cmd("ls", "s3://s3cmd-bucket/tree/")


def test_npm_sdk_streams(tmp_path_factory):
    """A stream comes in chunks with a trailer, which Swift does not take: against the stand-in."""
    side = Side(tmp_path_factory.mktemp("streams"))
    asked = {"endpoint": f"{side.url}/s3/{REGION}", "token": side.token, "region": REGION, "bucket": "bucket", "streaming": True}
    got = json.loads(run("node", "aws.mjs", cwd=HERE, input=json.dumps(asked)).splitlines()[-1])
    side.broker.stop()
    assert not side.server.refusals
    assert "STREAMING-UNSIGNED-PAYLOAD-TRAILER" in {seen["headers"]["x-amz-content-sha256"] for seen in side.server.seen}
    check_npm(got)
    assert got["stream"]


def test_npm_sdk(base, aws_token, s3):
    asked = {"endpoint": base, "token": aws_token, "region": REGION, "bucket": "bucket", "streaming": False}
    got = json.loads(run("node", "aws.mjs", cwd=HERE, input=json.dumps(asked)).splitlines()[-1])
    check_npm(got)
    assert (got["copy"], got["absent"]["name"]) == ("hello", "NoSuchKey")
    assert got["list"] == ["js/bytes", "js/copy", "js/one key+ü", "js/upload"] and got["left"] == ["js/one key+ü"]
    assert "bucket" in got["buckets"]


def check_npm(got):
    assert (got["text"], got["range"], got["head"], got["bytes"], got["upload"]) == ("hello", "ell", ["text/plain", "js", 5], 300000, True)
    for name, code, status in (("denied", "AccessDenied", 403), ("acl", "AccessDenied", 403), ("stranger", "InvalidAccessKeyId", 401),
                               ("dots", "InvalidRequest", 400)):
        assert (got[name]["name"], got[name]["status"]) == (code, status), got[name]


def test_s3fs(base, aws_token, s3, source, tmp_path):
    """A file system over the broker, where the machine has FUSE."""
    if not os.path.exists("/dev/fuse") or os.getuid() != 0:
        pytest.skip("needs /dev/fuse and root")
    s3.create_bucket(Bucket="mounted")
    password, point = tmp_path / "password", tmp_path / "point"
    password.write_text(f"{aws_token}:any")
    password.chmod(0o600)
    point.mkdir()
    run("s3fs", "mounted:/", point, "-o", f"passwd_file={password}", "-o", f"url={base}", "-o", "use_path_request_style", "-o",
        f"endpoint={REGION}", "-o", "sigv4")
    try:
        shutil.copytree(source / "deep", point / "deep")
        (point / "space name.txt").write_text("hello")
        assert tree(point / "deep") == tree(source / "deep") and (point / "space name.txt").read_text() == "hello"
        (point / "space name.txt").rename(point / "renamed.txt")
        os.remove(point / "deep/er/down.bin")
    finally:
        run("umount", point)
    names = {o["Key"] for o in s3.list_objects_v2(Bucket="mounted")["Contents"]}
    assert "renamed.txt" in names and "space name.txt" not in names and "deep/er/down.bin" not in names and "deep/er/100%.txt" in names
