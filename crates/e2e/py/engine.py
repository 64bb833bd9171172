"""Looks into an engine that is a site, by its own S3 API: make the bucket, list it, spoil what is in it."""

import os
import sys
import time

import boto3
from botocore.config import Config

env = os.environ
bucket = env["BUCKET"]
s3 = boto3.client(
    "s3",
    endpoint_url=env["ENDPOINT"],
    aws_access_key_id=env["ACCESS_KEY_ID"],
    aws_secret_access_key=env["SECRET_ACCESS_KEY"],
    region_name=env["REGION"],
    config=Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)


def make():
    """Its parts may not know of each other yet: then the first writes are refused."""
    deadline = time.monotonic() + 100
    while True:
        try:
            try:
                s3.create_bucket(Bucket=bucket)
            except (s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
                pass
            s3.put_object(Bucket=bucket, Key="ready", Body=b"?")
            s3.delete_object(Bucket=bucket, Key="ready")
            return
        except Exception:  # noqa: BLE001
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def objects():
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from page.get("Contents", [])


def spoil():
    names = [item["Key"] for item in objects() if "/shards/" in item["Key"]]
    for at, name in enumerate(names):
        try:
            body = bytearray(s3.get_object(Bucket=bucket, Key=name)["Body"].read())
        except s3.exceptions.NoSuchKey:
            # Collected meanwhile.
            continue
        if at % 3 == 2:
            s3.delete_object(Bucket=bucket, Key=name)
            continue
        if at % 3 == 0:
            body[len(body) // 2] ^= 0x10
        else:
            body = body[: len(body) // 2]
        s3.put_object(Bucket=bucket, Key=name, Body=bytes(body))
    print(len(names))


what = sys.argv[1]
if what == "make":
    make()
elif what == "list":
    for item in objects():
        print(item["Size"], item["Key"])
elif what == "spoil":
    spoil()
