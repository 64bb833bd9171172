"""What the scripts share: a client that never retries, and bodies that can be recomputed."""

import hashlib
import os

import boto3
from botocore.config import Config


def client(access=None, secret=None, unsigned=False):
    from botocore import UNSIGNED

    config = Config(
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
        read_timeout=60,
        max_pool_connections=64,
        # Presigned URLs of boto3's default are signature version 2, which is refused.
        signature_version=UNSIGNED if unsigned else "s3v4",
    )
    return boto3.client(
        "s3",
        endpoint_url=os.environ["HF_ENDPOINT"],
        aws_access_key_id=access or os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=config,
    )


def body(name, size):
    """Bytes that belong to a name: unlike for every name, cheap to make again."""
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * (size // 32 + 1))[:size]


def refused(code, call, *args, **kwargs):
    """Calls and expects the S3 error code (or HTTP status) `code`."""
    from botocore.exceptions import ClientError

    try:
        call(*args, **kwargs)
    except ClientError as error:
        got = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert code in (got, status), f"expected {code}, got {status} {got}"
        return error
    raise AssertionError(f"expected {code}, but the call succeeded")
