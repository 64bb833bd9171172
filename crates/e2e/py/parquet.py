"""Parquet as lakes keep it: partitioned sets written and filtered by pyarrow and by DuckDB, each with a client of
S3 of its own. Usage: parquet.py write|read NAME"""

import os
import sys
from urllib.parse import urlparse

import duckdb
import duckdb_extension_httpfs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, S3FileSystem

ROWS = 400_000
GROUPS = 5
TEXTS = [f"text {i * 7919 % 10_007}" for i in range(1000)]
NAME = sys.argv[2]

endpoint = urlparse(os.environ["HF_ENDPOINT"])
s3 = S3FileSystem(
    access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    endpoint_override=endpoint.netloc,
    scheme=endpoint.scheme,
    region="us-east-1",
    allow_bucket_creation=True,
)


def duck():
    db = duckdb.connect()
    package = os.path.dirname(duckdb_extension_httpfs.__file__)
    db.load_extension(f"{package}/extensions/v{duckdb.__version__}/httpfs.duckdb_extension")
    db.sql(
        f"create secret (type s3, provider config, key_id '{os.environ['AWS_ACCESS_KEY_ID']}', "
        f"secret '{os.environ['AWS_SECRET_ACCESS_KEY']}', region 'us-east-1', endpoint '{endpoint.netloc}', "
        "url_style 'path', use_ssl false)"
    )
    return db


def table():
    return pa.table(
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "group": pa.array([i % GROUPS for i in range(ROWS)], pa.int32()),
            "value": pa.array([i * 31 % 1_000_003 / 7 for i in range(ROWS)], pa.float64()),
            "text": pa.array([TEXTS[i % 1000] for i in range(ROWS)]),
        }
    )


def write():
    s3.create_dir(NAME)
    whole = table()
    pq.write_table(whole, f"{NAME}/one.parquet", filesystem=s3, row_group_size=20_000)
    hive = ds.partitioning(pa.schema([("group", pa.int32())]), flavor="hive")
    ds.write_dataset(whole, f"{NAME}/set", filesystem=s3, format="parquet", partitioning=hive, max_rows_per_file=30_000, max_rows_per_group=10_000)
    db = duck()
    db.register("whole", whole)
    db.sql(f"copy whole to 's3://{NAME}/duck' (format parquet, partition_by (\"group\"), row_group_size 20000)")
    db.sql(f"copy (from whole where id % 2 = 0) to 's3://{NAME}/half.csv.gz' (format csv)")


def read():
    whole = table()
    # One column of some row groups: small ranges of a large object.
    part = pq.read_table(f"{NAME}/one.parquet", filesystem=s3, columns=["value"], filters=[("id", ">=", 399_000)])
    assert part.column("value").to_pylist() == whole.column("value").slice(399_000).to_pylist()

    files = s3.get_file_info(FileSelector(f"{NAME}/set", recursive=True))
    assert len([f for f in files if f.is_file]) == 15 and all("group=" in f.path for f in files), files
    for folder in ("set", "duck"):
        found = ds.dataset(f"{NAME}/{folder}", filesystem=s3, format="parquet", partitioning="hive")
        some = found.to_table(filter=(ds.field("group") == 3) & (ds.field("id") < 1000)).sort_by("id")
        assert some.column("id").to_pylist() == [i for i in range(1000) if i % GROUPS == 3], folder
        assert pc.sum(found.to_table(columns=["id"]).column("id")).as_py() == ROWS * (ROWS - 1) // 2, folder
        # Every value of every column, in the order of the rows that were written.
        columns = whole.column_names
        again = found.to_table(columns=columns).sort_by("id").cast(whole.schema)
        assert again.equals(whole), folder

    db = duck()
    for folder in ("set", "duck"):
        rows = f"read_parquet('s3://{NAME}/{folder}/*/*.parquet', hive_partitioning = true)"
        told = db.sql(f'select count(*), sum(id), min(text), count(distinct "group") from {rows} where id % 2 = 1').fetchone()
        assert told == (ROWS // 2, (ROWS // 2) ** 2, min(TEXTS[1::2]), GROUPS), told
        told = db.sql(f'select min(id), max(id), count(*) from {rows} where "group" = 4 and id >= 1000').fetchone()
        assert told == (1004, ROWS - 1, (ROWS - 1000) // GROUPS), told
    (count,) = db.sql(f"select count(*) from 's3://{NAME}/one.parquet' where id between 123456 and 123999").fetchone()
    assert count == 544, count
    (count,) = db.sql(f"select count(*) from read_csv('s3://{NAME}/*.csv.gz')").fetchone()
    assert count == ROWS // 2, count
    assert len(db.sql(f"from glob('s3://{NAME}/duck/*/*.parquet')").fetchall()) >= GROUPS


{"write": write, "read": read}[sys.argv[1]]()
