"""Every sub-resource of a bucket as Terraform's AWS provider manages it: read when it is absent, put, read back,
taken away, read again. Usage: resources.py NAME"""

import json
import sys

from hf import client, refused

s3 = client()
NAME = sys.argv[1]
BUCKET = f"resources-{NAME}"
ARN = f"arn:aws:s3:::{BUCKET}"

# Call, field of the put, field of the answer (None: the whole answer), value, and what an absent one answers:
# an error code, or a value.
TABLE = [
    ("bucket_versioning", "VersioningConfiguration", None, {"Status": "Enabled"}, {}),
    (
        "bucket_encryption",
        "ServerSideEncryptionConfiguration",
        "ServerSideEncryptionConfiguration",
        {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}]},
        {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]},
    ),
    (
        "bucket_tagging",
        "Tagging",
        None,
        {"TagSet": [{"Key": "env", "Value": "prod / test"}, {"Key": "team", "Value": "platform"}]},
        "NoSuchTagSet",
    ),
    (
        "bucket_cors",
        "CORSConfiguration",
        None,
        {
            "CORSRules": [
                {
                    "ID": "r",
                    "AllowedHeaders": ["*"],
                    "AllowedMethods": ["GET", "PUT"],
                    "AllowedOrigins": ["https://*.example.org"],
                    "ExposeHeaders": ["ETag"],
                    "MaxAgeSeconds": 300,
                }
            ]
        },
        "NoSuchCORSConfiguration",
    ),
    (
        "bucket_website",
        "WebsiteConfiguration",
        None,
        {
            "IndexDocument": {"Suffix": "index.html"},
            "ErrorDocument": {"Key": "error.html"},
            "RoutingRules": [{"Condition": {"KeyPrefixEquals": "a/"}, "Redirect": {"ReplaceKeyPrefixWith": "b/"}}],
        },
        "NoSuchWebsiteConfiguration",
    ),
    (
        "bucket_ownership_controls",
        "OwnershipControls",
        "OwnershipControls",
        {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]},
        "OwnershipControlsNotFoundError",
    ),
    (
        "public_access_block",
        "PublicAccessBlockConfiguration",
        "PublicAccessBlockConfiguration",
        {
            "BlockPublicAcls": True,
            "IgnorePublicAcls": False,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": False,
        },
        "NoSuchPublicAccessBlockConfiguration",
    ),
    (
        "bucket_lifecycle_configuration",
        "LifecycleConfiguration",
        None,
        {
            "Rules": [
                {
                    "ID": "logs",
                    "Status": "Enabled",
                    "Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "a", "Value": "b"}], "ObjectSizeGreaterThan": 10}},
                    "Expiration": {"Days": 30},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 5, "NewerNoncurrentVersions": 2},
                },
                {
                    "ID": "uploads",
                    "Status": "Disabled",
                    "Filter": {"Prefix": ""},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                },
            ]
        },
        "NoSuchLifecycleConfiguration",
    ),
    (
        "bucket_notification_configuration",
        "NotificationConfiguration",
        None,
        {
            "QueueConfigurations": [
                {
                    "Id": "told",
                    "QueueArn": "arn:aws:sqs:us-east-1:000000000000:log",
                    "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "in/"}, {"Name": "Suffix", "Value": ".csv"}]}},
                }
            ]
        },
        {},
    ),
]
DELETES = {"bucket_lifecycle_configuration": "bucket_lifecycle"}
# What is not deleted, and what is put instead.
INSTEAD = {"bucket_versioning": {"Status": "Suspended"}, "bucket_notification_configuration": {}}
# What is not kept: a put is refused, so that an apply fails instead of differing at every plan.
LOG = {"LoggingEnabled": {"TargetBucket": BUCKET, "TargetPrefix": "log/"}}
REFUSED = [
    ("bucket_logging", {"BucketLoggingStatus": LOG}),
    ("bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Enabled"}}),
    ("bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "Requester"}}),
    (
        "bucket_replication",
        {
            "ReplicationConfiguration": {
                "Role": "arn:aws:iam::000000000000:role/r",
                "Rules": [{"Status": "Enabled", "Prefix": "", "Destination": {"Bucket": "arn:aws:s3:::other"}}],
            }
        },
    ),
]


DEFAULT_SIZE = "all_storage_classes_128K"


def read(call, field):
    answer = getattr(s3, f"get_{call}")(Bucket=BUCKET)
    answer.pop("ResponseMetadata")
    # Told of every lifecycle configuration, as S3 does since there are transitions by size.
    assert answer.pop("TransitionDefaultMinimumObjectSize", DEFAULT_SIZE) == DEFAULT_SIZE
    return answer[field] if field else answer


def absent(call, field, expected):
    if isinstance(expected, str):
        refused(expected, getattr(s3, f"get_{call}"), Bucket=BUCKET)
    else:
        assert read(call, field) == expected, (call, read(call, field))


s3.create_bucket(Bucket=BUCKET)
s3.head_bucket(Bucket=BUCKET)
assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
# What the provider reads of each bucket, whether it manages it or not.
assert s3.get_bucket_acl(Bucket=BUCKET)["Grants"][0]["Permission"] == "FULL_CONTROL"
assert s3.get_bucket_request_payment(Bucket=BUCKET)["Payer"] == "BucketOwner"
assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=BUCKET)
assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=BUCKET)
refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=BUCKET)
refused("ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration, Bucket=BUCKET)
refused("ReplicationConfigurationNotFoundError", s3.get_bucket_replication, Bucket=BUCKET)

# A new bucket has these controls.
controls = s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]
assert controls == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}, controls
s3.delete_bucket_ownership_controls(Bucket=BUCKET)

for call, put_field, get_field, value, missing in TABLE:
    absent(call, get_field, missing)
    getattr(s3, f"put_{call}")(Bucket=BUCKET, **{put_field: value})
    assert read(call, get_field) == value, (call, read(call, get_field))
    # Putting the same again changes nothing.
    getattr(s3, f"put_{call}")(Bucket=BUCKET, **{put_field: value})
    assert read(call, get_field) == value, call
    if call in INSTEAD:
        s3_put, instead = getattr(s3, f"put_{call}"), INSTEAD[call]
        s3_put(Bucket=BUCKET, **{put_field: instead})
        assert read(call, get_field) == instead, call
        continue
    delete = getattr(s3, f"delete_{DELETES.get(call, call)}")
    delete(Bucket=BUCKET)
    absent(call, get_field, missing)
    delete(Bucket=BUCKET)

for call, arguments in REFUSED:
    refused("NotImplemented", getattr(s3, f"put_{call}"), Bucket=BUCKET, **arguments)

policy = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Read", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{ARN}/public/*"}
    ],
}
s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
assert json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"]) == policy
assert s3.get_bucket_policy_status(Bucket=BUCKET)["PolicyStatus"]["IsPublic"] is True
s3.delete_bucket_policy(Bucket=BUCKET)
refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=BUCKET)

s3.create_bucket(Bucket=BUCKET + "-locked", ObjectLockEnabledForBucket=True)
lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}}
s3.put_object_lock_configuration(Bucket=BUCKET + "-locked", ObjectLockConfiguration=lock)
assert s3.get_object_lock_configuration(Bucket=BUCKET + "-locked")["ObjectLockConfiguration"] == lock
s3.delete_bucket(Bucket=BUCKET + "-locked")
s3.delete_bucket(Bucket=BUCKET)
refused("404", s3.head_bucket, Bucket=BUCKET)
