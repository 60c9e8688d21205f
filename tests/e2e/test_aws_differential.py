"""The signer against botocore, over some thousands of random keys, queries and headers."""
import datetime
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pytest

import aws_standin

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")
COUNT = int(os.environ.get("SEKS_DIFFERENTIAL", "4000"))
SERVICES = {"s3": "s3", "dynamodb": "dynamodb", "sqs": "sqs", "sns": "sns", "lambda": "lambda", "bedrock-runtime": "bedrock"}
REGIONS = ["us-east-1", "eu-west-3", "us-gov-west-1", "ap-southeast-2", "cn-north-1"]
ALPHABET = ("abcXYZ019-._~ +%&=?#/$@!*'(),:;<>[]{}|^`\"\\" "äéßñ日本語😀\u00a0")
VALUES = ["plain", "  spaces   inside  and at ends ", "tab\tinside", "comma,separated", "", "ümläut", "a" * 300, '"quoted  text"', "1=2;3"]


def text(rng, most):
    made = "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(1, most)))
    return "dots" if set(made) == {"."} else made  # such a segment the gateway refuses


def loosely(rng, value):
    """Percent-encoded as clients may: too much, too little, in either case."""
    out = ""
    for byte in value.encode():
        char = chr(byte)
        plain = char.isascii() and (char.isalnum() or char in "-._~")
        if plain and rng.random() < 0.9 or char in "!*'(),:;@$" and rng.random() < 0.5:
            out += char
        else:
            out += (f"%{byte:02x}" if rng.random() < 0.3 else f"%{byte:02X}")
    return out


def path_of(rng, service):
    if service != "s3":
        return "/" + "/".join(loosely(rng, text(rng, 20)) or "x" for _ in range(rng.randrange(0, 4)))
    if rng.random() < 0.05:
        return rng.choice(["", "/"])
    key = "/".join(loosely(rng, text(rng, rng.choice([5, 30, 300]))) for _ in range(rng.randrange(0, 4)))
    return rng.choice(["/bucket-1", "/my.bucket", "/abc"]) + rng.choice(["", "/" + key, "//" + key, "/" + key + "/"])


def query_of(rng):
    parts = []
    for _ in range(rng.choice([0, 0, 1, 2, 5, 12])):
        name = rng.choice(["prefix", "list-type", "uploads", "a", "A", "a-b", "x-id", loosely(rng, text(rng, 8))])
        value = loosely(rng, text(rng, 20)).replace("%20", rng.choice(["%20", "+"]))
        parts.append(rng.choice([name, name + "=", f"{name}={value}", f"{name}={value}"]))
    return rng.choice(["?", "?"]) + "&".join(parts) if parts or rng.random() < 0.1 else ""


def request_of(rng):
    service = rng.choice(["s3", "s3", "s3", *SERVICES])
    region, method = rng.choice(REGIONS), rng.choice(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"])
    body = rng.choice(["", "", "body", text(rng, 2000)])
    headers = [["User-Agent", "x/1"], ["Host", "broker"], ["Accept-Encoding", "gzip"], ["X-Amz-Date", "20010101T000000Z"],
               ["amz-sdk-invocation-id", "1"], ["X-Amz-Security-Token", "stray"], ["Connection", "keep-alive, X-Hop"], ["X-Hop", "1"],
               ["Date", "Thu, 01 Jan 1970 00:00:00 GMT"], ["Range", "bytes=0-1"]]
    headers = [h for h in headers if rng.random() < 0.5]
    for _ in range(rng.randrange(0, 6)):
        name = rng.choice(["x-amz-meta-", "X-Amz-Meta-", "x-amz-", "X-Plain-"]) + rng.choice(["a", "B", "c-d", "Zz", "a"])
        headers.append([name, rng.choice(VALUES)])
    if rng.random() < 0.5:
        headers.append(["Content-Type", rng.choice(["text/plain;  charset=utf-8", "application/x-amz-json-1.0"])])
    payload = hashlib.sha256(body.encode()).hexdigest()
    if rng.random() < 0.5:
        headers.append(["x-amz-content-sha256", rng.choice([payload, "UNSIGNED-PAYLOAD"] if service == "s3" else [payload])])
    return {"method": method, "target": f"/{service}/{region}{path_of(rng, service)}{query_of(rng)}", "headers": headers, "body": body,
            "id": aws_standin.ID, "service": service, "region": region}


@pytest.mark.parametrize("seed", [1])
def test_signatures_are_botocores(seed):
    rng, asked = random.Random(seed), []
    today = datetime.datetime.now(datetime.timezone.utc)
    date = today.strftime("%Y%m%d")
    for _ in range(COUNT):
        request = request_of(rng)
        scope = f"{date}/{request['region']}/{SERVICES[request['service']]}/aws4_request"
        asked.append({**request, "date": date, "key": aws_standin.signing_key(aws_standin.SECRET, scope).hex()})
    out = subprocess.run([BUILD / "tests/sign_lines"], input="\n".join(json.dumps(a, ensure_ascii=False) for a in asked), capture_output=True,
                         text=True, timeout=120)
    assert out.returncode == 0, out.stderr[-2000:]
    answers = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(answers) == COUNT
    # What two readers could take for different paths is refused before it is signed, as at the gateway.
    refused = [a["target"] for a, answer in zip(asked, answers) if answer["status"] != "OK"]
    plain = [target for target in refused if not re.search("%2f|%5c|%25|;", target, re.I)]
    assert not plain and len(refused) < COUNT / 50, (len(refused), plain[:5])
    asked, answers = zip(*((a, answer) for a, answer in zip(asked, answers) if answer["status"] == "OK"))
    for request, answer in zip(asked, answers):
        check(request, answer)


@pytest.mark.parametrize("header, target, status", [
    (["x-amz-acl", "public-read"], "/s3/us-east-1/bucket/k", "DENIED"), (["x-amz-acl", "private"], "/s3/us-east-1/bucket/k", "OK"),
    (["X-Amz-Grant-Read", "id=1"], "/s3/us-east-1/bucket/k", "DENIED"), (["x-amz-copy-source", "a/../b"], "/s3/us-east-1/bucket/k", "INVALID"),
    (["x-amz-copy-source", "abc/k"], "/s3/us-east-1/bucket/k", "OK"), (["x", "y"], "/s3/us-east-1/bucket/k?X-Amz-Signature=0", "INVALID"),
    (["x", "y"], "/s3/evil.com/bucket/k", "INVALID"), (["x", "y"], "/iam/us-east-1/", "DENIED")])
def test_the_proxy_judges_what_it_sends(header, target, status):
    """The vault decided on what the gateway told it, and a gateway may be lost."""
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")
    asked = {"method": "PUT", "target": target, "headers": [header], "body": "", "id": "A", "date": today, "key": "00" * 32}
    out = subprocess.run([BUILD / "tests/sign_lines"], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(out.stdout)["status"] == status


def check(request, answer):
    url = urlsplit(answer["url"])
    headers = [("Host", url.netloc)]
    for line in answer["headers"]:
        if line.endswith(";") and ":" not in line:
            headers.append((line[:-1], ""))
        elif not line.endswith(":"):
            name, value = line.split(":", 1)
            headers.append((name, value.strip(" ")))
    verified = aws_standin.Verified(request["method"], f"{url.scheme}://{url.netloc}", answer["url"][len(f"{url.scheme}://{url.netloc}"):], headers)
    verified.body(request["body"].encode())
    assert url.netloc == f"{request['service']}.{request['region']}.amazonaws.com" + (".cn" if request["region"].startswith("cn-") else "")
    assert verified.service == SERVICES[request["service"]]
    lower = [n.lower() for n, _ in headers]
    assert not {"x-amz-security-token", "connection", "date", "amz-sdk-invocation-id"} & set(lower)
    given = {n.lower() for n, _ in request["headers"]}
    assert ("x-hop" in lower) == ("x-hop" in given and "connection" not in given)
    if request["service"] == "s3":
        assert quote(_decoded(request["target"]), safe="/-._~") == url.path


def _decoded(target):
    path = "/" + target.split("?")[0].split("/", 3)[3] if target.split("?")[0].count("/") > 2 else "/"
    return unquote_to_bytes(path)
