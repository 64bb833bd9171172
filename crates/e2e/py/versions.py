"""Versions, locks, tags, lifecycle and policies with boto3, one half before and one after two sites
are gone. Usage: versions.py write|after"""

import datetime
import json
import sys
import time

from hf import body, client, refused

s3 = client()
BUCKET = "versions"
SIZES = [0, 1, 5000, 300_000, 3_000_000]


def write():
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    for size in SIZES:
        for turn in range(3):
            name = f"k{size}"
            answer = s3.put_object(Bucket=BUCKET, Key=name, Body=body(f"{name}/{turn}", size), Tagging=f"turn={turn}")
            assert answer["VersionId"] != "null"
    s3.delete_object(Bucket=BUCKET, Key="k5000")
    refused("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="k5000")
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 4})
    found = [version for page in pages for version in page.get("Versions", [])]
    assert len(found) == 3 * len(SIZES), len(found)

    held = s3.put_object(
        Bucket=BUCKET,
        Key="held",
        Body=b"held",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1),
    )
    refused("AccessDenied", s3.delete_object, Bucket=BUCKET, Key="held", VersionId=held["VersionId"])

    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts", Tagging="a=b")
    named = {"Bucket": BUCKET, "Key": "parts", "UploadId": upload["UploadId"]}
    parts = []
    for number in (1, 2):
        part = s3.upload_part(**named, PartNumber=number, Body=body(f"part{number}", 5 << 20))
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    again = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert done["VersionId"] == again["VersionId"], "a client that lost the answer may ask again"
    assert s3.get_object_tagging(Bucket=BUCKET, Key="parts")["TagSet"] == [{"Key": "a", "Value": "b"}]

    # Lifecycle: a day of the rules is as long as the server was told.
    s3.create_bucket(Bucket="aging")
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket="aging", LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(Bucket="aging")["Rules"] == [rule]
    s3.put_object(Bucket="aging", Key="old/a", Body=b"x")
    s3.put_object(Bucket="aging", Key="new/a", Body=b"x")

    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::aging/new/*"}
        ],
    }
    s3.put_bucket_policy(Bucket="aging", Policy=json.dumps(policy))
    assert json.loads(s3.get_bucket_policy(Bucket="aging")["Policy"]) == policy


def after():
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for version in page.get("Versions", []):
            name, tagged = version["Key"], {"Bucket": BUCKET, "Key": version["Key"], "VersionId": version["VersionId"]}
            if not name.startswith("k"):
                continue
            tags = s3.get_object_tagging(**tagged)["TagSet"]
            got = s3.get_object(**tagged)["Body"].read()
            assert got == body(f"{name}/{tags[0]['Value']}", int(name[1:])), version
    # The marker goes, the newest version comes back.
    (marker,) = s3.list_object_versions(Bucket=BUCKET, Prefix="k5000")["DeleteMarkers"]
    s3.delete_object(Bucket=BUCKET, Key="k5000", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=BUCKET, Key="k5000")["Body"].read() == body("k5000/2", 5000)

    anyone = client(unsigned=True)
    assert anyone.get_object(Bucket="aging", Key="new/a")["Body"].read() == b"x"
    refused("AccessDenied", anyone.get_object, Bucket=BUCKET, Key="parts")
    deadline = time.monotonic() + 120
    while "Contents" in s3.list_objects_v2(Bucket="aging", Prefix="old/"):
        assert time.monotonic() < deadline, "the rule was not followed"
        time.sleep(0.2)
    assert s3.head_object(Bucket="aging", Key="new/a")

    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
            named = {"Bucket": BUCKET, "Key": version["Key"], "VersionId": version["VersionId"]}
            s3.delete_object(**named, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=BUCKET)


{"write": write, "after": after}[sys.argv[1]]()
