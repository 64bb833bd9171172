"""What data bases on object storage do: a log that is only appended to (If-None-Match), a manifest that is only
replaced by who has read it (If-Match), a writer that is fenced. Usage: conditions.py NAME"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError
from hf import client

s3 = client()
BUCKET = f"conditions-{sys.argv[1]}"
WRITERS = 8
EACH = 25
LOST = ("PreconditionFailed", "ConditionalRequestConflict", "OperationAborted")


def won(call, **kwargs):
    """Whether a conditional write happened: losing is no error here."""
    try:
        return call(Bucket=BUCKET, **kwargs)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        assert code in LOST or code == "NoSuchKey", code
        return None


def append(writer):
    """Appends entries to a log, each under the first free number; gives those it got."""
    own, number = [], 0
    while len(own) < EACH:
        entry = json.dumps([writer, len(own)]).encode()
        if won(s3.put_object, Key=f"log/{number:08}", Body=entry, IfNoneMatch="*"):
            own.append(number)
        number += 1
    return own


def add(writer):
    """Counts up in a manifest, by reading and replacing what was read."""
    done = 0
    while done < EACH:
        got = s3.get_object(Bucket=BUCKET, Key="manifest")
        state = json.loads(got["Body"].read())
        state[str(writer)] = state.get(str(writer), 0) + 1
        if won(s3.put_object, Key="manifest", Body=json.dumps(state).encode(), IfMatch=got["ETag"]):
            done += 1


def completed(number):
    """An upload that is to be the first of its name."""
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="once")["UploadId"]
    part = s3.upload_part(Bucket=BUCKET, Key="once", UploadId=upload, PartNumber=1, Body=b"%d" % number)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    return won(s3.complete_multipart_upload, Key="once", UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")


s3.create_bucket(Bucket=BUCKET)
with ThreadPoolExecutor(WRITERS) as pool:
    taken = list(pool.map(append, range(WRITERS)))
    numbers = sorted(number for own in taken for number in own)
    assert numbers == list(range(WRITERS * EACH)), "every number has one writer"
    for writer, own in enumerate(taken):
        for place, number in enumerate(own):
            body = s3.get_object(Bucket=BUCKET, Key=f"log/{number:08}")["Body"].read()
            assert json.loads(body) == [writer, place], (number, body)

    s3.put_object(Bucket=BUCKET, Key="manifest", Body=b"{}", IfNoneMatch="*")
    list(pool.map(add, range(WRITERS)))
    state = json.loads(s3.get_object(Bucket=BUCKET, Key="manifest")["Body"].read())
    assert state == {str(writer): EACH for writer in range(WRITERS)}, "no count is lost"

    winners = [done for done in pool.map(completed, range(WRITERS)) if done]
    assert len(winners) == 1, winners
    assert s3.head_object(Bucket=BUCKET, Key="once")["ETag"] == winners[0]["ETag"]

# A writer that was replaced: what it last saw is no more what stands.
old = s3.head_object(Bucket=BUCKET, Key="manifest")["ETag"]
s3.put_object(Bucket=BUCKET, Key="manifest", Body=b"fenced", IfMatch=old)
assert won(s3.put_object, Key="manifest", Body=b"late", IfMatch=old) is None
assert won(s3.delete_object, Key="manifest", IfMatch=old) is None
assert s3.get_object(Bucket=BUCKET, Key="manifest")["Body"].read() == b"fenced"
