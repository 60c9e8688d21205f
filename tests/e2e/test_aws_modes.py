"""AWS through the broker against a stand-in that recomputes every signature: payload modes, services."""
import base64
import datetime
import hashlib
import hmac
import json
import re
import urllib.parse
import zlib

import boto3
import pytest
import requests
from botocore.config import Config

import aws_standin
from conftest import Account, Broker

REGION = "us-east-1"


class Side:
    """A broker with a stand-in behind it, an account and a token."""

    def __init__(self, directory, session=None):
        self.server = aws_standin.start(session)
        self.broker = Broker(directory, [{"name": "aws", "origin": self.server.origin, "allow_insecure": True}])
        self.account = Account(self.broker, "aws@example.com")
        for name, value in (("AWS_ACCESS_KEY_ID", aws_standin.ID), ("AWS_SECRET_ACCESS_KEY", aws_standin.SECRET),
                            ("AWS_SESSION_TOKEN", session)):
            assert not value or self.account.put_secret(name, value).status_code == 201
        self.token = self.account.token(self.account.agent("aws")["agent"]["id"], "aws")["value"]
        self.url = f"{self.broker.url}/api/aws"

    def client(self, service, region=REGION, **more):
        return boto3.client(service, endpoint_url=f"{self.url}/{service}/{region}", region_name=region,
                            aws_access_key_id=self.token, aws_secret_access_key="any",
                            config=Config(retries={"max_attempts": 0}, **more))

    def call(self, method, target, headers=None, **more):
        return requests.request(method, f"{self.url}{target}", headers={"Authorization": f"Bearer {self.token}", **(headers or {})}, **more)


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    side = Side(tmp_path_factory.mktemp("broker"))
    yield side
    log = side.broker.stop()
    assert aws_standin.SECRET not in log


@pytest.fixture(autouse=True)
def nothing_is_refused(request):
    yield
    if "side" in request.fixturenames:
        server = request.getfixturevalue("side").server
        refused, server.refusals = server.refusals, []
        assert not refused, refused


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")


class Chunked:
    """A body as SDKs stream it, each chunk signed with the fake secret."""

    def __init__(self, token, secret="any", region=REGION):
        self.time = now()
        self.scope = f"{self.time[:8]}/{region}/s3/aws4_request"
        self.key = aws_standin.signing_key(secret, self.scope)
        self.token, self.signature = token, "0" * 64  # the seed does not matter to the broker

    def sign(self, kind, *hashes):
        text = "\n".join([kind, self.time, self.scope, self.signature, *hashes])
        self.signature = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
        return self.signature

    def body(self, data, size, trailers=None, end=b"\r\n"):
        for at in [*range(0, len(data), size), len(data)]:
            piece = data[at:at + size]
            signature = self.sign("AWS4-HMAC-SHA256-PAYLOAD", aws_standin.EMPTY, hashlib.sha256(piece).hexdigest())
            yield b"%x;chunk-signature=%s\r\n" % (len(piece), signature.encode()) + (piece + b"\r\n" if piece else b"")
        if trailers is not None:
            text = "".join(f"{n}:{v}\n" for n, v in trailers)
            signature = self.sign("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(text.encode()).hexdigest())
            for name, value in trailers:
                yield f"{name}:{value}\r\n".encode()
            yield f"x-amz-trailer-signature:{signature}\r\n".encode()
        yield end

    def headers(self, payload, length, **more):
        return {"Authorization": f"AWS4-HMAC-SHA256 Credential={self.token}/{self.scope}, SignedHeaders=host, Signature={'0' * 64}",
                "X-Amz-Date": self.time, "x-amz-content-sha256": payload, "Content-Encoding": "aws-chunked",
                "x-amz-decoded-content-length": str(length), **more}


SIZES = [(0, 8192), (1, 8192), (16384, 8192), (16384, 65536), (66560, 65536), (200001, 10000), (5_000_000, 131072), (70000, 7)]


@pytest.mark.parametrize("length, chunk", SIZES)
@pytest.mark.parametrize("chunked_transfer", [False, True])
def test_signed_chunks_are_signed_again(side, length, chunk, chunked_transfer):
    data, signer = (bytes(range(256)) * (length // 256 + 1))[:length], Chunked(side.token)
    body = b"".join(signer.body(data, chunk))
    sent = (body[i:i + 5000] for i in range(0, len(body), 5000)) if chunked_transfer else body
    answer = requests.put(f"{side.url}/s3/{REGION}/bucket/streamed", data=sent,
                          headers=signer.headers("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", length))
    assert answer.status_code == 200, answer.text
    assert side.server.objects["/bucket/streamed"][0] == data
    assert "content-length" in side.server.seen[-1]["headers"]


@pytest.mark.parametrize("name, digest", [
    ("x-amz-checksum-crc32", lambda d: zlib.crc32(d).to_bytes(4, "big")), ("x-amz-checksum-sha256", lambda d: hashlib.sha256(d).digest()),
    ("x-amz-checksum-sha1", lambda d: hashlib.sha1(d).digest()), ("x-amz-checksum-other", lambda d: b"12345")])
def test_signed_trailers_are_signed_again(side, name, digest):
    data, signer = b"trailed " * 9000, Chunked(side.token)
    value = base64.b64encode(digest(data)).decode()
    answer = requests.put(f"{side.url}/s3/{REGION}/bucket/trailed", data=b"".join(signer.body(data, 65536, [(name, value)])),
                          headers=signer.headers("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", len(data), **{"x-amz-trailer": name}))
    assert answer.status_code == 200, answer.text
    assert side.server.objects["/bucket/trailed"][0] == data
    assert ("content-length" in side.server.seen[-1]["headers"]) == (name != "x-amz-checksum-other")


def test_unsigned_chunks_pass_as_they_are(side):
    data = b"unsigned " * 9000
    trailer = b"x-amz-checksum-crc32:" + base64.b64encode(zlib.crc32(data).to_bytes(4, "big"))
    body = b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(data), data, trailer)
    headers = Chunked(side.token).headers("STREAMING-UNSIGNED-PAYLOAD-TRAILER", len(data), **{"x-amz-trailer": "x-amz-checksum-crc32"})
    for sent in (body, iter([body[:100], body[100:]])):
        answer = requests.put(f"{side.url}/s3/{REGION}/bucket/unsigned", data=sent, headers=headers)
        assert answer.status_code == 200, answer.text
        assert side.server.objects["/bucket/unsigned"][0] == data
        assert side.server.seen[-1]["raw"] == body


@pytest.mark.parametrize("body, why", [
    (b"zz;chunk-signature=00\r\n", 400), (b"5;chunk-signature=00\r\nhello!\r\n0;\r\n\r\n", 400), (b"", 400),
    (b"6;chunk-signature=00\r\nhello!\r\n0;\r\n\r\n", 400), (b"5;chunk-signature=00\r\nhello\r\n", 400),
    (b"4;chunk-signature=00\r\nhell\r\n0;\r\n\r\n", 400), (b"5;chunk-signature=00\r\nhello\r\n0;\r\nx-amz-meta-a:b\r\n\r\n", 400),
    (b"ffffffffffffffffff;\r\n", 400), (b"5;" + b"x" * 2000 + b"\r\nhello\r\n0;\r\n\r\n", 400)])
def test_malformed_chunks_are_refused(side, body, why):
    before = len(side.server.objects)
    answer = requests.put(f"{side.url}/s3/{REGION}/bucket/malformed", data=body,
                          headers=Chunked(side.token).headers("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 5))
    assert answer.status_code == why and "/bucket/malformed" not in side.server.objects and len(side.server.objects) == before
    assert "<Code>" in answer.text


def test_a_given_hash_is_reused(side):
    data = b"some data" * 5000
    good = hashlib.sha256(data).hexdigest()
    assert side.call("PUT", f"/s3/{REGION}/bucket/h", {"x-amz-content-sha256": good}, data=data).status_code == 200
    assert side.server.seen[-1]["headers"]["x-amz-content-sha256"] == good
    bad = hashlib.sha256(b"").hexdigest()
    assert "XAmzContentSHA256Mismatch" in side.call("PUT", f"/s3/{REGION}/bucket/h", {"x-amz-content-sha256": bad}, data=data).text
    side.server.refusals.clear()
    assert side.call("PUT", f"/s3/{REGION}/bucket/h", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, data=data).status_code == 200
    for odd in ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", good.upper(), "x"):
        assert side.call("PUT", f"/s3/{REGION}/bucket/h", {"x-amz-content-sha256": odd}, data=data).status_code == 400


def test_a_length_is_needed(side):
    answer = side.call("PUT", f"/s3/{REGION}/bucket/nolength", data=iter([b"a", b"b"]))
    assert answer.status_code == 411 and "Content-Length" in answer.json()["detail"]
    headers = Chunked(side.token).headers("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 5)
    del headers["x-amz-decoded-content-length"]
    answer = requests.put(f"{side.url}/s3/{REGION}/bucket/nolength", data=b"5;\r\nhello\r\n0;\r\n\r\n", headers=headers)
    assert answer.status_code == 411 and "<Code>MissingContentLength</Code>" in answer.text


def test_answers_pass_untouched(side):
    """Nothing is decoded and nothing is looked for in objects: S3's bodies are the caller's."""
    import gzip
    data = gzip.compress(aws_standin.ID.encode() * 100)
    side.call("PUT", f"/s3/{REGION}/bucket/z", {"Content-Encoding": "gzip"}, data=data)
    answer = side.call("GET", f"/s3/{REGION}/bucket/z", {"Accept-Encoding": "gzip"}, stream=True)
    assert answer.headers["content-encoding"] == "gzip" and answer.raw.read(decode_content=False) == data
    assert side.server.seen[-1]["headers"]["accept-encoding"] == "gzip"


# ---- other services ----

def test_dynamodb(side):
    table = side.client("dynamodb")
    assert table.get_item(TableName="t", Key={"k": {"S": "ä" * 30000}})["Item"] == {"k": {"S": "v"}}
    assert table.list_tables()["TableNames"] == ["t"]


def test_sqs(side):
    assert side.client("sqs").send_message(QueueUrl=f"{side.url}/sqs/{REGION}/123456789012/q", MessageBody="hello")["MessageId"] == "m-1"
    assert side.server.seen[-1]["path"] == "/"


def test_sns(side):
    assert side.client("sns").publish(TopicArn=f"arn:aws:sns:{REGION}:123456789012:t", Message="hello & more")["MessageId"] == "n-1"


def test_lambda(side):
    client = side.client("lambda")
    answer = client.invoke(FunctionName=f"arn:aws:lambda:{REGION}:123456789012:function:f", Payload=b'{"a":1}')
    assert json.loads(answer["Payload"].read()) == {"echo": {"a": 1}}
    assert client.list_functions()["Functions"][0]["FunctionName"] == "f"


def test_bedrock_runtime_signs_as_bedrock(side):
    client = side.client("bedrock-runtime", "eu-west-1")
    model = "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-3:0"
    answer = json.loads(client.invoke_model(modelId=model, body=b'{"prompt":"hi"}')["body"].read())
    assert answer["sent"] == {"prompt": "hi"}
    assert urllib.parse.unquote(answer["path"]) == f"/model/{model}/invoke" and "%2F" in answer["path"]
    assert side.server.seen[-1]["service"] == "bedrock"


def test_curl_to_a_service_has_its_body_hashed(side):
    body = json.dumps({"MessageBody": "x" * 300000})
    answer = side.call("POST", f"/sqs/{REGION}/", {"X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": "application/x-amz-json-1.0"}, data=body)
    assert answer.json()["MessageId"] == "m-1"
    chunked = side.call("POST", f"/sqs/{REGION}/", {"X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": "application/x-amz-json-1.0"},
                        data=iter([body[:7].encode(), body[7:].encode()]))
    assert chunked.json()["MessageId"] == "m-1" and side.server.seen[-1]["headers"]["content-length"] == str(len(body))
    assert side.call("GET", f"/lambda/{REGION}/2015-03-31/functions/").json()["Functions"]


@pytest.mark.parametrize("call, code", [
    (lambda c: c("dynamodb").get_item(TableName="t", Key={"k": {"S": "v"}}), "UnrecognizedClientException"),
    (lambda c: c("sqs").send_message(QueueUrl="https://sqs/1/q", MessageBody="m"), "UnrecognizedClientException"),
    (lambda c: c("sns").publish(TopicArn="arn:aws:sns:us-east-1:1:t", Message="m"), "InvalidClientTokenId"),
    (lambda c: c("lambda").list_functions(), "UnrecognizedClientException"),
    (lambda c: c("bedrock-runtime").invoke_model(modelId="m", body=b"{}"), "UnrecognizedClientException"),
    (lambda c: c("s3").list_buckets(), "InvalidAccessKeyId")])
def test_errors_are_in_the_services_own_form(side, call, code):
    """Each SDK reads a code off the answer, by which it chooses the exception."""
    from botocore.exceptions import ClientError

    def stranger(service):
        return boto3.client(service, endpoint_url=f"{side.url}/{service}/{REGION}", region_name=REGION, aws_access_key_id="seks_aws_wrong",
                            aws_secret_access_key="any", config=Config(retries={"max_attempts": 0}))
    with pytest.raises(ClientError) as error:
        call(stranger)
    assert error.value.response["Error"] == {"Code": code, "Message": "no valid credential", **(
        {"Type": "Sender"} if code == "InvalidClientTokenId" else {})}
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401


def test_services_that_mint_credentials_are_not_reached(side):
    before = len(side.server.seen)
    for service in ("sts", "iam", "sso", "cognito-identity", "s3-control", "S3", "s3.evil", ""):
        answer = side.call("POST", f"/{service}/{REGION}/", data="Action=GetSessionToken")
        assert answer.status_code == 403 and "service" in answer.json()["detail"]
    from botocore.exceptions import ClientError
    with pytest.raises(ClientError, match="AccessDenied"):
        side.client("dynamodb").put_resource_policy(ResourceArn="arn:aws:dynamodb:us-east-1:1:table/t", Policy="{}")
    with pytest.raises(ClientError, match="AccessDenied"):
        side.client("lambda").add_permission(FunctionName="f", StatementId="s", Action="lambda:InvokeFunction", Principal="*")
    assert len(side.server.seen) == before


def test_signatures_in_the_query_do_not_pass(side):
    before = len(side.server.seen)
    for query in ("X-Amz-Signature=00", "X-Amz-Expires=1", "x=1&X-AMZ-DATE=2", "X%2dAmz-Algorithm=a"):
        assert side.call("GET", f"/s3/{REGION}/bucket/k?{query}").status_code == 403
    assert len(side.server.seen) == before


def test_a_session_token_is_sent_and_signed(tmp_path_factory):
    side = Side(tmp_path_factory.mktemp("session"), aws_standin.SESSION)
    side.client("s3").put_object(Bucket="bucket", Key="k", Body=b"x")
    assert side.server.seen[-1]["headers"]["x-amz-security-token"] == aws_standin.SESSION
    log = side.broker.stop()
    assert aws_standin.SESSION not in log and not side.server.refusals
