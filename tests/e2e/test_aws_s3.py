"""S3 through the broker against a real server that checks signatures (OpenStack Swift with s3api)."""
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

import s3_swift
from conftest import ROOT, Account, Broker

REGION = s3_swift.REGION


@pytest.fixture(scope="module")
def swift(tmp_path_factory):
    server = s3_swift.Swift(tmp_path_factory.mktemp("swift"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def aws_broker(tmp_path_factory, swift):
    broker = Broker(tmp_path_factory.mktemp("broker"), [{"name": "aws", "origin": swift.origin, "allow_insecure": True}])
    yield broker
    assert s3_swift.SECRET not in broker.stop()


@pytest.fixture(scope="module")
def aws_account(aws_broker):
    account = Account(aws_broker, "aws@example.com")
    assert account.put_secret("AWS_ACCESS_KEY_ID", s3_swift.ID).status_code == 201
    assert account.put_secret("AWS_SECRET_ACCESS_KEY", s3_swift.SECRET).status_code == 201
    return account


@pytest.fixture(scope="module")
def aws_token(aws_account):
    return aws_account.token(aws_account.agent("s3")["agent"]["id"], "aws")["value"]


@pytest.fixture(scope="module")
def base(aws_broker):
    return f"{aws_broker.url}/api/aws/s3/{REGION}"


def boto(endpoint, key_id, secret="any", **more):
    more = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required",
            "retries": {"max_attempts": 1}, **more}
    return boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret,
                        region_name=REGION, config=Config(**more))


@pytest.fixture(scope="module")
def s3(base, aws_token):
    client = boto(base, aws_token)
    client.create_bucket(Bucket="bucket")
    return client


def test_swift_refuses_a_wrong_signature(swift):
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        boto(swift.origin, s3_swift.ID, "wrong").list_buckets()


def test_curl_with_a_bearer_token(base, s3, aws_token):
    def curl(*arguments):
        out = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {aws_token}", *arguments],
                             check=True, capture_output=True)
        body, _, status = out.stdout.rpartition(b"\n")
        return int(status), body
    assert curl("-X", "PUT", "-H", "Content-Type: text/plain", "-d", "hello there", f"{base}/bucket/by curl.txt".replace(" ", "%20"))[0] == 200
    assert curl(f"{base}/bucket/by%20curl.txt") == (200, b"hello there")
    assert s3.head_object(Bucket="bucket", Key="by curl.txt")["ContentType"] == "text/plain"
    assert curl("-X", "DELETE", f"{base}/bucket/by%20curl.txt")[0] == 204
    assert curl(f"{base}/bucket/by%20curl.txt")[0] == 404


def test_objects_with_boto3(s3):
    s3.put_object(Bucket="bucket", Key="a/b.bin", Body=b"0123456789", ContentType="x/y", Metadata={"who": "me  and  you"})
    answer = s3.get_object(Bucket="bucket", Key="a/b.bin")
    assert answer["Body"].read() == b"0123456789"
    assert (answer["ContentType"], answer["Metadata"]) == ("x/y", {"who": "me  and  you"})
    assert s3.get_object(Bucket="bucket", Key="a/b.bin", Range="bytes=2-4")["Body"].read() == b"234"
    s3.delete_object(Bucket="bucket", Key="a/b.bin")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="bucket", Key="a/b.bin")


UNMODIFIED = """
import boto3
s3 = boto3.client("s3")
s3.create_bucket(Bucket="by-run")
s3.put_object(Bucket="by-run", Key="a key", Body=b"Hello!")
print(s3.get_object(Bucket="by-run", Key="a key")["Body"].read().decode())
"""


def test_seks_run_carries_boto3(aws_broker, aws_account, tmp_path):
    """A script that knows no broker, under `seks run`, with a real key in the environment that must not be used."""
    key = aws_account.call("POST", "/v1/account/keys", {"name": "run"}, 201)["key"]
    aws_account.agent("runner")
    seks = Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release") / "cli/seks"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SEKS_SERVER": aws_broker.url, "SEKS_ACCOUNT_KEY": key,
                   "AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real", "AWS_SESSION_TOKEN": "real", "AWS_PROFILE": "no-such"}
    done = subprocess.run([seks, "run", "runner", "--", sys.executable, "-c", UNMODIFIED], capture_output=True, text=True, env=environment)
    assert done.stdout == "Hello!\n", done.stderr
