"""Fixtures: Swift, a broker in front of it, and what clients need to reach it."""
import base64
import hashlib

import boto3
import pytest
from botocore.config import Config

import s3_swift
from conftest import Account, Broker

REGION = s3_swift.REGION


@pytest.fixture(scope="session")
def swift(tmp_path_factory):
    server = s3_swift.Swift(tmp_path_factory.mktemp("swift"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def aws_broker(tmp_path_factory, swift):
    broker = Broker(tmp_path_factory.mktemp("broker"), [{"name": "aws", "origin": swift.origin, "allow_insecure": True}])
    yield broker
    assert s3_swift.SECRET not in broker.stop()


@pytest.fixture(scope="session")
def aws_account(aws_broker):
    account = Account(aws_broker, "aws@example.com")
    assert account.put_secret("AWS_ACCESS_KEY_ID", s3_swift.ID).status_code == 201
    assert account.put_secret("AWS_SECRET_ACCESS_KEY", s3_swift.SECRET).status_code == 201
    return account


@pytest.fixture(scope="session")
def aws_token(aws_account):
    return aws_account.token(aws_account.agent("s3")["agent"]["id"], "aws")["value"]


@pytest.fixture(scope="session")
def base(aws_broker):
    return f"{aws_broker.url}/api/aws/s3/{REGION}"


def boto(endpoint, key_id, secret="any", **more):
    more = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required",
            "retries": {"max_attempts": 1}, **more}
    return boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret,
                        region_name=REGION, config=Config(**more))


def add_md5(request, **_):
    """Swift wants the older checksum for DeleteObjects; S3 takes either."""
    request.headers["Content-MD5"] = base64.b64encode(hashlib.md5(request.data).digest()).decode()


@pytest.fixture(scope="session")
def s3(base, aws_token):
    client = boto(base, aws_token)
    client.meta.events.register("before-sign.s3.DeleteObjects", add_md5)
    client.create_bucket(Bucket="bucket")
    return client
