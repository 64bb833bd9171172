"""Lives in a bucket with eight threads until told to stop: writes of several sizes, uploads in parts, overwrites,
deletes, listings, reads. What was acknowledged is logged before the next begins, `key size seed` or `key - -`.
Exits 1 if a request failed after the SDK's own retries, or anything read or listed was not what had been
acknowledged last. With `verify` instead of a file to stop at: reads everything back, without retries."""

import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

import hf

bucket, acks_path, stop_path = sys.argv[1:4]
SIZES = [0, 1, 1000, 20_000, 70_000, 300_000, 1 << 20]
LARGE = 11 << 20
CONFIG = Config(retries={"mode": "standard", "max_attempts": 5}, s3={"addressing_style": "path"}, max_pool_connections=64)
PARTS = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, use_threads=False)


def content(key, size, seed):
    return hf.body(f"{key} {seed}", size)


class Thread:
    def __init__(self, s3, acks, number):
        self.s3, self.acks, self.rng = s3, acks, random.Random(number)
        self.prefix, self.number, self.live, self.longest = f"t{number}/", 0, {}, 0.0

    def put(self, key):
        size = LARGE if self.rng.random() < 0.03 else self.rng.choice(SIZES)
        seed = self.rng.getrandbits(32)
        body = content(key, size, seed)
        if size == LARGE:
            import io

            self.s3.upload_fileobj(io.BytesIO(body), bucket, key, Config=PARTS)
        else:
            self.s3.put_object(Bucket=bucket, Key=key, Body=body)
        self.acks(f"{key} {size} {seed}")
        self.live[key] = (size, seed)

    def get(self, key):
        begun = time.monotonic()
        got = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        self.longest = max(self.longest, time.monotonic() - begun)
        assert got == content(key, *self.live[key]), f"{key} differs"

    def list(self):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=self.prefix)
        found = {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}
        assert found == {key: size for key, (size, _) in self.live.items()}, f"{self.prefix} lists other keys"

    def step(self):
        dice, known = self.rng.random(), list(self.live)
        if len(known) < 3 or dice < 0.35:
            self.number += 1
            self.put(f"{self.prefix}{self.number}")
        elif dice < 0.5:
            self.put(self.rng.choice(known))
        elif dice < 0.6:
            key = self.rng.choice(known)
            self.s3.delete_object(Bucket=bucket, Key=key)
            self.acks(f"{key} - -")
            del self.live[key]
        elif dice < 0.63:
            self.list()
        else:
            self.get(self.rng.choice(known))


def live():
    keys = {}
    for line in open(acks_path):
        key, size, seed = line.split()
        keys[key] = (int(size), int(seed)) if size != "-" else None
    return {key: what for key, what in keys.items() if what}


def verify():
    s3, keys = hf.client(), live()

    def check(item):
        key, (size, seed) = item
        got = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert got == content(key, size, seed), f"{key} differs"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, keys.items()))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = {item["Key"] for page in pages for item in page.get("Contents", [])}
    assert found == set(keys), f"{found ^ set(keys)} listed or missing"
    print(len(keys))


def work():
    s3 = boto3.client("s3", endpoint_url=os.environ["HF_ENDPOINT"], config=CONFIG)
    try:
        s3.create_bucket(Bucket=bucket)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    lock, failures, log = threading.Lock(), [], open(acks_path, "a", buffering=1)

    def acks(line):
        with lock:
            log.write(line + "\n")

    def live_on(thread):
        while not os.path.exists(stop_path) and len(failures) < 5:
            try:
                thread.step()
            except Exception as error:  # noqa: BLE001
                failures.append(f"{thread.prefix}: {type(error).__name__}: {error}")

    lives = [Thread(s3, acks, number) for number in range(8)]
    threads = [threading.Thread(target=live_on, args=(life,)) for life in lives]
    [t.start() for t in threads]
    [t.join() for t in threads]
    print(f"{max(life.longest for life in lives):.3f}")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


verify() if stop_path == "verify" else work()
