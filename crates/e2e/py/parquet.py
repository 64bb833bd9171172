"""Parquet by ranges: pyarrow's own S3 client, and DuckDB on top of it. Usage: parquet.py write|read"""

import os
import sys
from urllib.parse import urlparse

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import S3FileSystem

ROWS = 400_000
TEXTS = [f"text {i * 7919 % 10_007}" for i in range(1000)]

endpoint = urlparse(os.environ["HF_ENDPOINT"])
s3 = S3FileSystem(
    access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    endpoint_override=endpoint.netloc,
    scheme=endpoint.scheme,
    region="us-east-1",
    allow_bucket_creation=True,
)


def table():
    return pa.table(
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "group": pa.array([i % 5 for i in range(ROWS)], pa.int32()),
            "value": pa.array([i * 31 % 1_000_003 / 7 for i in range(ROWS)], pa.float64()),
            "text": pa.array([TEXTS[i % 1000] for i in range(ROWS)]),
        }
    )


def write():
    s3.create_dir("parquet")
    whole = table()
    pq.write_table(whole, "parquet/one.parquet", filesystem=s3, row_group_size=20_000)
    ds.write_dataset(whole, "parquet/set", filesystem=s3, format="parquet", partitioning=["group"])


def read():
    whole = table()
    # One column of some row groups: small ranges of a large object.
    part = pq.read_table("parquet/one.parquet", filesystem=s3, columns=["value"], filters=[("id", ">=", 399_000)])
    assert part.column("value").to_pylist() == whole.column("value").slice(399_000).to_pylist()
    found = ds.dataset("parquet/set", filesystem=s3, format="parquet", partitioning=["group"])
    some = found.to_table(filter=(ds.field("group") == 3) & (ds.field("id") < 1000)).sort_by("id")
    assert some.column("id").to_pylist() == [i for i in range(1000) if i % 5 == 3]
    assert pc.sum(found.to_table(columns=["id"]).column("id")).as_py() == ROWS * (ROWS - 1) // 2

    db = duckdb.connect()
    db.register("rows", ds.dataset("parquet/one.parquet", filesystem=s3, format="parquet"))
    (count, total, text) = db.sql('select count(*), sum(id), min(text) from rows where "group" = 2').fetchall()[0]
    assert (count, total) == (ROWS // 5, sum(range(2, ROWS, 5))), (count, total)
    assert text == min(TEXTS[i % 1000] for i in range(2, 1000, 5)), text


{"write": write, "read": read}[sys.argv[1]]()
