"""The verbs of an S3 client, one after the other."""

import hashlib
import threading
import urllib.error
import urllib.request

import boto3.s3.transfer
import hf

s3 = hf.client()
B = "surface"

# Buckets.
s3.create_bucket(Bucket=B)
hf.refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket=B)
hf.refused("NoSuchBucket", s3.list_objects_v2, Bucket="not-there")
hf.refused(404, s3.head_bucket, Bucket="not-there")
s3.head_bucket(Bucket=B)
assert s3.get_bucket_location(Bucket=B)["LocationConstraint"] is None
assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == [B]

# Objects: bytes, headers, user metadata.
data = hf.body("one", 100_000)
put = s3.put_object(Bucket=B, Key="dir/one", Body=data, ContentType="text/x-test", CacheControl="max-age=7", Metadata={"color": "blue"})
head = s3.head_object(Bucket=B, Key="dir/one")
assert head["ContentLength"] == len(data) and head["ETag"] == put["ETag"]
assert head["ContentType"] == "text/x-test" and head["CacheControl"] == "max-age=7" and head["Metadata"] == {"color": "blue"}
hf.refused("NoSuchKey", s3.get_object, Bucket=B, Key="nothing")
hf.refused(404, s3.head_object, Bucket=B, Key="nothing")

# Ranges.
for want, a, b in [("bytes=0-0", 0, 1), ("bytes=16380-16390", 16380, 16391), ("bytes=99999-", 99999, 100000), ("bytes=-5", 99995, 100000), ("bytes=10-999999", 10, 100000)]:
    got = s3.get_object(Bucket=B, Key="dir/one", Range=want)
    assert got["Body"].read() == data[a:b], want
    assert got["ContentRange"] == f"bytes {a}-{b - 1}/100000", got["ContentRange"]
hf.refused("InvalidRange", s3.get_object, Bucket=B, Key="dir/one", Range="bytes=100000-")

# Conditions.
etag = head["ETag"]
hf.refused(304, s3.get_object, Bucket=B, Key="dir/one", IfNoneMatch=etag)
hf.refused(412, s3.get_object, Bucket=B, Key="dir/one", IfMatch='"other"')
s3.get_object(Bucket=B, Key="dir/one", IfMatch=etag)
hf.refused(412, s3.put_object, Bucket=B, Key="dir/one", Body=b"x", IfNoneMatch="*")
hf.refused(412, s3.put_object, Bucket=B, Key="dir/one", Body=b"x", IfMatch='"other"')
hf.refused(404, s3.put_object, Bucket=B, Key="nothing", Body=b"x", IfMatch=etag)
s3.put_object(Bucket=B, Key="dir/one", Body=data, IfMatch=etag, ContentType="text/x-test", Metadata={"color": "blue"})

# Of fifty creators at once, one wins.
for race in range(3):
    won = []

    def create(i):
        try:
            hf.client().put_object(Bucket=B, Key=f"race/{race}", Body=str(i).encode(), IfNoneMatch="*")
            won.append(i)
        except Exception as error:  # noqa: BLE001
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            assert status in (409, 412), error

    threads = [threading.Thread(target=create, args=(i,)) for i in range(50)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(won) == 1, won
    assert s3.get_object(Bucket=B, Key=f"race/{race}")["Body"].read() == str(won[0]).encode()

# Checksums: verified, stored, returned.
for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]:
    try:
        put = s3.put_object(Bucket=B, Key=f"sum/{algorithm}", Body=data, ChecksumAlgorithm=algorithm)
    except Exception as error:  # noqa: BLE001
        # CRC32C and CRC64NVME need an optional library on the client's side.
        if "Missing Dependency" in str(error) or "MissingDependency" in type(error).__name__:
            continue
        raise
    got = s3.get_object(Bucket=B, Key=f"sum/{algorithm}", ChecksumMode="ENABLED")
    name = f"Checksum{algorithm}"
    assert put[name] == got[name] and got["Body"].read() == data, algorithm
hf.refused("BadDigest", s3.put_object, Bucket=B, Key="sum/bad", Body=data, ChecksumCRC32="AAAAAA==")
import base64
hf.refused("BadDigest", s3.put_object, Bucket=B, Key="sum/bad", Body=data, ContentMD5=base64.b64encode(bytes(16)).decode())
hf.refused(404, s3.head_object, Bucket=B, Key="sum/bad")
md5 = hashlib.md5(data).digest()
put = s3.put_object(Bucket=B, Key="sum/md5", Body=data, ContentMD5=base64.b64encode(md5).decode())
assert put["ETag"].strip('"') == md5.hex()

# Copy.
s3.copy_object(Bucket=B, Key="copy", CopySource=f"{B}/dir/one")
assert s3.get_object(Bucket=B, Key="copy")["Metadata"] == {"color": "blue"}
s3.copy_object(Bucket=B, Key="copy", CopySource=f"{B}/dir/one", MetadataDirective="REPLACE", Metadata={"a": "b"})
got = s3.get_object(Bucket=B, Key="copy")
assert got["Metadata"] == {"a": "b"} and got["Body"].read() == data
s3.delete_object(Bucket=B, Key="dir/one")
assert s3.get_object(Bucket=B, Key="copy")["Body"].read() == data, "a copy outlives its source"

# Multipart: the whole of it.
big = hf.body("big", 64 << 20)
open("big.bin", "wb").write(big)
s3.upload_file("big.bin", B, "big", Config=boto3.s3.transfer.TransferConfig(multipart_chunksize=8 << 20))
head = s3.head_object(Bucket=B, Key="big")
assert head["ContentLength"] == len(big) and head["ETag"].endswith('-8"'), head["ETag"]
s3.download_file(B, "big", "big.got")
assert open("big.got", "rb").read() == big
edge = 8 << 20
assert s3.get_object(Bucket=B, Key="big", Range=f"bytes={edge - 5}-{edge + 4}")["Body"].read() == big[edge - 5 : edge + 5]
got = s3.get_object(Bucket=B, Key="big", PartNumber=2)
assert got["Body"].read() == big[edge : 2 * edge] and got["PartsCount"] == 8
s3.copy_object(Bucket=B, Key="big-copy", CopySource=f"{B}/big")
s3.delete_object(Bucket=B, Key="big")
assert s3.get_object(Bucket=B, Key="big-copy")["Body"].read() == big
upload = s3.create_multipart_upload(Bucket=B, Key="pieces")["UploadId"]
one = s3.upload_part_copy(Bucket=B, Key="pieces", UploadId=upload, PartNumber=1, CopySource=f"{B}/big-copy", CopySourceRange=f"bytes=0-{6 * 1024 * 1024 - 1}")
two = s3.upload_part(Bucket=B, Key="pieces", UploadId=upload, PartNumber=2, Body=b"tail")
assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=B)["Uploads"]] == ["pieces"]
assert [p["Size"] for p in s3.list_parts(Bucket=B, Key="pieces", UploadId=upload)["Parts"]] == [6 << 20, 4]
parts = [{"PartNumber": 1, "ETag": one["CopyPartResult"]["ETag"]}, {"PartNumber": 2, "ETag": two["ETag"]}]
hf.refused("InvalidPart", s3.complete_multipart_upload, Bucket=B, Key="pieces", UploadId=upload, MultipartUpload={"Parts": [{**parts[0], "ETag": '"no"'}]})
hf.refused("InvalidPartOrder", s3.complete_multipart_upload, Bucket=B, Key="pieces", UploadId=upload, MultipartUpload={"Parts": parts[::-1]})
s3.complete_multipart_upload(Bucket=B, Key="pieces", UploadId=upload, MultipartUpload={"Parts": parts})
assert s3.get_object(Bucket=B, Key="pieces")["Body"].read() == big[: 6 << 20] + b"tail"
upload = s3.create_multipart_upload(Bucket=B, Key="given-up")["UploadId"]
s3.upload_part(Bucket=B, Key="given-up", UploadId=upload, PartNumber=1, Body=b"x")
s3.abort_multipart_upload(Bucket=B, Key="given-up", UploadId=upload)
hf.refused("NoSuchUpload", s3.list_parts, Bucket=B, Key="given-up", UploadId=upload)

# Listing: pages, delimiter, odd names.
odd = ["list/a b", "list/ü", "list/a+b", "list/%41", "list/x\ny", "list/deep/1", "list/deep/2", "list/z/"]
for key in odd:
    s3.put_object(Bucket=B, Key=key, Body=key.encode())
keys = [o["Key"] for o in s3.list_objects_v2(Bucket=B, Prefix="list/")["Contents"]]
assert keys == sorted(odd, key=lambda k: k.encode()), keys
for key in odd:
    assert s3.get_object(Bucket=B, Key=key)["Body"].read() == key.encode(), key
for version in ["list_objects", "list_objects_v2"]:
    pages = list(s3.get_paginator(version).paginate(Bucket=B, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 2}))
    got = [o["Key"] for p in pages for o in p.get("Contents", [])]
    common = [c["Prefix"] for p in pages for c in p.get("CommonPrefixes", [])]
    assert common == ["list/deep/", "list/z/"], common
    assert got == [k for k in keys if not k.startswith(("list/deep/", "list/z/"))], got
assert s3.list_objects_v2(Bucket=B, Prefix="list/", StartAfter="list/ü").get("KeyCount") == 0

# Presigned, unsigned, wrongly signed.
url = s3.generate_presigned_url("get_object", Params={"Bucket": B, "Key": "copy"}, ExpiresIn=60)
assert urllib.request.urlopen(url).read() == data
for bad in [url[:-1] + ("0" if url[-1] != "0" else "1"), url.split("?")[0]]:
    try:
        urllib.request.urlopen(bad)
        raise AssertionError("a bad signature was accepted")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error
hf.refused("SignatureDoesNotMatch", hf.client(secret="wrong-secret-key").list_buckets)
hf.refused("InvalidAccessKeyId", hf.client(access="NOBODY").list_buckets)
hf.refused("AccessDenied", hf.client(unsigned=True).get_object, Bucket=B, Key="copy")

# What is not there says so.
for call in [s3.list_bucket_analytics_configurations, s3.list_bucket_inventory_configurations, s3.list_bucket_metrics_configurations]:
    hf.refused("NotImplemented", call, Bucket=B)
hf.refused("AccessControlListNotSupported", s3.put_object, Bucket=B, Key="t", Body=b"", ACL="public-read")
hf.refused("NotImplemented", s3.put_object, Bucket=B, Key="t", Body=b"", ServerSideEncryption="aws:kms:dsse")

# Deletes.
hf.refused("BucketNotEmpty", s3.delete_bucket, Bucket=B)
while True:
    page = s3.list_objects_v2(Bucket=B)
    if not page.get("KeyCount"):
        break
    answer = s3.delete_objects(Bucket=B, Delete={"Objects": [{"Key": o["Key"]} for o in page["Contents"]]})
    assert len(answer["Deleted"]) == page["KeyCount"], answer
s3.delete_bucket(Bucket=B)
print("surface is fine")
