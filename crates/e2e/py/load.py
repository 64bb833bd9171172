"""Writes and reads with eight threads until told to stop; each acknowledged write is logged
before the next begins. Exits 1 if any request failed or any read differed."""

import os
import random
import sys
import threading

import hf

bucket, acks_path, stop_path = sys.argv[1:4]
s3 = hf.client()
try:
    s3.create_bucket(Bucket=bucket)
except s3.exceptions.BucketAlreadyOwnedByYou:
    pass
lock = threading.Lock()
acks = open(acks_path, "a", buffering=1)
known, failures = [], []
SIZES = [0, 1, 1000, 4096, 70_000, 300_000, 1_500_000]


def work(thread):
    rng = random.Random(thread)
    n = 0
    while not os.path.exists(stop_path) and len(failures) < 5:
        key = f"t{thread}/{n}"
        size = rng.choice(SIZES)
        n += 1
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=hf.body(key, size))
            with lock:
                acks.write(f"{key} {size}\n")
                known.append((key, size))
                key, size = rng.choice(known)
            got = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            assert got == hf.body(key, size), f"{key} differs"
        except Exception as error:  # noqa: BLE001
            failures.append(f"{key}: {type(error).__name__}: {error}")


threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
for failure in failures:
    print(failure, file=sys.stderr)
sys.exit(1 if failures else 0)
