"""Uploads and downloads one object of N MiB in one PUT with 16 connections at once (16 objects of
N/16 MiB), and one of N/4 MiB alone."""

import sys
from concurrent.futures import ThreadPoolExecutor

import hf

mib = int(sys.argv[1])
s3 = hf.client()
s3.create_bucket(Bucket="stream")
BLOCK = hf.body("block", 1 << 20)


class Stream:
    """A body of repeated blocks that is never in memory."""

    def __init__(self, size):
        self.size, self.at = size, 0

    def __len__(self):
        return self.size

    def tell(self):
        return self.at

    def seek(self, to, whence=0):
        self.at = to if whence == 0 else self.at + to if whence == 1 else self.size + to
        return self.at

    def read(self, n=-1):
        n = self.size - self.at if n is None or n < 0 else min(n, self.size - self.at)
        offset = self.at % len(BLOCK)
        out = (BLOCK * (n // len(BLOCK) + 2))[offset : offset + n]
        self.at += n
        return out


def one(key, size):
    s3.put_object(Bucket="stream", Key=key, Body=Stream(size))
    got, at = s3.get_object(Bucket="stream", Key=key)["Body"], 0
    for chunk in got.iter_chunks(1 << 20):
        offset = at % len(BLOCK)
        assert chunk == (BLOCK + BLOCK)[offset : offset + len(chunk)], (key, at)
        at += len(chunk)
    assert at == size, (key, at)


with ThreadPoolExecutor(16) as pool:
    list(pool.map(lambda i: one(f"o{i}", (mib << 20) // 16), range(16)))
one("alone", (mib << 20) // 4)
print("streamed")
