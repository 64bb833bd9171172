"""Users, groups, temporary credentials and tenants as boto3 sees them. Usage: identities.py FILE, a JSON object with the keys
[access, secret] of `ann`, and of the administrators of two tenants, `a` and `b`."""

import json
import os
import sys

import boto3
from botocore.config import Config
from hf import refused

ENDPOINT = os.environ["HF_ENDPOINT"]
with open(sys.argv[1], encoding="utf-8") as file:
    KEYS = json.load(file)


def of(service, keys, token=None):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        aws_session_token=token,
        config=Config(signature_version="s3v4" if service == "s3" else None, s3={"addressing_style": "path"}),
    )


def session(made):
    made = made["Credentials"]
    return of("s3", (made["AccessKeyId"], made["SecretAccessKey"]), made["SessionToken"])


root = of("s3", (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]))
root.create_bucket(Bucket="shared")
for key in ("home/ann/a", "home/bob/b", "team/t"):
    root.put_object(Bucket="shared", Key=key, Body=key.encode())

# Ann: her home by a policy of her own, the team's folder by her group's.
ann = of("s3", KEYS["ann"])
assert ann.get_object(Bucket="shared", Key="home/ann/a")["Body"].read() == b"home/ann/a"
ann.put_object(Bucket="shared", Key="home/ann/new", Body=b"n")
assert ann.get_object(Bucket="shared", Key="team/t")["Body"].read() == b"team/t"
refused("AccessDenied", ann.get_object, Bucket="shared", Key="home/bob/b")
refused("AccessDenied", ann.put_object, Bucket="shared", Key="team/t", Body=b"")

# Temporary credentials: hers, and less.
sts = of("sts", KEYS["ann"])
who = sts.get_caller_identity()
assert who["Arn"] == "arn:aws:iam::000000000000:user/ann", who
role = "arn:aws:iam::000000000000:role/any"
own = session(sts.assume_role(RoleArn=role, RoleSessionName="whole"))
assert own.get_object(Bucket="shared", Key="home/ann/a")["Body"].read() == b"home/ann/a"
refused("AccessDenied", own.get_object, Bucket="shared", Key="home/bob/b")
only = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared/team/*"}],
}
made = sts.assume_role(RoleArn=role, RoleSessionName="less", Policy=json.dumps(only), DurationSeconds=900)
less = session(made)
assert less.get_object(Bucket="shared", Key="team/t")["Body"].read() == b"team/t"
refused("AccessDenied", less.get_object, Bucket="shared", Key="home/ann/a")
url = less.generate_presigned_url("get_object", Params={"Bucket": "shared", "Key": "team/t"}, ExpiresIn=60)
import urllib.request

assert urllib.request.urlopen(url).read() == b"team/t"
form = session(sts.get_session_token()).generate_presigned_post("shared", "home/ann/form", ExpiresIn=60)
assert any(name.lower() == "x-amz-security-token" for name in form["fields"])
temporary = made["Credentials"]
again = of("sts", (temporary["AccessKeyId"], temporary["SecretAccessKey"]))
refused("InvalidClientTokenId", again.get_caller_identity)
refused("ValidationError", sts.assume_role, RoleArn=role, RoleSessionName="long", DurationSeconds=43201)
refused("MalformedPolicyDocument", sts.assume_role, RoleArn=role, RoleSessionName="bad", Policy="{")

# Tenants: one name, two buckets, and neither sees the other's.
a, b = of("s3", KEYS["a"]), of("s3", KEYS["b"])
for client, body in ((a, b"of a"), (b, b"of b")):
    client.create_bucket(Bucket="data")
    client.put_object(Bucket="data", Key="k", Body=body)
a.create_bucket(Bucket="secret-plan")
assert a.get_object(Bucket="data", Key="k")["Body"].read() == b"of a"
assert b.get_object(Bucket="data", Key="k")["Body"].read() == b"of b"
assert [bucket["Name"] for bucket in b.list_buckets()["Buckets"]] == ["data"]
assert [bucket["Name"] for bucket in root.list_buckets()["Buckets"]] == ["shared"]
for stranger in (b, root):
    refused("NoSuchBucket", stranger.get_object, Bucket="secret-plan", Key="k")
    refused("404", stranger.head_bucket, Bucket="secret-plan")
refused("NoSuchBucket", a.get_object, Bucket="shared", Key="team/t")
b.create_bucket(Bucket="secret-plan")
account = of("sts", KEYS["a"]).get_caller_identity()["Account"]
assert account != "000000000000" and account != of("sts", KEYS["b"]).get_caller_identity()["Account"]
print("ok")
