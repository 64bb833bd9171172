"""Clients that encrypt by themselves, with keys of the KMS API: the AWS Encryption SDK and the S3 encryption client."""

import os
import sys

import aws_encryption_sdk
import boto3
from aws_encryption_sdk import StrictAwsKmsMasterKeyProvider
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.identifiers import CommitmentPolicy
from botocore.exceptions import ClientError
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.exceptions import S3EncryptionClientError
from s3_encryption.materials.kms_keyring import KmsKeyring

KMS = boto3.client("kms", endpoint_url=os.environ["HF_KMS"], region_name="us-east-1")


def refused(errors, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except errors:
        return
    raise AssertionError("it was expected to be refused")


def encryption_sdk(arn):
    client = aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    )
    provider = StrictAwsKmsMasterKeyProvider(key_ids=[arn])
    text = os.urandom(100_000)
    sealed, _ = client.encrypt(source=text, key_provider=provider, encryption_context={"a": "b"})
    opened, header = client.decrypt(source=sealed, key_provider=provider)
    assert opened == text and header.encryption_context["a"] == "b"
    # The context is in the message: another one there does not open the data key.
    at = sealed.index(b"\x00\x01a\x00\x01b")
    changed = sealed[: at + 5] + b"c" + sealed[at + 6 :]
    refused((AWSEncryptionSDKClientError, ClientError), client.decrypt, source=changed, key_provider=provider)
    other = KMS.create_key()["KeyMetadata"]["Arn"]
    wrong = StrictAwsKmsMasterKeyProvider(key_ids=[other])
    refused((AWSEncryptionSDKClientError, ClientError), client.decrypt, source=sealed, key_provider=wrong)


def s3_client(arn):
    plain = boto3.client("s3", endpoint_url=os.environ["HF_ENDPOINT"], region_name="us-east-1")
    plain.create_bucket(Bucket="sealed")
    client = S3EncryptionClient(plain, S3EncryptionClientConfig(keyring=KmsKeyring(KMS, arn)))
    body = os.urandom(300_000)
    client.put_object(Bucket="sealed", Key="k", Body=body, EncryptionContext={"order": "7"})
    raw = boto3.client("s3", endpoint_url=os.environ["HF_ENDPOINT"], region_name="us-east-1")
    assert body not in raw.get_object(Bucket="sealed", Key="k")["Body"].read()
    got = client.get_object(Bucket="sealed", Key="k", EncryptionContext={"order": "7"})
    assert got["Body"].read() == body

    def read(context):
        return client.get_object(Bucket="sealed", Key="k", EncryptionContext=context)["Body"].read()

    # The client itself compares what it is given with what it stored.
    refused(S3EncryptionClientError, read, {"order": "8"})
    # With both changed, it is the key that refuses.
    kept = raw.head_object(Bucket="sealed", Key="k")["Metadata"]
    changed = {name: value.replace('"7"', '"8"') for name, value in kept.items()}
    assert changed != kept, kept
    raw.put_object(Bucket="sealed", Key="k", Body=raw.get_object(Bucket="sealed", Key="k")["Body"].read(), Metadata=changed)
    try:
        read({"order": "8"})
        raise AssertionError("another context opened the data key")
    except S3EncryptionClientError as error:
        assert "InvalidCiphertextException" in f"{error} {error.__cause__} {error.__context__}", repr(error)
    client.put_object(Bucket="sealed", Key="plain", Body=b"x" * 10)
    assert client.get_object(Bucket="sealed", Key="plain")["Body"].read() == b"x" * 10


def main():
    arn = KMS.create_key()["KeyMetadata"]["Arn"]
    {"sdk": encryption_sdk, "s3": s3_client}[sys.argv[1]](arn)


main()
