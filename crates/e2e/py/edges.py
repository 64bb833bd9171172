"""SSE-C and SSE-KMS, forms, websites and ACLs with boto3 and plain HTTP, one half before and one after two
sites are gone. Usage: edges.py write|after"""

import os
import sys
import urllib.error
import urllib.request

from boto3.s3.transfer import TransferConfig
from hf import body, client, refused

s3 = client()
BUCKET = "edges"
KEY = b"k" * 32
OTHER = b"o" * 32
SSE_C = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
FROM = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": KEY}
SIZES = [0, 1, 300_000, 12_000_000]


def ask(url, host=None, method="GET", data=None, headers=None):
    """Status, headers and body of a plain request that follows no redirection."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args):
            return None

    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if host:
        request.add_header("Host", host)
    try:
        answer = urllib.request.build_opener(Stay).open(request)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read()


def form(fields, file):
    boundary = "holdfast-e2e"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'.encode() + file + b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def post(key, file, **more):
    signed = s3.generate_presigned_post(BUCKET, key, ExpiresIn=600, **more)
    data, headers = form(signed["fields"], file)
    return ask(signed["url"], method="POST", data=data, headers=headers)


def write():
    s3.create_bucket(Bucket=BUCKET)
    parts = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=5 << 20)
    for size in SIZES:
        path = f"sse{size}"
        with open(path, "wb") as file:
            file.write(body(path, size))
        s3.upload_file(path, BUCKET, path, ExtraArgs=SSE_C, Config=parts)
    s3.put_object(Bucket=BUCKET, Key="kms", Body=b"kms", ServerSideEncryption="aws:kms")
    answer = s3.head_object(Bucket=BUCKET, Key="kms")
    assert answer["ServerSideEncryption"] == "aws:kms" and answer["SSEKMSKeyId"].startswith("arn:aws:kms:")
    refused("KMS.NotFoundException", s3.put_object, Bucket=BUCKET, Key="kms", Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId="other")

    big = body("form", 11_000_000)
    conditions = [["content-length-range", 0, 20_000_000], {"success_action_status": "201"}]
    status, headers, text = post("forms/big", big, Fields={"success_action_status": "201"}, Conditions=conditions)
    assert status == 201 and b"<Key>forms/big</Key>" in text, (status, text)
    status, _, text = post("forms/long", b"12345", Conditions=[["content-length-range", 0, 4]])
    assert status == 400 and b"EntityTooLarge" in text, (status, text)

    s3.put_object(Bucket=BUCKET, Key="index.html", Body=b"home", ContentType="text/html")
    s3.put_object(Bucket=BUCKET, Key="docs/index.html", Body=b"docs", ContentType="text/html")
    s3.put_object(Bucket=BUCKET, Key="gone", Body=b"", WebsiteRedirectLocation="/docs/")
    s3.put_bucket_website(
        Bucket=BUCKET,
        WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "index.html"}},
    )
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    for key in ("index.html", "docs/index.html", "gone"):
        s3.put_object_acl(Bucket=BUCKET, Key=key, ACL="public-read")


def check():
    for size in SIZES:
        path = f"sse{size}"
        got = s3.get_object(Bucket=BUCKET, Key=path, **SSE_C)
        assert got["Body"].read() == body(path, size) and got["SSECustomerAlgorithm"] == "AES256", path
        assert s3.head_object(Bucket=BUCKET, Key=path, **SSE_C)["ContentLength"] == size
        refused("InvalidRequest", s3.get_object, Bucket=BUCKET, Key=path)
        refused("AccessDenied", s3.get_object, Bucket=BUCKET, Key=path, SSECustomerAlgorithm="AES256", SSECustomerKey=OTHER)
        if size > 1:
            part = s3.get_object(Bucket=BUCKET, Key=path, Range=f"bytes={size - 10}-", **SSE_C)["Body"].read()
            assert part == body(path, size)[-10:]
        s3.copy_object(Bucket=BUCKET, Key=path + "-plain", CopySource={"Bucket": BUCKET, "Key": path}, **FROM)
        assert s3.get_object(Bucket=BUCKET, Key=path + "-plain")["Body"].read() == body(path, size)
    assert s3.get_object(Bucket=BUCKET, Key="kms")["ServerSideEncryption"] == "aws:kms"
    assert s3.get_object(Bucket=BUCKET, Key="forms/big")["Body"].read() == body("form", 11_000_000)
    status, _, _ = post("forms/after", b"posted")
    assert status == 204
    assert s3.get_object(Bucket=BUCKET, Key="forms/after")["Body"].read() == b"posted"

    endpoint = os.environ["HF_ENDPOINT"]
    host = f"{BUCKET}.web.localhost"
    for path, status, told in [("/", 200, b"home"), ("/docs/", 200, b"docs"), ("/sse1", 403, b"home"), ("/none", 403, b"home")]:
        found = ask(endpoint + path, host)
        assert (found[0], found[2]) == (status, told), (path, found)
    for path, status, place in [("/docs", 302, "/docs/"), ("/gone", 301, "/docs/")]:
        found = ask(endpoint + path, host)
        assert (found[0], found[1]["Location"]) == (status, place), (path, found)
    # The same bucket by its host.
    assert ask(endpoint + "/index.html", f"{BUCKET}.localhost")[2] == b"home"
    assert ask(f"{endpoint}/{BUCKET}/index.html")[2] == b"home"
    assert ask(f"{endpoint}/{BUCKET}/kms")[0] == 403


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write()
    check()
