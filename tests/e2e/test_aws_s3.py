"""S3 through the broker against a real server that checks signatures (OpenStack Swift with s3api)."""
import hashlib
import io
import os
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
import requests
from botocore.exceptions import ClientError

import s3_swift
from aws_world import REGION, boto
from conftest import ROOT, Account


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


KEYS = ["plain", "with space", "plus+plus", "per%cent", "per%20cent", "ümläut/日本", "a//b", "//", "trailing/", "q?mark&amp=1",
        "semi;colon", "quote'\"", "back\\slash", "tilde~()*!", "hash#", "$,:@=", "x" * 1022, "é" * 511]


def test_keys_of_every_kind(s3):
    for key in KEYS:
        body = hashlib.sha256(key.encode()).digest()
        s3.put_object(Bucket="bucket", Key="k/" + key, Body=body)
        assert s3.get_object(Bucket="bucket", Key="k/" + key)["Body"].read() == body
    listed = {o["Key"] for o in s3.list_objects_v2(Bucket="bucket", Prefix="k/")["Contents"]}
    assert listed == {"k/" + key for key in KEYS}
    s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": key} for key in listed]})
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket", Prefix="k/")


@pytest.mark.parametrize("key", ["a/../b", "..", "a/./b", "a/%2e%2e/b", "new\nline"])
def test_keys_that_are_refused(s3, key):
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="bucket", Key=key, Body=b"")
    assert error.value.response["Error"]["Code"] == "InvalidRequest"


def test_listing(s3, base, aws_token):
    for name in ("l/a", "l/b/c", "l/b/d", "l/e"):
        s3.put_object(Bucket="bucket", Key=name, Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="l/", PaginationConfig={"PageSize": 1})
    assert [o["Key"] for page in pages for o in page["Contents"]] == ["l/a", "l/b/c", "l/b/d", "l/e"]
    answer = s3.list_objects(Bucket="bucket", Prefix="l/", Delimiter="/", EncodingType="url")
    assert [p["Prefix"] for p in answer["CommonPrefixes"]] == ["l/b/"] and len(answer["Contents"]) == 2
    assert "bucket" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket="bucket")
    assert s3.get_bucket_location(Bucket="bucket")["LocationConstraint"] in (None, REGION)
    for target in ("/bucket?list-type=2&prefix=l%2F", "/bucket/?prefix=l/&list-type=2", "", "/", "/?x-id=ListBuckets"):
        answer = requests.get(base + target, headers={"Authorization": f"Bearer {aws_token}"})
        assert answer.status_code == 200 and (b"<Key>l/a</Key>" in answer.content or b"<Name>bucket</Name>" in answer.content)


def test_conditions_and_copies(s3):
    etag = s3.put_object(Bucket="bucket", Key="c/one", Body=b"one" * 1000, Metadata={"a": "b"})["ETag"]
    for condition, code in (({"IfNoneMatch": etag}, "304"), ({"IfMatch": '"x"'}, "PreconditionFailed")):
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket="bucket", Key="c/one", **condition)
        assert error.value.response["Error"]["Code"] == code
    s3.create_bucket(Bucket="second.bucket")
    s3.copy_object(Bucket="second.bucket", Key="c/two +ü", CopySource={"Bucket": "bucket", "Key": "c/one"})
    answer = s3.head_object(Bucket="second.bucket", Key="c/two +ü")
    assert (answer["ETag"], answer["Metadata"], answer["ContentLength"]) == (etag, {"a": "b"}, 3000)
    s3.copy_object(Bucket="bucket", Key="c/three", CopySource={"Bucket": "second.bucket", "Key": "c/two +ü"},
                   MetadataDirective="REPLACE", Metadata={"z": "y"}, ContentType="x/y")
    assert s3.head_object(Bucket="bucket", Key="c/three")["Metadata"] == {"z": "y"}


def test_multipart(s3):
    upload = s3.create_multipart_upload(Bucket="bucket", Key="m/five parts", Metadata={"m": "n"})["UploadId"]
    parts, whole = [], b""
    for number in range(1, 6):
        piece = bytes([number]) * (5 << 20 if number < 5 else 1000)
        whole += piece
        etag = s3.upload_part(Bucket="bucket", Key="m/five parts", UploadId=upload, PartNumber=number, Body=piece)["ETag"]
        parts.append({"ETag": etag, "PartNumber": number})
    assert len(s3.list_parts(Bucket="bucket", Key="m/five parts", UploadId=upload)["Parts"]) == 5
    assert s3.list_multipart_uploads(Bucket="bucket")["Uploads"][0]["Key"] == "m/five parts"
    s3.complete_multipart_upload(Bucket="bucket", Key="m/five parts", UploadId=upload, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket="bucket", Key="m/five parts")
    assert hashlib.sha256(got["Body"].read()).digest() == hashlib.sha256(whole).digest() and got["Metadata"] == {"m": "n"}
    aborted = s3.create_multipart_upload(Bucket="bucket", Key="m/aborted")["UploadId"]
    s3.upload_part(Bucket="bucket", Key="m/aborted", UploadId=aborted, PartNumber=1, Body=b"x" * (5 << 20))
    s3.abort_multipart_upload(Bucket="bucket", Key="m/aborted", UploadId=aborted)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.list_parts(Bucket="bucket", Key="m/aborted", UploadId=aborted)
    s3.upload_fileobj(io.BytesIO(whole), "bucket", "m/managed")
    back = io.BytesIO()
    s3.download_fileobj("bucket", "m/managed", back)
    assert back.getvalue() == whole


def test_a_wrong_hash_is_refused_by_the_server(base, aws_token):
    headers = {"Authorization": f"Bearer {aws_token}", "x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}
    answer = requests.put(base + "/bucket/wrong", data=b"this", headers=headers)
    assert answer.status_code == 400 and b"BadDigest" in answer.content


def test_expect_100_continue(base, s3, aws_token):
    """The answer to a call that is refused comes before the body is sent."""
    host, port = urllib.parse.urlsplit(base).netloc.split(":")
    for token, first, last in ((aws_token, b"HTTP/1.1 100", b"HTTP/1.1 200"), ("seks_aws_wrong", b"HTTP/1.1 401", b"")):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"PUT /api/aws/s3/{REGION}/bucket/expected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                               "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
            assert connection.recv(4096).startswith(first)
            if last:
                connection.sendall(b"hello")
                assert connection.recv(4096).startswith(last)


def test_answers_to_head_end_with_their_head(base, s3, aws_token):
    """Swift says no length for what is absent; nothing may follow the head, or the next answer would begin with it."""
    url = urllib.parse.urlsplit(base)
    head = f"HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {aws_token}\r\n"
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(f"HEAD {url.path}/bucket/absent {head}\r\nHEAD {url.path}/bucket/absent {head}Connection: close\r\n\r\n".encode())
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    first, second, rest = got.split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 404 ") and second.startswith(b"HTTP/1.1 404 ") and rest == b""


def test_presigned_urls_carry_the_token(s3, base):
    s3.put_object(Bucket="bucket", Key="presigned é", Body=b"by url")
    url = s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "presigned é"})
    assert url.startswith(base) and requests.get(url).content == b"by url"
    answer = requests.put(s3.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "by url"}), data=b"up")
    assert answer.status_code == 200 and s3.get_object(Bucket="bucket", Key="by url")["Body"].read() == b"up"


# ---- what is refused, and how SDKs read it ----

def code_of(call, *arguments, **more):
    with pytest.raises(ClientError) as error:
        call(*arguments, **more)
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_the_broker_refuses_what_opens_a_bucket(s3):
    denied = ("AccessDenied", 403)
    s3.put_object(Bucket="bucket", Key="mine", Body=b"x", ACL="private")
    assert code_of(s3.put_object, Bucket="bucket", Key="open", Body=b"x", ACL="public-read") == denied
    assert code_of(s3.put_object, Bucket="bucket", Key="open", Body=b"x", GrantRead="id=1") == denied
    assert code_of(s3.create_bucket, Bucket="opened", ACL="authenticated-read") == denied
    assert code_of(s3.put_bucket_acl, Bucket="bucket", ACL="private") == denied
    assert code_of(s3.put_bucket_policy, Bucket="bucket", Policy="{}") == denied
    assert code_of(s3.delete_bucket_policy, Bucket="bucket") == denied
    assert code_of(s3.delete_public_access_block, Bucket="bucket") == denied
    assert code_of(s3.put_bucket_cors, Bucket="bucket", CORSConfiguration={"CORSRules": []}) == denied
    assert code_of(s3.put_bucket_website, Bucket="bucket", WebsiteConfiguration={}) == denied
    assert code_of(s3.copy_object, Bucket="bucket", Key="x", CopySource="Other/../x") == ("InvalidRequest", 400)
    assert s3.get_bucket_acl(Bucket="bucket")["Grants"]


def test_other_refusals_have_their_codes(s3, aws_broker, base, aws_token):
    assert code_of(boto(base, "seks_aws_" + "A" * 49).list_buckets) == ("InvalidAccessKeyId", 401)
    assert code_of(boto(f"{aws_broker.url}/api/aws/iam/{REGION}", aws_token).list_buckets) == ("AccessDenied", 403)
    for bad in ("US-EAST-1", "us-east-1.evil.example", "us-east"):
        assert code_of(boto(f"{aws_broker.url}/api/aws/s3/{bad}", aws_token).list_buckets) == ("InvalidRequest", 400)
    raw = requests.get(f"{base}/No_Bucket/key", headers={"Authorization": f"Bearer {aws_token}"})
    assert raw.status_code == 400 and "bucket" in raw.json()["detail"]
    assert code_of(s3.get_object, Bucket="bucket", Key="not there") == ("NoSuchKey", 404)


def test_a_missing_secret_is_not_a_missing_object(aws_broker):
    account = Account(aws_broker, "empty@example.com")
    token = account.token(account.agent("s3")["agent"]["id"], "aws")["value"]
    client = boto(f"{aws_broker.url}/api/aws/s3/{REGION}", token)
    assert code_of(client.get_object, Bucket="bucket", Key="k") == ("AccessDenied", 403)
    with pytest.raises(ClientError, match="AWS_ACCESS_KEY_ID"):
        client.list_buckets()
    assert code_of(client.head_object, Bucket="bucket", Key="k") == ("403", 403)


def test_the_log_says_why(aws_account):
    records = aws_account.call("GET", "/v1/account/audit?action=call&limit=500")["records"]
    reasons = {r["reason"] for r in records if r["kind"] == "denied"}
    assert {"on the provider's deny list", "malformed second object", "malformed region or bucket", "service not permitted"} <= reasons


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
