"""Reads back every acknowledged write of load.py; with `whole`, also every other key found: it
must be whole or absent. Without retries."""

import sys
from concurrent.futures import ThreadPoolExecutor

import hf

bucket, acks_path = sys.argv[1:3]
s3 = hf.client()
acked = dict(line.split() for line in open(acks_path))


def check(item):
    key, size = item
    got = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert got == hf.body(key, int(size)), f"{key} differs"


with ThreadPoolExecutor(8) as pool:
    list(pool.map(check, acked.items()))
extra = 0
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
    for item in page.get("Contents", []):
        if item["Key"] not in acked:
            check((item["Key"], item["Size"]))
            extra += 1
print(f"{len(acked)} acknowledged writes read back, {extra} others whole")
