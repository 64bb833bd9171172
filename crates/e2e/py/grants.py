"""What each right lets a user do. Arguments: access key, secret, and the right held on `granted`."""

import sys

import hf

access, secret, right = sys.argv[1:4]
root, user = hf.client(), hf.client(access, secret)
for bucket in ["granted", "other"]:
    try:
        root.create_bucket(Bucket=bucket)
    except root.exceptions.BucketAlreadyOwnedByYou:
        pass
    root.put_object(Bucket=bucket, Key="k", Body=b"v")
levels = ["none", "read", "write", "admin"]
level = levels.index(right)


def expect(need, call, **kwargs):
    if level >= levels.index(need):
        call(**kwargs)
    else:
        hf.refused("AccessDenied", call, **kwargs)


expect("read", user.list_objects_v2, Bucket="granted")
expect("read", user.get_object, Bucket="granted", Key="k")
expect("write", user.put_object, Bucket="granted", Key="mine", Body=b"x")
expect("write", user.copy_object, Bucket="granted", Key="copy", CopySource="granted/k")
expect("write", user.delete_object, Bucket="granted", Key="mine")
# Nothing of it reaches the other bucket, by copy neither.
for call, kwargs in [
    (user.get_object, {"Bucket": "other", "Key": "k"}),
    (user.list_objects_v2, {"Bucket": "other"}),
    (user.put_object, {"Bucket": "other", "Key": "x", "Body": b""}),
    (user.copy_object, {"Bucket": "granted", "Key": "stolen", "CopySource": "other/k"}),
    (user.delete_bucket, {"Bucket": "other"}),
    (user.create_bucket, {"Bucket": "mine-too"}),
]:
    hf.refused("AccessDenied", call, **kwargs)
seen = [b["Name"] for b in user.list_buckets()["Buckets"]]
assert seen == (["granted"] if level else []), seen
