"""A notification configuration by boto3: what is put is what is read; wrong ones get S3's codes."""

import sys

import boto3
from botocore.exceptions import ClientError

target = sys.argv[1]
s3 = boto3.client("s3")
arn = f"arn:aws:sqs:us-east-1:000000000000:{target}"
queue = {
    "Id": "all",
    "QueueArn": arn,
    "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".bin"}]}},
}


def put(*queues, **more):
    configuration = {"QueueConfigurations": list(queues)} if queues else {}
    s3.put_bucket_notification_configuration(Bucket="boto", NotificationConfiguration=configuration, **more)


def refused(code, *queues):
    try:
        put(*queues)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"taken: {queues}")


s3.create_bucket(Bucket="boto")
put(queue, SkipDestinationValidation=True)
read = s3.get_bucket_notification_configuration(Bucket="boto")
(told,) = read["QueueConfigurations"]
rules = told["Filter"]["Key"]["FilterRules"]
assert [(rule["Name"].lower(), rule["Value"]) for rule in rules] == [("prefix", "in/"), ("suffix", ".bin")], rules
assert (told["Id"], told["QueueArn"], told["Events"]) == ("all", arn, queue["Events"]), told
assert "TopicConfigurations" not in read, read

refused("InvalidArgument", {**queue, "Events": ["s3:Nothing"]})
refused("InvalidArgument", {**queue, "QueueArn": arn + "-not"})
refused("InvalidArgument", queue, {**queue, "Id": "other"})
assert s3.get_bucket_notification_configuration(Bucket="boto")["QueueConfigurations"] == [told]
put()
assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket="boto")
