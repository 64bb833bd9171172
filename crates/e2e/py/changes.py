"""Changes keys of a bucket round by round; each round has a size of its own."""

import sys

import boto3

bucket, first, last, keys = sys.argv[1], *map(int, sys.argv[2:])
s3 = boto3.client("s3")
for size in range(first, last + 1):
    for key in range(keys):
        s3.put_object(Bucket=bucket, Key=f"key {key}", Body=b"x" * size)
