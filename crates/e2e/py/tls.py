"""boto3 over https: keys, objects, and a policy that asks for TLS. Arguments: the plain addresses of S3, KMS and admin."""

import http.client
import os
import socket
import ssl
import sys

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import SSLError

BUNDLE = os.environ["AWS_CA_BUNDLE"]
QUIET = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
DENY = """{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*",
    "Resource": ["arn:aws:s3:::tls", "arn:aws:s3:::tls/*"], "Condition": {"Bool": {"aws:SecureTransport": "false"}}}}"""


def client(service, address, **kwargs):
    return boto3.client(
        service, endpoint_url=f"https://{address}", region_name="us-east-1", config=QUIET, **kwargs
    )


def certifi():
    return os.path.join(os.path.dirname(botocore.__file__), "cacert.pem")


def keys(address):
    kms = client("kms", address)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"secret"


def objects(address):
    s3 = client("s3", address)
    s3.create_bucket(Bucket="tls")
    s3.put_bucket_policy(Bucket="tls", Policy=DENY)
    body = os.urandom(6 << 20)
    s3.put_object(Bucket="tls", Key="a", Body=body)
    assert s3.get_object(Bucket="tls", Key="a")["Body"].read() == body
    upload = s3.create_multipart_upload(Bucket="tls", Key="b")["UploadId"]
    etag = s3.upload_part(Bucket="tls", Key="b", UploadId=upload, PartNumber=1, Body=body)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    done = s3.complete_multipart_upload(Bucket="tls", Key="b", UploadId=upload, MultipartUpload=parts)
    assert done["Location"] == f"https://{address}/tls/b", done["Location"]


def others(address):
    """Who does not trust the authority, or speaks HTTP, or an old TLS, gets nothing but words."""
    try:
        # The authorities that the library brings.
        client("s3", address, verify=certifi()).list_buckets()
        raise AssertionError("a stranger's certificate was trusted")
    except SSLError:
        pass
    plain = http.client.HTTPConnection(address, timeout=60)
    plain.request("PUT", "/tls/c", body=b"x" * 20_000)
    answer = plain.getresponse()
    words = answer.read()
    assert (answer.status, answer.reason) == (400, "Bad Request") and b"HTTPS" in words, (answer.status, words)
    host, port = address.split(":")
    old = ssl.create_default_context(cafile=BUNDLE)
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    try:
        with socket.create_connection((host, int(port)), timeout=60) as raw:
            old.wrap_socket(raw, server_hostname=host)
        raise AssertionError("TLS 1.1 was spoken")
    except (ssl.SSLError, ConnectionError):
        pass
    for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
        context = ssl.create_default_context(cafile=BUNDLE)
        context.minimum_version = context.maximum_version = version
        with socket.create_connection((host, int(port)), timeout=60) as raw:
            context.wrap_socket(raw, server_hostname=host).close()


def trusted(address):
    """Exits with 3 if the certificate is by another authority."""
    host, port = address.split(":")
    context = ssl.create_default_context(cafile=BUNDLE)
    try:
        with socket.create_connection((host, int(port)), timeout=60) as raw:
            context.wrap_socket(raw, server_hostname=host).close()
    except ssl.SSLCertVerificationError:
        sys.exit(3)


if sys.argv[1] == "trusted":
    trusted(sys.argv[2])
else:
    S3, KMS, ADMIN = sys.argv[1:]
    keys(KMS)
    objects(S3)
    for each in [S3, KMS, ADMIN]:
        others(each)
