"""One object of a bucket, once. Arguments: put or get, the bucket, and another access key and secret if it is not the root's.

Prints what became of it: `ok`, or the status, the code, whether a time to wait is told, and the message.
"""

import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


WHAT, BUCKET, *KEYS = sys.argv[1:]
NAMES = ["aws_access_key_id", "aws_secret_access_key"]
S3 = boto3.client(
    "s3",
    endpoint_url=os.environ["HF_ENDPOINT"],
    region_name="us-east-1",
    config=Config(retries={"total_max_attempts": 1}),
    **dict(zip(NAMES, KEYS)),
)
BODY = b"held " * 100_000
try:
    if WHAT == "put":
        S3.put_object(Bucket=BUCKET, Key="a/b", Body=BODY)
    else:
        assert S3.get_object(Bucket=BUCKET, Key="a/b")["Body"].read() == BODY
    print("ok")
except ClientError as error:
    told, error = error.response["ResponseMetadata"], error.response["Error"]
    waits = "retry-after" in told["HTTPHeaders"]
    print(told["HTTPStatusCode"], error["Code"], f"waits={waits}", error["Message"])
